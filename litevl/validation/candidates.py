"""What each loader makes of a folder whose data set is not known, or not quite."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

from litevl.data.annotations import AnnotationError, MissingAnnotationsError
from litevl.data.msrvtt import TestSplit, TrainSplit
from litevl.data.question_files import Dataset as QuestionDataset
from litevl.data.question_files import Format as QuestionFormat
from litevl.data.questions import QuestionData, load_questions
from litevl.data.retrieval_config import AnySchema, Dataset, RetrievalSetConfig, find_set
from litevl.data.retrieval_set import CaptionMode, RetrievalSet

Task = Literal["captions", "questions"]
AnyForm = Literal[AnySchema, QuestionFormat]
SPLIT_PAIRS: tuple[tuple[TrainSplit, TestSplit], ...] = (
    ("9k", "1k-A"), ("7k", "1k-A"), ("full", "full"), ("7k", "full"), ("full", "1k-A")
)  # fmt: skip
"""MSR-VTT's splits that may go together, in the order in which they are tried."""


@dataclass(frozen=True)
class Asked:
    """What is said of a folder; None is left to be detected."""

    task: Task | None = None
    dataset: Dataset | None = None
    videos: Path | None = None
    train_split: TrainSplit | None = None
    test_split: TestSplit | None = None
    train_file: Path | None = None
    val_file: Path | None = None
    test_file: Path | None = None
    schema: AnyForm | None = None
    caption_mode: CaptionMode | None = None
    training: bool = True


@dataclass(frozen=True)
class Candidate:
    """What one loader makes of a folder."""

    task: Task
    dataset: Dataset
    found: RetrievalSet | QuestionData | None
    """What it found: all splits, or the test split alone where the others raised `problem`."""
    problem: Exception | None = None
    """Why there is no more; of `MissingAnnotationsError`, and of settings of another data set, the folder may just be
    none of this loader's."""

    @property
    def damaged(self) -> bool:
        """The loader found its files and could not take them."""
        return isinstance(self.problem, AnnotationError) and not isinstance(self.problem, MissingAnnotationsError)


def candidates(root: Path, task: Task, asked: Asked) -> Iterator[Candidate]:
    """Try every loader that is not ruled out by what was asked."""
    datasets: tuple[Dataset, ...] = get_args(Dataset if task == "captions" else QuestionDataset)
    for dataset in datasets:
        if asked.dataset in (None, dataset):
            yield _captions(root, dataset, asked) if task == "captions" else _questions(root, dataset, asked)


def detect_captions(root: Path, asked: Asked, **changes: Any) -> Candidate:
    """What the one loader that is asked for makes of a folder, or of the files that are given."""
    asked = replace(asked, **changes)
    assert asked.dataset is not None
    return _captions(root, asked.dataset, asked)


def _questions(root: Path, dataset: Dataset, asked: Asked) -> Candidate:
    if asked.schema is not None and asked.schema not in get_args(QuestionFormat):
        expected = ", ".join(get_args(QuestionFormat))
        problem = ValueError(f"expected one of {expected} for questions, got schema={asked.schema!r}")
        return Candidate("questions", dataset, None, problem)
    problem_of_all: Exception | None = None
    for training in (True, False) if asked.training else (False,):
        try:
            kind, form = cast(QuestionDataset, dataset), cast(QuestionFormat | None, asked.schema)
            found = load_questions(root, kind, form, training=training, videos=asked.videos)
            return Candidate("questions", dataset, found, problem_of_all)
        except (AnnotationError, ValueError) as error:
            problem_of_all = problem_of_all or error
    return Candidate("questions", dataset, None, problem_of_all)


def _captions(root: Path, dataset: Dataset, asked: Asked) -> Candidate:
    problem: Exception | None = None
    for config, training in _configs(dataset, asked):
        if problem is not None and training and not isinstance(problem, MissingAnnotationsError):
            continue  # other splits would only hide that these are damaged
        try:
            found = find_set(config, root, training=training)
        except (AnnotationError, ValueError) as error:
            # What is damaged tells more than that other splits would need other files.
            if problem is None or (_is_missing(problem) and not _is_missing(error)):
                problem = error
            continue
        if dataset == "own" and asked.caption_mode is None:
            single = all(len(video.captions) == 1 for video in (*found.val, *found.test))
            found = replace(found, caption_mode="one" if single else "many")
        return Candidate("captions", dataset, found, None if training == asked.training else problem)
    return Candidate("captions", dataset, None, problem)


def _is_missing(problem: Exception) -> bool:
    return isinstance(problem, MissingAnnotationsError)


def _configs(dataset: Dataset, asked: Asked) -> Iterator[tuple[RetrievalSetConfig, bool]]:
    """What to load, the best first; the last ones without training."""
    base = RetrievalSetConfig(
        dataset=dataset,
        train_file=asked.train_file,
        val_file=asked.val_file,
        test_file=asked.test_file,
        caption_mode=asked.caption_mode or ("many" if dataset == "own" else None),
        videos=asked.videos,
        schema=cast(AnySchema | None, asked.schema),
    )
    if dataset != "msrvtt":
        foreign = replace(base, train_split=asked.train_split or "9k", test_split=asked.test_split or "1k-A")
        yield from ((foreign, training) for training in ((True, False) if asked.training else (False,)))
        return
    pairs = [
        (train, test)
        for train, test in SPLIT_PAIRS
        if asked.train_split in (None, train) and asked.test_split in (None, test)
    ]
    if asked.training:
        yield from ((replace(base, train_split=train, test_split=test), True) for train, test in pairs)
    for test in dict.fromkeys(test for _, test in pairs):
        yield replace(base, test_split=test), False
