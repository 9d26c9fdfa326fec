"""`litevl prepare`: a data set's frames decoded once, for every epoch of every run."""

import json as json_format
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import Positional

from litevl.data.annotations import AnnotationError
from litevl.data.cores import usable_cores
from litevl.data.coverage import BadVideo, BadVideoPolicy
from litevl.data.msrvtt import TestSplit, TrainSplit
from litevl.data.paths import DECODE_TIMEOUT
from litevl.data.retrieval_config import Dataset
from litevl.data.retrieval_set import CaptionMode
from litevl.data.video import Decoder
from litevl.validation import video_files
from litevl.validation.candidates import AnyForm, Asked, Task

if TYPE_CHECKING:
    from litevl.data.preparation import Filled, Plan

SHOWN = 5


def prepare(
    data: Positional[Path | None] = None,
    *,
    frame_store: Path,
    image_size: int | None = None,
    dataset: Dataset | None = None,
    task: Task | None = None,
    videos: Path | None = None,
    train_split: TrainSplit | None = None,
    test_split: TestSplit | None = None,
    train_file: Path | None = None,
    val_file: Path | None = None,
    test_file: Path | None = None,
    schema: AnyForm | None = None,
    caption_mode: CaptionMode | None = None,
    training: bool = True,
    every_file: bool = False,
    on_bad_video: BadVideoPolicy = "error",
    decoder: Decoder = "auto",
    workers: int | None = None,
    decode_timeout: float = DECODE_TIMEOUT,
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Decodes all frames of a data set into a frame store, which runs then read: `--data.frame-store` of every recipe.

    Frames are kept resized and uncompressed, so that any sampling of any run finds its own, bit for bit as decoding
    gives them: 3 x size x size bytes each, 150 kB for 224 pixels and 442 kB for 384, so 135 MB and 400 MB for 30
    seconds of 30 frames. What that comes to is said, beside what the disk has free, before anything is written; what
    does not fit is refused. It pays where videos are decoded over and over: many epochs, many runs, seeds.

    Whoever stops it (or a full disk) may start it again: videos that are stored are passed over. A run given a store
    that lacks some videos decodes those and adds them.

    Exit code: 0 all videos are stored, 1 some are left out and named (missing or unreadable under --on-bad-video skip,
    or damaged in a frame, so that runs decode them each time), 2 refused or stopped (no annotations, bad videos under
    the policy error, no room; also a wrong command line).

    As in

    litevl prepare /data/msrvtt --frame-store /ssd/frames --image-size 224 --dry-run

    litevl prepare /data/mine.csv --videos /data/clips --frame-store /ssd/frames --workers 16

    litevl prepare --frame-store frames

    Args:
        data: the data set's folder, in any of the layouts it comes in, or one csv, tsv, json or jsonl file of your own;
            by default the embedded corpus, rendered on first use.
        frame_store: the folder to fill, made if it is not there; give it to recipes as --data.frame-store.
        image_size: side of the stored frames, that of the model which will read them: by default 384, BLIP's for
            retrieval, or without data that of the small BLIP that ships.
        dataset: which one lies there; by default it is detected, as by `litevl validate`, whose flags these are.
        task: videos of captions or of questions alone; by default both, where there are both.
        videos: the folder of the video files, where it is not that of the annotations.
        train_split: MSR-VTT's training videos; by default 9k, 7k or full, the first that the files make.
        test_split: MSR-VTT's test videos; by default likewise.
        train_file: the training captions' file, in the folder or absolute; by default it is found. Not for MSR-VTT.
        val_file: likewise of the validation split.
        test_file: likewise of the test split, as ActivityNet's val_2.json.
        schema: take annotation files of this form only.
        caption_mode: how the captions of a test video of your own are queries; it makes no difference to the frames.
        training: the videos of all splits; with --no-training those of the test split alone.
        every_file: every video file below the folder, annotations or not.
        on_bad_video: refuse to begin if a video is missing or unreadable, or leave it out and name it.
        decoder: what to decode with, as in training; frames stored with one are not read by runs with another.
        workers: processes, each with a video at a time; by default as many as this process may use cores.
        decode_timeout: seconds that a clip may take to be decoded, as in training, and all of a video 30 times as many;
            what hangs, or crashes the decoder, is left out and named. On Linux; 0 waits for ever.
        dry_run: say what it would take, and write no frames.
        json: print everything as JSON, every video left out. Progress goes to standard error.
    """
    from litevl.data.frame_store import FrameStore
    from litevl.data.preparation import fill, plan

    asked = Asked(
        task, dataset, videos, train_split, test_split, train_file, val_file, test_file, schema, caption_mode, training
    )
    report = _Report(str(frame_store), began=time.perf_counter())
    try:
        found = _find(data, asked, every_file)
        report.image_size = _usual_size(data) if image_size is None else image_size
        store = FrameStore(frame_store, report.image_size, decoder)
        cores = usable_cores() if workers is None else workers
        wanted = plan(store, found.paths, cores, decode_timeout)
        report.take_plan(found, wanted)
        print(report.expected, file=sys.stderr if json else sys.stdout, flush=True)
        if report.left_out and on_bad_video == "error":
            report.stopped = (
                f"expected every video, got {len(report.left_out)} of {report.videos} missing or unreadable; fetch "
                "them, or --on-bad-video skip leaves them out"
            )
        elif not wanted.fits:
            report.stopped = (
                f"expected room in {store.folder}, got {_size(wanted.free)} free for {_size(wanted.bytes)}; free some, "
                "name a folder on a larger disk, or take fewer videos (--no-training)"
            )
        elif not dry_run:
            report.take_result(fill(store, wanted.wanted, cores, decode_timeout))
    except (AnnotationError, ImportError, OSError, ValueError) as error:
        report.stopped = " ".join(str(error).split())
    report.seconds = time.perf_counter() - report.began
    if json:
        print(json_format.dumps(report.to_json(), indent=2))
    else:
        report.show()
    sys.stdout.flush()
    return report.exit_code


@dataclass
class _Report:
    """What is told, as it becomes known."""

    frame_store: str
    began: float
    image_size: int | None = None
    data: str | None = None
    videos: int = 0
    """Asked for."""
    stored_before: int = 0
    frames: int = 0
    """To decode."""
    bytes: int = 0
    """To write."""
    free: int = 0
    """Bytes that the disk had left."""
    stored: int = 0
    bytes_written: int = 0
    left_out: list[BadVideo] = field(default_factory=list)
    """Missing, unreadable, or damaged in a frame."""
    stopped: str | None = None
    """Why it was refused, or did not come to the end."""
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0: all are stored; 1: some are left out; 2: refused or stopped."""
        return 2 if self.stopped is not None else 1 if self.left_out else 0

    @property
    def expected(self) -> str:
        """What is going to be done."""
        before = f", {self.stored_before:,} stored already" if self.stored_before else ""
        return (
            f"{self.data}: {self.videos:,} videos{before}; {self.frames:,} frames of {self.image_size} px to decode, "
            f"{_size(self.bytes)} into {self.frame_store}, where {_size(self.free)} are free"
        )

    def take_plan(self, found: video_files.VideoFiles, wanted: "Plan") -> None:
        """Notes what there is to do."""
        self.data, self.videos = found.said, len(found.paths) + len(found.missing)
        self.stored_before, self.frames, self.bytes, self.free = wanted.stored, wanted.frames, wanted.bytes, wanted.free
        self.left_out += [*found.missing, *wanted.bad]

    def take_result(self, filled: "Filled") -> None:
        """Notes what was done."""
        self.stored, self.bytes_written = filled.stored, filled.bytes
        self.left_out += filled.damaged
        if filled.stopped is not None:
            self.stopped = (
                f"{filled.stopped}: {self.frame_store} takes no more. What was stored is whole; free "
                f"{_size(self.bytes - self.bytes_written)} and give the command again, which goes on from there"
            )

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON has it."""
        told = {name: value for name, value in asdict(self).items() if name != "began"}
        return {**told, "exit_code": self.exit_code}

    def show(self) -> None:
        """Prints what came out."""
        for bad in self.left_out[:SHOWN]:
            print(f"left out: {bad.video_id}: {bad.reason}")
        if len(self.left_out) > SHOWN:
            print(f"... and {len(self.left_out) - SHOWN:,} more; --json has all")
        if self.stored:
            rate = self.bytes_written / max(self.seconds, 1e-9)
            print(f"stored {self.stored:,} videos, {_size(self.bytes_written)}, {_size(rate)} a second")
        if self.stopped is not None:
            print(f"error: {self.stopped}", file=sys.stderr)
        print(f"{self.seconds:.1f} s; exit code {self.exit_code}")


def _find(data: Path | None, asked: Asked, every_file: bool) -> video_files.VideoFiles:
    if data is None:
        from litevl.corpus import ensure_corpus

        return video_files.all_files(ensure_corpus() / "videos")
    return video_files.all_files(data) if every_file else video_files.files_of(data, asked)


def _usual_size(data: Path | None) -> int:
    if data is not None:
        return 384
    from litevl.blip.source import EMBEDDED_FOLDER

    config = json_format.loads((EMBEDDED_FOLDER / "retrieval" / "config.json").read_text(encoding="utf-8"))
    return config["vision_config"]["image_size"]


def _size(number: int | float) -> str:
    return f"{number / 1e9:,.2f} GB" if number >= 1e8 else f"{number / 1e6:,.2f} MB"
