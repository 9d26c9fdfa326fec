"""The data of a video question answering run: questions of each split, files, coverage, the list of answers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from litevl.corpus import ensure_corpus
from litevl.corpus.corpus import ORDER_PAIRS
from litevl.corpus.questions import ORDER_KINDS

from .answers import AnswerList
from .coverage import Coverage, apply_policy, find_bad_videos
from .digest import digest_of
from .paths import VideoFolder
from .question_dataset import QuestionedVideo, by_video
from .question_files import Dataset, Format, VideoQuestion
from .questions import QuestionData, load_questions
from .reading_config import ReadingConfig

Split = Literal["train", "val", "test"]
NAMES = {"msrvtt": "MSRVTT-QA", "msvd": "MSVD-QA", "activitynet": "ActivityNet-QA", "own": "own questions"}
FOLDERS = {"msrvtt": "", "msvd": "msvd-qa"}
"""Where in the embedded corpus its questions are, by the data set whose schema they have."""


@dataclass(frozen=True)
class QuestionSetConfig:
    """Which videos and questions.

    Raises:
        ValueError: two lists of answers.
    """

    root: Path | None = None
    """The data set's folder, in any of the layouts it comes in; by default the embedded corpus, rendered on first
    use."""
    dataset: Dataset = "msrvtt"
    """Which one lies there: MSRVTT-QA, MSVD-QA, ActivityNet-QA, or your own questions in CSV, JSON or JSON lines."""
    videos: Path | None = None
    """The folder of the video files, where it is not `root`."""
    schema: Format | None = None
    """Take annotation files of this form only; by default it is detected."""
    answers: int | None = None
    """Choose among so many of the most frequent training answers; by default among all that occur twice or more. The
    field uses 1000, 1500 (MSRVTT-QA), 2423 (MSVD-QA) or 4000."""
    answer_file: Path | None = None
    """Choose among the answers of this file instead, as `train_ans2label.json`, to compare with others' numbers."""
    questions: int = 4
    """Questions asked of a training clip at a time; the clip is decoded and encoded once for them."""

    def __post_init__(self) -> None:
        if self.answers is not None and self.answer_file is not None:
            raise ValueError("data.answers and data.answer_file: expected one of them, got both")


@dataclass(frozen=True)
class QuestionDataConfig(ReadingConfig, QuestionSetConfig):
    """The videos and the questions about them."""

    def __post_init__(self) -> None:
        QuestionSetConfig.__post_init__(self)
        ReadingConfig.__post_init__(self)


@dataclass(frozen=True)
class QuestionAnsweringData:
    """The questions of a run, and the videos of each split that can be used."""

    config: QuestionDataConfig
    folder: VideoFolder
    splits: dict[Split, tuple[QuestionedVideo, ...]]
    """The videos that are there, with their questions."""
    questions: dict[Split, tuple[VideoQuestion, ...]]
    """All questions, those of missing videos too: an accuracy is over all of them."""
    coverage: dict[Split, Coverage]
    """Of videos."""
    answers: AnswerList
    dataset: str
    """What the data is called in reports."""
    order_kinds: tuple[str, ...]
    """Types of question that only the order of frames answers; the embedded corpus knows them."""
    found: QuestionData

    def summary(self) -> str:
        """What was found, in a few lines."""
        counts = ", ".join(
            f"{split} {len(self.splits[split])} videos / {len(asked)} questions"
            for split, asked in self.questions.items()
        )
        lines = [f"{self.dataset} ({self.found.schema} files): {counts}"]
        ceiling = self.answers.ceiling(self.questions["test"])
        lines += [f"{len(self.answers)} answers ({self.answers.source}), ceiling on test {ceiling:.1f}"]
        lines += [f"{split} {coverage}" for split, coverage in self.coverage.items() if coverage.missing]
        notes = self.answers.notes if self.config.root is None else (*self.found.notes, *self.answers.notes)
        return "\n".join([*lines, *(f"note: {note}" for note in notes)])

    def stamp(self) -> dict[str, Any]:
        """What of the data belongs to the protocol of a result."""
        return {
            "dataset": self.dataset,
            "schema": self.found.schema,
            **self.answers.stamp(),
            "answer_ceiling": {split: self.answers.ceiling(asked) for split, asked in self.questions.items() if asked},
            "sampling": self.config.sampling,
            "coverage": {split: str(coverage) for split, coverage in self.coverage.items()},
            "data_digest": {
                split: digest_of((v.video_id, (asked.question, asked.answer)) for v in videos for asked in v.questions)
                for split, videos in self.splits.items()
                if videos
            },
        }

    def coverage_of(self, split: Split, video_ids: Sequence[str]) -> Coverage:
        """The coverage of a split when only these of its videos could be decoded."""
        come = set(video_ids)
        return self.coverage[split].without(v.video_id for v in self.splits[split] if v.video_id not in come)


def load_question_data(
    config: QuestionDataConfig, *, answers: AnswerList | None = None, progress: bool = True
) -> QuestionAnsweringData:
    """Finds questions and files of every split, makes the list of answers, applies the policy for what is missing.

    Args:
        config: where, what, and the policy.
        answers: the list of a finished run; then the test questions alone are loaded.
        progress: show progress bars.

    Raises:
        AnnotationError: no questions that make the splits, or damaged files.
        UnusableVideosError: a video is missing or unreadable under the policy `error`; the first ones are named.
        ValueError: no folder for own data, or no answer that qualifies for the list.
    """
    if config.root is None and config.dataset not in FOLDERS:
        raise ValueError(f"expected the folder of {NAMES[config.dataset]} as --data.root, got none")
    corpus = ensure_corpus(progress=progress) if config.root is None else None
    root = config.root if corpus is None else corpus / FOLDERS[config.dataset]
    assert root is not None
    videos = config.videos or corpus or root
    found = load_questions(root, config.dataset, config.schema, training=answers is None, videos=videos)
    folder = VideoFolder(videos, config.frame_store, decode_timeout=config.decode_timeout)
    questions: dict[Split, tuple[VideoQuestion, ...]] = {"train": found.train, "val": found.val, "test": found.test}
    splits: dict[Split, tuple[QuestionedVideo, ...]] = {}
    coverage: dict[Split, Coverage] = {}
    for split, asked in questions.items():
        clips = by_video(asked)
        bad = find_bad_videos(clips, folder, decode=config.check_decoding, decoder=config.decoder, progress=progress)
        kept, coverage[split] = apply_policy(clips, bad, config.on_bad_video)
        splits[split] = tuple(kept)
    if answers is None and config.answer_file is not None:
        answers = AnswerList.from_file(config.answer_file, found.train, found.test)
    ordered = (root / ORDER_PAIRS).is_file() or corpus is not None
    return QuestionAnsweringData(
        config=config,
        folder=folder,
        splits=splits,
        questions=questions,
        coverage=coverage,
        answers=answers or AnswerList.from_training(found.train, config.answers),
        dataset=NAMES[config.dataset] if corpus is None else "embedded corpus",
        order_kinds=ORDER_KINDS if ordered else (),
        found=replace(found, train=(), val=(), test=()),
    )
