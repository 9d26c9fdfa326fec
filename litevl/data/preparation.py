"""Filling a frame store before a run: what it takes, whether there is room, and each video once, on every core."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm

from litevl.data.coverage import BadVideo
from litevl.data.forked import each_forked
from litevl.data.frame_store import STORING, FrameStore
from litevl.data.paths import DECODE_TIMEOUT, check_decode_timeout
from litevl.data.video import VideoError
from litevl.data.video_index import check_file, index_video

SETTING = "--decode-timeout"


@dataclass(frozen=True)
class Wanted:
    """A video that is not in the store yet."""

    path: Path
    frames: int


@dataclass(frozen=True)
class Plan:
    """What filling a store takes."""

    wanted: tuple[Wanted, ...]
    stored: int
    """Videos that are there already."""
    bad: tuple[BadVideo, ...]
    """Files that can't be read, by their paths."""
    bytes: int
    """To write."""
    free: int
    """Bytes that the disk has left."""

    @property
    def frames(self) -> int:
        """Frames to decode."""
        return sum(each.frames for each in self.wanted)

    @property
    def fits(self) -> bool:
        """Whether the disk has room."""
        return self.bytes <= self.free


@dataclass(frozen=True)
class Filled:
    """What came of a plan."""

    stored: int
    """Videos written."""
    bytes: int
    """By them."""
    damaged: tuple[BadVideo, ...] = ()
    """Files not all of whose frames can be decoded: a run decodes them each time."""
    stopped: str | None = None
    """Why not everything could be written, as on a full disk; all that was written until then is whole."""


def plan(
    store: FrameStore,
    paths: Sequence[Path],
    workers: int,
    decode_timeout: float = DECODE_TIMEOUT,
    *,
    progress: bool = True,
) -> Plan:
    """Lists the frames of every video that is not stored yet, without decoding.

    Args:
        store: to be filled.
        paths: of the videos, each once.
        workers: processes.
        decode_timeout: seconds that a video may take; 0 for no limit.
        progress: show a bar with the time left on standard error.

    Raises:
        ValueError: a limit that is none.
    """
    check_decode_timeout(decode_timeout)
    frames: dict[int, int] = {}
    bad: dict[int, str] = {}
    looks = each_forked(partial(_look, store), [(path,) for path in paths], workers, decode_timeout, SETTING)
    for place, count in tqdm(looks, total=len(paths), unit="video", desc="looking at videos", disable=not progress):
        if isinstance(count, VideoError):
            bad[place] = count.reason
        else:
            frames[place] = count
    wanted = tuple(Wanted(paths[place], frames[place]) for place in sorted(frames) if frames[place])
    return Plan(
        wanted,
        len(frames) - len(wanted),
        tuple(BadVideo(str(paths[place]), bad[place]) for place in sorted(bad)),
        sum(store.bytes_of(each.frames) for each in wanted),
        shutil.disk_usage(store.folder).free,
    )


def fill(
    store: FrameStore,
    wanted: Sequence[Wanted],
    workers: int,
    decode_timeout: float = DECODE_TIMEOUT,
    *,
    progress: bool = True,
) -> Filled:
    """Decodes videos into the store, each whole or not at all: whoever is stopped may start again, and goes on.

    Args:
        store: to be filled.
        wanted: the videos.
        workers: processes, each with a video at a time.
        decode_timeout: seconds that a clip may take, a whole video `STORING` times as many; 0 for no limit.
        progress: show a bar with the time left on standard error.
    """
    store.tidy()
    stored, size = 0, 0
    damaged: list[BadVideo] = []
    writes = each_forked(
        partial(_write, store), [(each.path,) for each in wanted], workers, decode_timeout * STORING, SETTING
    )
    total = sum(each.frames for each in wanted)
    with tqdm(total=total, unit="frame", unit_scale=True, desc="decoding", disable=not progress) as bar:
        for place, stop in writes:
            video = wanted[place]
            if isinstance(stop, VideoError):
                damaged.append(BadVideo(str(video.path), stop.reason))
            elif stop is not None:
                return Filled(stored, size, tuple(damaged), stop)
            else:
                stored, size = stored + 1, size + store.bytes_of(video.frames)
            bar.update(video.frames)
    return Filled(stored, size, tuple(damaged))


def _look(store: FrameStore, path: Path) -> int:
    """How many frames the container of a file promises; 0 where they are stored."""
    check_file(path)
    return 0 if store.holds(path) else len(index_video(path).pts)


def _write(store: FrameStore, path: Path) -> str | None:
    """Stores a video; why it can't be written, if so."""
    try:
        store.write(index_video(path))
    except OSError as error:
        return f"{path.name}: {error.strerror or error}"
    return None
