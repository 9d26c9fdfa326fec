"""Files of questions about videos in every form that is in use: which file is what, and what its rows say.

The forms are those of the original releases of MSRVTT-QA and MSVD-QA (a), ALPRO and TESTA (b), LAVIS (c), Singularity,
VindLU and UMT (d), VIOLET (e), just-ask and FrozenBiLM (f), of ActivityNet-QA, with questions and answers in a pair of
files, and a user's own csv, jsonl or json.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from litevl.data.annotations import (
    VIDEO_EXTENSIONS,
    AnnotationError,
    need,
    read_csv,
    read_json,
    read_json_lines,
    read_text,
    video_name,
)
from litevl.data.records import read_segment
from litevl.data.video_key import is_video_key

Dataset = Literal["msrvtt", "msvd", "activitynet", "own"]
Format = Literal["original", "jsonl", "lavis", "singularity", "violet", "csv", "paired", "own"]

QUESTION_WORDS = ("what", "who", "how", "when", "where")
"""The types of question that results on MSRVTT-QA and MSVD-QA are broken down by."""

ID_KEYS = ("video_id", "video", "video_name", "clip_name", "path", "file")
KIND_KEYS = ("answer_type", "question_type", "type")
NUMBERED = {"msrvtt": "video", "msvd": "vid"}
"""What stands before a bare number in the names of a dataset's videos."""

_SPLIT = r"(?P<split>train|val|test)"
_DATA = r"(?P<dataset>msrvtt|msvd|activitynet|anet)"
NAMES: tuple[tuple[str, Format], ...] = (
    (rf"{_SPLIT}_qa\.json", "original"),
    (rf"{_SPLIT}_q\.json", "paired"),
    (rf"qa_{_SPLIT}\.json", "lavis"),
    (rf"{_DATA}_qa_{_SPLIT}\.json", "singularity"),
    (rf"txt_{_DATA}-qa\.json", "violet"),
    (rf"(?:{_DATA}_)?(?:qa_)?{_SPLIT}\.jsonl", "jsonl"),
    (rf"(?:{_DATA}_)?(?:qa_)?{_SPLIT}\.csv", "csv"),
)
ANSWER_LISTS = re.compile(r".*ans2label.*\.json|.*answer_list\.json|vocab\.json", re.IGNORECASE)
MAPPING = "youtube_mapping.txt"

PREFIXES = {
    "msrvtt": ("", "MSRVTT-QA", "MSRVTT_QA", "msrvtt_qa", "msrvtt-qa", "MSRVTT", "msrvtt", "data/MSRVTT-QA"),
    "msvd": ("", "MSVD-QA", "MSVD_QA", "msvd_qa", "msvd-qa", "MSVD", "msvd", "data/MSVD-QA"),
    "activitynet": ("", "ActivityNet-QA", "activitynet-qa", "activitynet_qa", "anet_qa", "ActivityNet", "activitynet"),
    "own": ("",),
}
ACTIVITYNET_KINDS = (
    *("motion", "spatial_relation", "temporal_relation", "yes_no", "color", "object", "location", "number", "other"),
)
"""ActivityNet-QA's types of question, by the number its answers have (Yu et al., arXiv 1906.02467)."""
INNER = ("", "annotation", "annotations", "dataset", "txt", "anno_downstream")


@dataclass(frozen=True)
class VideoQuestion:
    """A question about a video, and its answer."""

    question_id: str
    """Unique in its split; the row's number where the file gives none."""
    video_id: str
    """As `paths.VideoFolder` finds the file: a dataset's name of the video, or the path below the root in own data."""
    question: str
    answer: str
    kind: str
    """The type of question: as the file says, else its first word."""
    start: float | None = None
    """Seconds into the file at which the segment begins that is asked about; of own data."""
    end: float | None = None
    """Seconds into the file before which it ends."""


@dataclass(frozen=True)
class QuestionFile:
    """What a file is, by its name or its keys."""

    path: Path
    format: Format
    split: str = ""
    """`train`, `val` or `test`, or nothing where the file holds several or does not say."""


def question_word(question: str) -> str:
    """The type of a question by its first word: one of `QUESTION_WORDS`, or "other"."""
    first = re.match(r"[a-z]+", question.strip().lower())
    return first.group() if first and first.group() in QUESTION_WORDS else "other"


def known_files(root: Path, dataset: Dataset) -> list[QuestionFile]:
    """The files of questions under a root that are known by their names.

    `train.jsonl` and `train.csv` are names of retrieval files too: these count where their first row has a question.
    """
    found = []
    for path in _candidates(root, dataset):
        for pattern, form in NAMES:
            match = re.fullmatch(pattern, path.name, re.IGNORECASE)
            if match:
                named = {key: value.lower() for key, value in match.groupdict().items() if value}
                of = named.get("dataset", dataset).replace("anet", "activitynet")
                fits = dataset == "own" or of == dataset
                if fits and (form not in ("jsonl", "csv") or asks_questions(path)):
                    found.append(QuestionFile(path, form, named.get("split", "")))
                break
    return found


