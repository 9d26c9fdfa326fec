"""What is wrong with a data set, or should be known of it, before anyone trains."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from litevl.data.annotations import VIDEO_EXTENSIONS, LeakError, VideoCaptions
from litevl.data.benchmark import Split
from litevl.data.msrvtt_files import known_files
from litevl.data.questions import QuestionData
from litevl.data.records import segment_name
from litevl.validation.candidates import Candidate
from litevl.validation.detection import usual_counts

Severity = Literal["error", "warning", "info"]
LONG = 33
"""Words above which a text is sure to be more than the 35 tokens, two of them special, that models read of it."""

NOTES: tuple[tuple[str, Severity | None], ...] = (
    # Said by findings of their own, with all items.
    (r"has \d+ (videos and \d+ captions|questions), usually", None),
    (r"files give clips to both train and test|captions are given twice for one clip", None),
    (r"validation videos are test videos|videos are both in", None),
    # A segment's bounds under another name would leave the whole video in its place.
    (r"columns not used: .*(start|begin|end|stop|time)", "warning"),
    # Choices, and what is as it should be.
    (r"no validation (videos|questions)|leaves no validation videos", "info"),
    (r"frames are of the first|no youtube_mapping|columns not used|are not in \S+_list\.txt", "info"),
)
"""How much the loaders' notes matter; others are warnings."""


@dataclass(frozen=True)
class Finding:
    """Something to know of a data set.

    An error makes training fail or its numbers wrong; a warning may make them other than believed.
    """

    severity: Severity
    kind: str
    """What it is about, in a word: `missing`, `unreadable`, `leak`, `duplicate`, ..."""
    message: str
    items: tuple[Mapping[str, Any], ...] = ()
    """All that it is about, one by one."""


@dataclass(frozen=True)
class CheckedSplit:
    """A split with the files of its videos."""

    candidate: Candidate
    name: Split
    called: str
    """Its name in the field, as `9k`."""
    clips: tuple[VideoCaptions, ...]
    """Its videos with their captions, or their questions."""
    kinds: Mapping[str, int] = field(default_factory=dict)
    """Questions of each type."""
    answers: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    """The answers to each question of each video."""

    @property
    def usual(self) -> bool:
        """It has the field's counts."""
        videos, texts = usual_counts(self.candidate, self.name)
        if videos is None and texts is None:
            return False
        return (videos is None or len(self.clips) in videos) and texts in (None, self.texts)

    @property
    def texts(self) -> int:
        """Captions, or questions."""
        return sum(len(clip.captions) for clip in self.clips)

    @property
    def label(self) -> str:
        """What it is called in findings."""
        return f"{self.name} {self.candidate.task}"


def splits_of(candidate: Candidate) -> tuple[CheckedSplit, ...]:
    """The splits that a loader found, questions by their videos."""
    found = candidate.found
    if found is None:
        return ()
    if not isinstance(found, QuestionData):
        called = {
            "train": found.train_split or "",
            "val": "full" if candidate.dataset == "msrvtt" else "val",
            "test": found.test_split,
        }
        each: tuple[tuple[Split, tuple[VideoCaptions, ...]], ...]
        each = (("train", found.train), ("val", found.val), ("test", found.test))
        return tuple(CheckedSplit(candidate, name, called[name], clips) for name, clips in each if clips)
    made = []
    asked: tuple[tuple[Split, Any], ...] = (("train", found.train), ("val", found.val), ("test", found.test))
    for name, questions in asked:
        by_video: dict[tuple[str, float | None, float | None], list[str]] = {}
        answers: dict[tuple[str, str], list[str]] = {}
        for question in questions:
            place = (question.video_id, question.start, question.end)
            by_video.setdefault(place, []).append(question.question)
            answers.setdefault((segment_name(*place), question.question), []).append(question.answer)
        if by_video:
            clips = tuple(
                VideoCaptions(segment_name(video, start, end), tuple(texts), file=video, start=start, end=end)
                for (video, start, end), texts in by_video.items()
            )
            kinds = dict(Counter(question.kind for question in questions).most_common())
            given = {key: tuple(texts) for key, texts in answers.items()}
            made.append(CheckedSplit(candidate, name, name, clips, kinds, given))
    return tuple(made)


