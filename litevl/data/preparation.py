"""Filling a frame store before a run: what it takes, whether there is room, and each video once, on every core."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from litevl.data.coverage import BadVideo
from litevl.data.frame_store import FrameStore
from litevl.data.video import VideoError
from litevl.data.video_index import check_file, index_video

Result = TypeVar("Result")


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


@dataclass(frozen=True)
class _Looked:
    place: int
    frames: int = 0
    stored: bool = False
    reason: str | None = None


@dataclass(frozen=True)
class _Written:
    place: int
    damage: str | None = None
    stop: str | None = None


def plan(store: FrameStore, paths: Sequence[Path], workers: int, *, progress: bool = True) -> Plan:
    """Lists the frames of every video that is not stored yet, without decoding.

    Args:
        store: to be filled.
        paths: of the videos, each once.
        workers: processes.
        progress: show a bar with the time left on standard error.
    """
    with tqdm(total=len(paths), unit="video", desc="looking at videos", disable=not progress) as bar:
        looked = []
        for each in _as_they_come(_Look(store, paths), workers):
            looked.append(each)
            bar.update()
    looked.sort(key=lambda each: each.place)
    wanted = tuple(Wanted(paths[each.place], each.frames) for each in looked if each.frames)
    return Plan(
        wanted,
        sum(each.stored for each in looked),
        tuple(BadVideo(str(paths[each.place]), each.reason) for each in looked if each.reason is not None),
        sum(store.bytes_of(each.frames) for each in wanted),
        shutil.disk_usage(store.folder).free,
    )


def fill(store: FrameStore, wanted: Sequence[Wanted], workers: int, *, progress: bool = True) -> Filled:
    """Decodes videos into the store, each whole or not at all: whoever is stopped may start again, and goes on.

    Args:
        store: to be filled.
        wanted: the videos.
        workers: processes, each with a video at a time.
        progress: show a bar with the time left on standard error.
    """
    store.tidy()
    stored, size = 0, 0
    damaged: list[BadVideo] = []
    total = sum(each.frames for each in wanted)
    with tqdm(total=total, unit="frame", unit_scale=True, desc="decoding", disable=not progress) as bar:
        for each in _as_they_come(_Write(store, wanted), workers):
            if each.stop is not None:
                return Filled(stored, size, tuple(damaged), each.stop)
            video = wanted[each.place]
            if each.damage is not None:
                damaged.append(BadVideo(str(video.path), each.damage))
            else:
                stored, size = stored + 1, size + store.bytes_of(video.frames)
            bar.update(video.frames)
    return Filled(stored, size, tuple(damaged))


class _Look(Dataset[_Looked]):
    """What the container of each file says, unless its frames are stored."""

    def __init__(self, store: FrameStore, paths: Sequence[Path]):
        self._store, self._paths = store, paths

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, place: int) -> _Looked:
        path = self._paths[place]
        try:
            check_file(path)
            if self._store.holds(path):
                return _Looked(place, stored=True)
            return _Looked(place, len(index_video(path).pts))
        except VideoError as error:
            return _Looked(place, reason=error.reason)


class _Write(Dataset[_Written]):
    """Each video as it is written."""

    def __init__(self, store: FrameStore, wanted: Sequence[Wanted]):
        self._store, self._wanted = store, wanted

    def __len__(self) -> int:
        return len(self._wanted)

    def __getitem__(self, place: int) -> _Written:
        path = self._wanted[place].path
        try:
            self._store.write(index_video(path))
        except VideoError as error:
            return _Written(place, damage=error.reason)
        except OSError as error:
            return _Written(place, stop=f"{path.name}: {error.strerror or error}")
        return _Written(place)


def _as_they_come(work: Dataset[Result], workers: int) -> Iterator[Result]:
    """The pieces of a work, in the order in which a DataLoader's processes finish them; each decodes on one thread."""
    loader: DataLoader[Result] = DataLoader(work, batch_size=None, num_workers=workers, in_order=False)
    yield from loader