def other_files(root: Path, dataset: Dataset, known: list[QuestionFile]) -> list[QuestionFile]:
    """The files of questions under other names, known by their keys."""
    taken = {file.path for file in known}
    found = []
    for path in _candidates(root, dataset):
        if (
            path in taken
            or path.suffix.lower() == ".txt"
            or ANSWER_LISTS.fullmatch(path.name)
            or not asks_questions(path)
        ):
            continue
        split = re.search(r"(?<![a-z])(train(?!_?val)|val|test)", path.stem.lower())
        found.append(QuestionFile(path, "own", "" if split is None else split.group()))
    return found


def answer_lists(root: Path, dataset: Dataset) -> list[Path]:
    """Files that list answers, as `train_ans2label.json`; see `answers.AnswerList.from_file`."""
    return [path for path in _candidates(root, dataset) if ANSWER_LISTS.fullmatch(path.name)]


def find_mapping(root: Path) -> Path | None:
    """MSVD's `youtube_mapping.txt`, which names the file of each of its videos."""
    return next((path for path in _candidates(root, "msvd") if path.name.lower() == MAPPING), None)


def _candidates(root: Path, dataset: Dataset) -> Iterator[Path]:
    seen: set[tuple[int, int]] = set()
    for prefix in PREFIXES[dataset]:
        for inner in INNER:
            folder = root / prefix / inner
            if not folder.is_dir():
                continue
            status = folder.stat()
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                yield from sorted(
                    path for path in folder.iterdir() if path.suffix.lower() in (".json", ".jsonl", ".csv", ".txt")
                )


def asks_questions(path: Path) -> bool:
    """Whether the first row has a question and an answer."""
    if path.suffix.lower() == ".csv":
        keys = {name.strip().strip('"') for name in read_text(path).split("\n", 1)[0].split(",")}
        return {"question", "answer"} <= keys
    if path.suffix.lower() == ".jsonl":
        rows = read_json_lines(path)
        first = rows[0][1] if rows else None
    else:
        if '"question"' not in read_text(path):  # captions of ten thousand videos take a second to parse
            return False
        content = read_json(path)
        if isinstance(content, dict):
            content = content.get("test", content.get("train"))
        first = content[0] if isinstance(content, list) and content else None
    return isinstance(first, dict) and {"question", "answer"} <= first.keys()


def splits_of(file: QuestionFile) -> tuple[str, ...]:
    """The splits that a file holds: its own, or those it has as keys; nothing where it does not say.

    Raises:
        AnnotationError: not readable.
    """
    if file.split or file.path.suffix.lower() != ".json":
        return (file.split,) if file.split else ()
    content = read_json(file.path)
    return tuple(split for split in ("train", "val", "test") if content.get(split)) if isinstance(content, dict) else ()


def read_questions(file: QuestionFile, split: str, dataset: Dataset, root: Path) -> list[VideoQuestion]:
    """The questions of a file, in its order.

    Args:
        file: what the file is.
        split: which one, of a file that holds several.
        dataset: how bare numbers name videos.
        root: what absolute paths of own data must lie under.

    Raises:
        AnnotationError: a row without question, answer or video, with an empty one or one of another type; an answer's
            index that is in no vocabulary; a question's id twice, or on some rows only; no rows.
    """
    rows, vocabulary = _rows(file, split)
    found: dict[str, VideoQuestion] = {}
    places: dict[str, str] = {}
    numbered = not any(_question_id(row, dataset) is not None for _, row in rows if isinstance(row, dict))
    for number, (place, row) in enumerate(rows):
        need(row, dict, file.path, place, "a row")
        # Own data may name a video and say where it lies.
        key = next((key for key in (*(("path", "file") if dataset == "own" else ()), *ID_KEYS) if key in row), None)
        if key is None or not {"question", "answer"} <= row.keys():
            raise AnnotationError(
                file.path,
                place,
                f"expected a question, an answer and a video ({', '.join(ID_KEYS)}), got the keys {', '.join(row)}",
            )
        name = number if numbered else _question_id(row, dataset)
        if name is None:
            raise AnnotationError(file.path, place, "expected a question's id as other rows have, got none")
        name = str(need(name, (str, int), file.path, place, "a question's id"))
        if name in found:
            raise AnnotationError(
                file.path, place, f"the question's id {name} is there twice, first in {places[name]}; number them anew"
            )
        question = _text(row["question"], file.path, place, "question")
        answer = _text(_answer(row["answer"], vocabulary, file.path, place), file.path, place, "answer")
        video = _video(row[key], file.path, place, dataset, root)
        start, end = read_segment(row, file.path, place) if dataset == "own" else (None, None)
        found[name] = VideoQuestion(name, video, question, answer, _kind(row, question), start, end)
        places[name] = place
    if not found:
        raise AnnotationError(file.path, split, "expected questions, got none")
    return list(found.values())