def of_annotations(candidate: Candidate, root: Path, training: bool) -> Iterator[Finding]:
    """What the loader said: why it took less than was asked, and its notes."""
    problem = candidate.problem
    only = "; only the test split was checked" if candidate.found is not None and training else ""
    if isinstance(problem, LeakError):
        items = tuple({"splits": " and ".join(problem.splits), "video_id": video} for video in problem.shared)
        yield Finding("error", "leak", f"{candidate.task}: {problem}{only}", items)
    elif problem is not None:
        yield Finding("error", "annotations", f"{candidate.task}: {problem}{only}")
    for note in candidate.found.notes if candidate.found is not None else ():
        severity: Severity | None = next(
            (severity for pattern, severity in NOTES if re.search(pattern, note)), "warning"
        )
        kind = "unused" if "not used" in note else "note"
        # Of a test split alone, the training files are what is left.
        expected = kind == "unused" and (not training or problem is not None)
        if severity == "warning" and (expected or _other_splits_lists(note, candidate, root)):
            severity = "info"
        if severity is None and "given twice" in note and getattr(candidate.found, "caption_mode", "") == "paragraph":
            severity = "warning"  # joined, they can't be told apart below
        if severity is not None:
            yield Finding(severity, kind, f"{candidate.task}: {note}")


def _other_splits_lists(note: str, candidate: Candidate, root: Path) -> bool:
    """Whether files are not used because they are other splits' lists, as 7k's beside 9k's, or other annotators'."""
    names = note.partition("annotation files not used: ")[2].split(", ")
    if candidate.dataset == "activitynet":
        return all(re.search(r"val_2|(val|test)_ids", name) for name in names)
    if candidate.dataset != "msrvtt" or candidate.task != "captions":
        return False
    return set(names) <= {str(f.path.relative_to(root)) for f in known_files(root) if f.content in ("ids", "picks")}


def of_counts(splits: Sequence[CheckedSplit]) -> Iterator[Finding]:
    """Data sets with splits whose numbers of videos or texts are not the field's."""
    for candidate in {split.candidate.task: split.candidate for split in splits}.values():
        items: list[dict[str, Any]] = []
        for split in splits:
            videos, texts = usual_counts(split.candidate, split.name)
            if split.candidate is not candidate or split.usual or (videos is None and texts is None):
                continue
            number = {} if videos is None else {"videos": len(split.clips), "usual_videos": list(videos)}
            items.append({"split": split.name, **number, "texts": split.texts, "usual_texts": texts})
        if items:
            said = ", ".join(item["split"] for item in items)
            message = f"{candidate.task}: counts of {said} are not the field's; results are not comparable with others'"
            yield Finding("warning", "counts", message, tuple(items))


def of_texts(splits: Iterable[CheckedSplit]) -> Iterator[Finding]:
    """Texts that are said twice of a video, and those that are too long to be read to their end."""
    for split in splits:
        task = split.candidate.task
        # The releases have such texts themselves; there is nothing to mend.
        severity: Severity = "info" if split.usual else "warning"
        again: list[dict[str, Any]] = []
        for clip in split.clips:
            for text, times in Counter(clip.captions).items():
                if times > 1:
                    said = {"answers": list(split.answers[clip.video_id, text])} if split.answers else {}
                    again.append({"split": split.name, "video_id": clip.video_id, "text": text, "times": times, **said})
        if again:
            differ = sum(len(set(item.get("answers", ()))) > 1 for item in again)
            more = f", {differ} of them with different answers" if differ else ""
            come = "text comes" if len(again) == 1 else "texts come"
            message = f"{split.label}: {len(again):,} {come} more than once for the same video{more}"
            yield Finding(severity, "duplicate_text", message, tuple(again))
        long = [
            {"split": split.name, "video_id": clip.video_id, "words": len(text.split()), "text": text}
            for clip in split.clips
            for text in clip.captions
            if len(text.split()) > LONG
        ]
        if long:
            flag = "--max-question-length" if task == "questions" else "--max-text-length"
            message = (
                f"{split.label}: {len(long):,} of {split.texts:,} have more than {LONG} words; what comes after is not "
                f"read unless {flag} is raised above its 35 tokens"
            )
            paragraph = getattr(split.candidate.found, "caption_mode", "") == "paragraph"
            yield Finding("warning" if paragraph else severity, "long_text", message, tuple(long))


def of_unused_videos(splits: Sequence[CheckedSplit], used: Iterable[Path], partial: bool) -> Iterator[Finding]:
    """Videos beside those of the data set that no annotation names."""
    taken = set(used)
    spare = [
        path
        for folder in sorted({path.parent for path in taken})
        for path in sorted(folder.iterdir())
        if path.suffix.lower().lstrip(".") in VIDEO_EXTENSIONS and path not in taken and path.is_file()
    ]
    if spare:
        expected = partial or all(split.usual for split in splits)
        lie = "video lies" if len(spare) == 1 else "videos lie"
        message = f"{len(spare):,} {lie} beside the others without being in a split that was checked"
        yield Finding("info" if expected else "warning", "unused", message, tuple({"file": str(p)} for p in spare))
