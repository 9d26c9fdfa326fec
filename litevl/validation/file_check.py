"""What video files are, before anyone trains: whether they can be read, how long they are, which are alike."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from litevl.data.cores import usable_cores
from litevl.data.forked import each_forked
from litevl.data.paths import DECODE_TIMEOUT
from litevl.data.video import Decoder, VideoError, read_indexed_frames
from litevl.data.video_index import index_video

Window = tuple[float | None, float | None]
"""Start and end of a segment in seconds; None for the file's own."""
Result = TypeVar("Result")
BLOCK = 1 << 20


@dataclass(frozen=True)
class FileCheck:
    """What opening a file came to."""

    seconds: float | None = None
    """Length of the presented video; None where the container cannot be read."""
    frame_rate: float | None = None
    """Presented frames a second, on average; None of a single frame."""
    width: int | None = None
    height: int | None = None
    """Of the pictures as they are shown; None where none can be decoded."""
    errors: Mapping[Window, str] = field(default_factory=dict)
    """Why the segments that cannot be read cannot."""


def check_file(path: Path, windows: Sequence[Window], decoder: Decoder = "auto") -> FileCheck:
    """List a file's packets and decode the middle frame of each segment, as `coverage.find_bad_videos` does."""
    try:
        index = index_video(path)
    except VideoError as error:
        return FileCheck(errors=dict.fromkeys(windows, error.reason))
    errors: dict[Window, str] = {}
    shape: tuple[int, int] | None = None
    for start, end in windows:
        try:
            frames = read_indexed_frames(index, 1, decoder=decoder, start=start, end=end)
            shape = (frames.shape[2], frames.shape[1])
        except VideoError as error:
            errors[start, end] = error.reason
    times = index.timestamps
    span, steps = float(times[-1]), len(times) - 1
    rate = steps / span if span else None
    # The last frame is shown for as long as the others are.
    seconds = span + (span / steps if steps else 0.0)
    width, height = shape or (None, None)
    return FileCheck(seconds, rate, width, height, errors)


def check_files(
    wanted: Mapping[Path, Sequence[Window]],
    decoder: Decoder = "auto",
    workers: int | None = None,
    decode_timeout: float = DECODE_TIMEOUT,
    progress: bool = True,
) -> dict[Path, FileCheck]:
    """Check files in parallel.

    Args:
        wanted: the segments of each file.
        decoder: what to decode with.
        workers: processes; as many as this one may use cores if not given.
        decode_timeout: seconds that a file may take; 0 for no limit.
        progress: show a bar with the time left on standard error.
    """
    calls = [(path, windows, decoder) for path, windows in wanted.items()]
    checked = each_forked(check_file, calls, workers or usable_cores(), decode_timeout, "--decode-timeout")
    checks: dict[Path, FileCheck] = {}
    for place, check in _shown(checked, len(calls), progress, "opening videos"):
        path, windows, _ = calls[place]
        if isinstance(check, VideoError):
            check = FileCheck(errors=dict.fromkeys(windows, check.reason))
        checks[path] = check
    return {path: checks[path] for path in wanted}


def identical_files(
    paths: Iterable[Path], workers: int | None = None, progress: bool = True
) -> dict[Path, tuple[Path, ...]]:
    """For each of some files those that hold just the same, itself and links to it among them.

    Only files that have their size in common with another are read.
    """
    of_file: dict[tuple[int, int], list[Path]] = {}
    sizes: dict[int, list[tuple[int, int]]] = {}
    for path in dict.fromkeys(paths):
        status = path.stat()
        key = (status.st_dev, status.st_ino)
        if key not in of_file:
            sizes.setdefault(status.st_size, []).append(key)
        of_file.setdefault(key, []).append(path)
    alike = [key for keys in sizes.values() if len(keys) > 1 for key in keys]
    # A large file on a slow disk may take its time.
    hashed = each_forked(_digest, [(of_file[key][0],) for key in alike], workers or usable_cores(), 0.0, "")
    digests = _shown(hashed, len(alike), progress, "comparing files of equal size")
    content = {alike[place]: digest for place, digest in digests if isinstance(digest, str)}
    groups: dict[str, list[Path]] = {}
    for key, each in of_file.items():
        groups.setdefault(content.get(key, str(key)), []).extend(each)
    return {path: tuple(group) for group in groups.values() for path in group}


def _digest(path: Path) -> str | None:
    """A hash of the content; None where it cannot be read, which `check_files` says."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
    except OSError:
        return None
    return digest.hexdigest()


def _shown(results: Iterable[Result], total: int, progress: bool, title: str) -> Iterator[Result]:
    """The results, with a bar while they come."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), disable=not (progress and total)) as bar:
        yield from bar.track(results, total=total, description=title)