def _rows(file: QuestionFile, split: str) -> tuple[list[tuple[str, Any]], list[str] | None]:
    path = file.path
    if file.format == "paired":
        return _paired_rows(path), None
    if path.suffix.lower() == ".csv":
        return list(read_csv(path, ("question", "answer"))), None
    if path.suffix.lower() == ".jsonl":
        return read_json_lines(path), None
    content, where, vocabulary = read_json(path), "", None
    if isinstance(content, dict):
        if "vocab" in content:
            vocabulary = listed_answers(content["vocab"], path, "vocab")
        if split not in content:
            raise AnnotationError(path, "", f"expected the split {split!r}, got {', '.join(content) or 'none'}")
        content, where = content[split], f"{split} "
    rows = need(content, list, path, where.strip(), "the rows")
    return [(f"{where}row {number}", row) for number, row in enumerate(rows)], vocabulary


def _paired_rows(path: Path) -> list[tuple[str, Any]]:
    """The rows of ActivityNet-QA's questions, each with its answer from the file beside them."""
    beside = path.with_name(re.sub("_q(?=\\.json$)", "_a", path.name, flags=re.IGNORECASE))
    answers: dict[str, dict[str, Any]] = {}
    for number, row in enumerate(need(read_json(beside), list, beside, "", "the answers")):
        need(row, dict, beside, f"row {number}", "a row")
        name = need(row.get("question_id"), str, beside, f"row {number}", "a question_id")
        if name in answers:
            raise AnnotationError(beside, f"row {number}", f"the question's id {name} is there twice; take one out")
        answers[name] = row
    rows = []
    for number, row in enumerate(need(read_json(path), list, path, "", "the questions")):
        place = f"row {number}"
        name = need(need(row, dict, path, place, "a row").get("question_id"), str, path, place, "a question_id")
        if name not in answers:
            raise AnnotationError(beside, name, f"expected an answer to each question of {path.name}, got none to it")
        kind = answers[name].get("type")
        if isinstance(kind, int) and 0 <= kind < len(ACTIVITYNET_KINDS):
            kind = ACTIVITYNET_KINDS[kind]
        rows.append((place, {**row, **answers[name], "type": kind}))
    return rows


def listed_answers(content: Any, path: Path, place: str) -> list[str]:
    """Answers from a list of them, or from {answer: index}, in the order of their indices.

    Raises:
        AnnotationError: of another type, empty, an answer twice, or indices that are not 0, 1, 2 ...
    """
    need(content, (list, dict), path, place, "answers")
    if isinstance(content, dict):
        for answer, index in content.items():
            need(index, int, path, f"{place} {answer!r}".strip(), "an answer's index")
        if sorted(content.values()) != list(range(len(content))):
            raise AnnotationError(
                path, place, f"expected the indices 0 to {len(content) - 1}, each once, got {sorted(content.values())}"
            )
        content = sorted(content, key=content.__getitem__)
    answers = [_text(answer, path, f"{place}[{number}]", "answer") for number, answer in enumerate(content)]
    twice = [answer for answer, count in Counter(answers).items() if count > 1]
    if twice or not answers:
        raise AnnotationError(
            path, place, f"expected answers, each once, got {f'{twice[0]!r} twice' if twice else 'none'}"
        )
    return answers


def _text(value: Any, path: Path, place: str, what: str) -> str:
    hint = " (an index needs the vocabulary it counts in)" if what == "answer" and isinstance(value, int) else ""
    text = need(value, str, path, place, f"the {what}{hint}").strip()
    if not text:
        raise AnnotationError(path, place, f"expected the {what}, got an empty one; take the row out or write one")
    return text


def _answer(value: Any, vocabulary: list[str] | None, path: Path, place: str) -> Any:
    if vocabulary is None or type(value) is not int:
        return value
    if not 0 <= value < len(vocabulary):
        raise AnnotationError(
            path, place, f"expected an index into the {len(vocabulary)} answers of vocab, got {value}"
        )
    return vocabulary[value]


def _question_id(row: dict[str, Any], dataset: Dataset) -> Any:
    # In own data `id` may be anything, as the video's.
    return row.get("question_id", None if dataset == "own" else row.get("id"))


def _kind(row: dict[str, Any], question: str) -> str:
    said = next((row[key] for key in KIND_KEYS if isinstance(row.get(key), str)), "").strip().lower()
    # just-ask's numbers mean other things in other files.
    return question_word(question) if not said or said.isdecimal() else "_".join(said.split())


def _video(value: Any, path: Path, place: str, dataset: Dataset, root: Path) -> str:
    text = str(need(value, (str, int), path, place, "a video's id")).strip().replace("\\", "/")
    if dataset != "own":
        name = video_name(text, path, place)
        if re.fullmatch("-[0-9]+", name):
            raise AnnotationError(path, place, f"expected a video's id, got {value!r}")
        numbered = dataset in NUMBERED and re.fullmatch("[0-9]{1,18}", name)
        return f"{NUMBERED[dataset]}{int(name)}" if numbered else name
    parts = Path(text)
    if parts.is_absolute() and parts.is_relative_to(root.absolute()):
        parts = parts.relative_to(root.absolute())
    stem, dot, extension = parts.name.rpartition(".")
    if not is_video_key(str(parts)) or (dot and not stem):
        raise AnnotationError(path, place, f"expected a video's path below {root}, got {text!r:.80}")
    return (parts.with_name(stem) if dot and extension.lower() in VIDEO_EXTENSIONS else parts).as_posix()
