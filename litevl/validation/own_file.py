"""One file of one's own captions or questions, without a folder made for it."""

from pathlib import Path
from typing import Any

from litevl.data.annotations import AnnotationError, MissingAnnotationsError
from litevl.data.question_files import QuestionFile, VideoQuestion, read_questions, splits_of
from litevl.data.questions import QuestionData
from litevl.data.records import TABLES, Records, read_records
from litevl.validation.candidates import Asked, Candidate, detect_captions
from litevl.validation.detection import Detection


def detect_file(path: Path, asked: Asked) -> Detection:
    """What a table of one's own holds: captions, or questions, of the splits that it names, else all of one split.

    Raises:
        AnnotationError: no table, or one that cannot be read.
    """
    if asked.dataset not in (None, "own"):
        raise AnnotationError(path, "", f"expected the folder of {asked.dataset}, got a file; give its folder")
    if path.suffix.lower() not in TABLES:
        raise AnnotationError(path, "", f"expected a folder, or a table ({', '.join(TABLES)}); got another file")
    records = read_records(path)
    first = _first(records)
    if isinstance(first, dict) and "question" in first:
        return Detection((Candidate("questions", "own", _questions(path)),))
    given: dict[str, Any] = {"dataset": "own", "test_file": path.absolute()}
    marked = isinstance(first, dict) and "split" in first
    if marked:
        given |= {"train_file": path.absolute(), "val_file": path.absolute()}
    candidate = detect_captions(path.parent, asked, training=marked and asked.training, **given)
    reasons = () if marked else (f"captions: {path.name} has no column split; all of it was taken for the test split",)
    return Detection((candidate,), reasons)


def _first(records: Records | dict[str, Any]) -> Any:
    rows = next((rows for rows in records.values() if rows), None) if isinstance(records, dict) else records
    if not isinstance(rows, list) or not rows:
        return None
    return rows[0] if isinstance(records, dict) else rows[0][1]


def _questions(path: Path) -> QuestionData:
    file = QuestionFile(path, "own")
    names = splits_of(file) or ("test",)
    splits: dict[str, tuple[VideoQuestion, ...]] = {"train": (), "val": (), "test": ()}
    for split in names:
        splits[split] = tuple(read_questions(file, split, "own", path.parent))
    if not any(splits.values()):
        raise MissingAnnotationsError(path, "", "expected questions, got none")
    notes = () if splits_of(file) else (f"{path.name} names no splits; all of it was taken for the test split",)
    return QuestionData(splits["train"], splits["val"], splits["test"], "own", "own", (path,), (), notes)
