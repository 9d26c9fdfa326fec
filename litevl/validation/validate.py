"""Everything about a folder of videos and annotations that is better known before training than after."""

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from litevl.data.annotations import AnnotationError, VideoCaptions
from litevl.data.decoders import installed
from litevl.data.paths import DECODE_TIMEOUT, VideoFolder, check_decode_timeout
from litevl.data.questions import QuestionData
from litevl.data.video import Decoder, VideoError
from litevl.validation.candidates import Asked, Candidate
from litevl.validation.detection import Detection, detect, usual_counts
from litevl.validation.file_check import FileCheck, Window, check_files, identical_files
from litevl.validation.file_findings import of_duplicates, of_leaks, of_missing, of_unreadable
from litevl.validation.findings import (
    CheckedSplit,
    Finding,
    of_annotations,
    of_counts,
    of_texts,
    of_unused_videos,
    splits_of,
)
from litevl.validation.own_file import detect_file

EXIT_CODES = {"info": 0, "warning": 1, "error": 2}
SAMPLES = 3


@dataclass(frozen=True)
class ValidateConfig(Asked):
    """What to validate, and how thoroughly."""

    decode: bool = True
    """Open every video and decode its middle frame, or look up paths only."""
    decoder: Decoder = "auto"
    workers: int | None = None
    """Processes; as many as this one may use cores if not given."""
    decode_timeout: float = DECODE_TIMEOUT
    """Seconds that a video may take to be opened; 0 for no limit."""


@dataclass(frozen=True)
class Sample:
    """One video, to be looked at."""

    video_id: str
    file: str | None
    text: str


@dataclass(frozen=True)
class SplitReport:
    """What a split has."""

    name: str
    called: str
    videos: int
    usual_videos: tuple[int, ...] | None
    """The field's numbers, of which each will do."""
    texts: int
    """Captions, or questions."""
    usual_texts: int | None
    kinds: Mapping[str, int]
    """Questions of each type."""
    hours: float | None
    """Of all its videos, or their segments, that could be opened; None where none was."""
    opened: int
    frame_rates: tuple[float, float] | None
    """Lowest and highest, in frames a second."""
    sizes: tuple[str, str] | None
    """The smallest picture and the largest, width x height."""
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class SetReport:
    """A data set of one task."""

    task: Literal["captions", "questions"]
    dataset: str
    """As the flag `--dataset` has it."""
    schema: str
    caption_mode: str | None
    files: tuple[str, ...]
    splits: tuple[SplitReport, ...]


