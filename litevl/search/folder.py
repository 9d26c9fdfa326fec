"""What videos a folder holds, and what has come, changed, moved or gone since it was looked at last."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from litevl.data.annotations import VIDEO_EXTENSIONS
from litevl.data.video_key import is_text

END = 1 << 16
"""Bytes at each end of a file that its mark is of: headers and indexes lie there, and no two videos share them."""


@dataclass(frozen=True)
class Stamp:
    """By which a file is known to be unchanged, without reading all of it."""

    size: int
    changed: int
    """Nanoseconds, the file system's time of the last change."""
    mark: str
    """A hash of both ends of the file."""


@dataclass(frozen=True)
class Changes:
    """A folder's files against those that an index knows."""

    added: tuple[Path, ...]
    """New ones, and those whose content changed."""
    moved: tuple[tuple[Path, Path], ...]
    """Those that have another path now: from and to."""
    gone: tuple[Path, ...]
    """Those that were there before; of a changed file the earlier one."""
    stamps: Mapping[Path, Stamp]
    """Of every file that is there and can be looked at."""


def videos_below(folder: Path) -> list[Path]:
    """The video files in a folder and its sub-folders by their endings, in order.

    Left out are hidden ones, what is below a linked folder, and what only has a video's name, as a pipe: to open one is
    to wait for ever.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise FileNotFoundError(f"expected a folder of videos, or one video, got {folder}, which is not there")
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        visible = (name for name in files if not name.startswith("."))
        named = [Path(place, name) for name in visible if name.rpartition(".")[2].lower() in VIDEO_EXTENSIONS]
        # A link that leads nowhere stays: it is named as a bad file.
        found += [path for path in named if path.is_file() or not path.exists()]
    return sorted(found)


def unwritable(path: Path) -> str | None:
    """A path whose bytes are no UTF-8, which neither a catalog nor JSON holds, in an escaped spelling; else None."""
    return None if is_text(str(path)) else os.fsencode(path).decode("utf-8", "backslashreplace")


def stamp_of(path: Path) -> Stamp:
    """The stamp of a file.

    Raises:
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        about = os.fstat(file.fileno())
        ends = file.read(END)
        file.seek(max(0, about.st_size - END))
        ends += file.read(END)
    return Stamp(about.st_size, about.st_mtime_ns, hashlib.sha256(ends).hexdigest()[:16])


def compare(there: Iterable[Path], known: Mapping[Path, Stamp]) -> Changes:
    """What has become of files.

    A file that has the size, time and mark of one that is gone is that one under another name.

    Args:
        there: the files of a folder.
        known: those that an index knows of in that folder.
    """
    stamps: dict[Path, Stamp] = {}
    for path in there:
        try:
            stamps[path] = _stamp(path, known.get(path))
        except OSError:
            # Its own reader will say why; until then it is a new file each time.
            stamps[path] = Stamp(-1, -1, "")
    gone = [path for path in known if path not in stamps]
    by_stamp = {known[path]: path for path in gone}
    added, moved = [], []
    for path, stamp in stamps.items():
        if known.get(path) == stamp and stamp.size >= 0:
            continue
        source = by_stamp.pop(stamp, None)
        if source is not None and path not in known:
            moved.append((source, path))
        else:
            added.append(path)
            gone += [path] if path in known else []
    left = {source for source, _ in moved}
    return Changes(tuple(added), tuple(moved), tuple(path for path in gone if path not in left), stamps)


def _stamp(path: Path, known: Stamp | None) -> Stamp:
    """The stamp of a file, whose ends are not read where size and time are those that are known."""
    about = path.stat()
    if known is not None and (about.st_size, about.st_mtime_ns) == (known.size, known.changed):
        return known
    return stamp_of(path)