@dataclass(frozen=True)
class Report:
    """All that was found."""

    data: str
    videos: str
    """The folder in which videos were looked for."""
    sets: tuple[SetReport, ...] = ()
    findings: tuple[Finding, ...] = ()
    """Errors first."""
    decoded: bool = False
    files_opened: int = 0
    seconds: float = field(default=0.0)
    """How long it took."""

    @property
    def severity(self) -> Literal["error", "warning", "info"]:
        """The worst of the findings."""
        found = {finding.severity for finding in self.findings}
        return "error" if "error" in found else "warning" if "warning" in found else "info"

    @property
    def exit_code(self) -> int:
        """0: nothing, or only things to know; 1: warnings; 2: errors."""
        return EXIT_CODES[self.severity]

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON has it."""
        return {**asdict(self), "severity": self.severity, "exit_code": self.exit_code}


def validate(data: str | os.PathLike[str], config: ValidateConfig | None = None, *, progress: bool = True) -> Report:
    """Look at a data set before anyone trains on it. What is wrong with it is reported, never raised.

    Args:
        data: its folder, or one file of one's own captions or questions.
        config: what is there, where it cannot be told, and how thoroughly to look.
        progress: show bars on standard error.
    """
    began = time.perf_counter()
    data, config = Path(data), config or ValidateConfig()
    asked = Asked(**{each.name: getattr(config, each.name) for each in fields(Asked)})
    root = data if data.is_dir() else data.parent
    videos = root if config.videos is None else config.videos
    findings: list[Finding] = []
    if not data.exists():
        findings.append(Finding("error", "data", f"expected a folder of annotations, got {data}, which is not there"))
    if not videos.is_dir() and videos != root:
        findings.append(Finding("error", "data", f"expected a folder of videos, got {videos}, which is not one"))
    try:
        check_decode_timeout(config.decode_timeout)
    except ValueError as error:
        findings.append(Finding("error", "data", str(error)))
    if config.decoder != "auto" and not installed(config.decoder):
        message = f"expected a decoder that is installed, got {config.decoder}; install it, or leave --decoder out"
        findings.append(Finding("error", "data", message))
    if findings:
        return Report(str(data), str(videos), (), tuple(findings), seconds=time.perf_counter() - began)
    try:
        detection = detect(root, asked) if data.is_dir() else detect_file(data, asked)
    except (AnnotationError, OSError) as error:
        detection = Detection((Candidate("captions", "own", None, error),))
    findings += _of_detection(detection, data)
    for candidate in detection.chosen:
        findings += of_annotations(candidate, root, config.training)
    splits = {candidate.task: splits_of(candidate) for candidate in detection.chosen}
    folder = VideoFolder(videos, decode_timeout=config.decode_timeout)
    files = _Files(folder, [split for each in splits.values() for split in each], config, progress)
    partial = not config.training or any(candidate.problem is not None for candidate in detection.chosen)
    findings += files.findings(partial)
    order = {severity: place for place, severity in enumerate(("error", "warning", "info"))}
    return Report(
        str(data),
        str(videos),
        tuple(_set_report(c, splits[c.task], files) for c in detection.chosen if c.found is not None),
        tuple(sorted(findings, key=lambda finding: order[finding.severity])),
        config.decode,
        len(files.checks),
        time.perf_counter() - began,
    )


def _of_detection(detection: Detection, data: Path) -> Iterable[Finding]:
    for reason in detection.reasons:
        yield Finding("warning" if detection.guessed else "info", "dataset", reason)
    for candidate in detection.chosen:
        found = candidate.found
        if candidate.dataset == "own" and found is not None and not isinstance(found, QuestionData):
            mode = found.caption_mode
            yield Finding(
                "info", "caption_mode",
                f"captions: own data, caption mode {mode}; say it in training, --data.caption-mode {mode}"
                + (", or paragraph to join a clip's captions into one query" if mode == "many" else ""),
            )  # fmt: skip
    if not detection.chosen:
        expected = tuple(
            {"task": refused.task, "dataset": refused.dataset, "reason": str(refused.problem)}
            for refused in detection.refused
        )
        yield Finding(
            "error", "annotations",
            f"expected annotations of captions or questions in {data}, got none that a loader takes; this is what each "
            "of them expected (--dataset names one)",
            expected,
        )  # fmt: skip


class _Files:
    """The videos' files, looked up and opened."""

    def __init__(self, folder: VideoFolder, splits: Sequence[CheckedSplit], config: ValidateConfig, progress: bool):
        self._folder, self._splits = folder, splits
        self.paths: dict[str, Path] = {}
        self._missing: dict[str, str] = {}
        wanted: dict[Path, dict[Window, None]] = {}
        for clip in (clip for split in splits for clip in split.clips):
            if clip.key not in self.paths and clip.key not in self._missing:
                try:
                    self.paths[clip.key] = folder.resolve(clip.key)
                except (VideoError, ValueError) as error:
                    self._missing[clip.key] = getattr(error, "reason", str(error))
            if clip.key in self.paths:
                wanted.setdefault(self.paths[clip.key], {})[clip.start, clip.end] = None
        self.checks: dict[Path, FileCheck] = {}
        if config.decode:
            windows = {path: tuple(each) for path, each in wanted.items()}
            self.checks = check_files(windows, config.decoder, config.workers, folder.decode_timeout, progress)
        self._alike = identical_files(wanted, config.workers, progress)

    def findings(self, partial: bool) -> Iterable[Finding]:
        """What is wrong with splits and files."""
        yield from of_missing(self._splits, self._missing, self._folder.root)
        yield from of_unreadable(self._splits, self.paths, self.checks)
        yield from of_leaks(self._splits, self.paths, self._alike)
        yield from of_counts(self._splits)
        yield from of_duplicates(self._splits, self.paths, self._alike)
        yield from of_texts(self._splits)
        yield from of_unused_videos(self._splits, self.paths.values(), partial)

    def name(self, key: str) -> str | None:
        """A video's file below the folder of the videos; None where it is missing."""
        path = self.paths.get(key)
        return None if path is None else path.relative_to(self._folder.root).as_posix()

    def opened(self, clips: Iterable[VideoCaptions]) -> list[tuple[VideoCaptions, FileCheck]]:
        """The clips whose container could be read, with what it says."""
        found = ((clip, self.checks.get(self.paths.get(clip.key, Path()))) for clip in clips)
        return [(clip, check) for clip, check in found if check is not None and check.seconds is not None]


def _set_report(candidate: Candidate, splits: Sequence[CheckedSplit], files: _Files) -> SetReport:
    found = candidate.found
    assert found is not None
    return SetReport(
        candidate.task,
        candidate.dataset,
        found.schema,
        None if isinstance(found, QuestionData) else found.caption_mode,
        tuple(str(path) for path in found.files),
        tuple(_split_report(split, files) for split in splits),
    )


def _split_report(split: CheckedSplit, files: _Files) -> SplitReport:
    opened = files.opened(split.clips)
    rates = [check.frame_rate for _, check in opened if check.frame_rate is not None]
    sizes = [(check.width, check.height) for _, check in opened if check.width is not None and check.height is not None]
    ordered = sorted(sizes, key=lambda size: size[0] * size[1])
    usual_videos, usual_texts = usual_counts(split.candidate, split.name)
    return SplitReport(
        split.name,
        split.called,
        len(split.clips),
        usual_videos,
        split.texts,
        usual_texts,
        dict(split.kinds),
        sum(_seconds(clip, check) for clip, check in opened) / 3600 if opened else None,
        len(opened),
        (min(rates), max(rates)) if rates else None,
        ("{}x{}".format(*ordered[0]), "{}x{}".format(*ordered[-1])) if ordered else None,
        tuple(_sample(split, split.clips[place], files) for place in _places(len(split.clips))),
    )


def _seconds(clip: VideoCaptions, check: FileCheck) -> float:
    """How long the part of a file is that frames are taken from."""
    length = check.seconds or 0.0
    return max(0.0, min(length, length if clip.end is None else clip.end) - (clip.start or 0.0))


def _places(number: int) -> list[int]:
    """First, middle and last, or fewer."""
    return sorted({0, number // 2, number - 1})[:SAMPLES]


def _sample(split: CheckedSplit, clip: VideoCaptions, files: _Files) -> Sample:
    text = clip.captions[0]
    answers = split.answers.get((clip.video_id, text), ())
    return Sample(clip.video_id, files.name(clip.key), f"{text} {' / '.join(answers)}".strip() if answers else text)
