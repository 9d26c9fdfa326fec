"""What people upload: named safely, limited each and together, kept in one folder where it can be read as a video.

It is decoded in a process apart, as all that is indexed, and encoded by the model that the server has already.
"""

import os
import re
import shutil
import time
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from filelock import Timeout

from litevl.data.annotations import VIDEO_EXTENSIONS
from litevl.data.fresh_process import HAS_ALARMS
from litevl.data.video_index import VideoError
from litevl.search import SearchError, VideoIndex
from litevl.search.update import Update

from .config import ServeConfig
from .errors import RefusedError, reason

INCOMING = ".incoming"
"""Where uploads arrive, below the folder: hidden, so that no index takes them in."""
ABANDONED = 3600.0
"""Seconds after which an upload that was never taken in is deleted."""
KEPT_FREE = 1e9
"""Bytes that are left free on the disk."""
LONGEST = 100
"""Characters of a name."""
FULL = "there is no room for more uploads; delete some, or raise --max-total-gb"

BUSY = "others are being indexed all the while; add it again later"
SLOW = "taking it in took too long; cut it shorter, or raise --timeout"
LOOK_AGAIN = 0.5
"""Seconds between looks whether the index is free."""


@dataclass(frozen=True)
class Taken:
    """What became of an upload."""

    name: str
    refused: str | None = None
    """Why it was not taken; None where it can be searched."""


class Uploads:
    """The uploads of a server.

    Args:
        index: that takes them in.
        config: where they are kept, and what is too much.
    """

    def __init__(self, index: VideoIndex, config: ServeConfig):
        self.index, self.config, self.folder = index, config, config.uploads.resolve()
        self.incoming = self.folder / INCOMING
        self.incoming.mkdir(parents=True, exist_ok=True)
        self._lock = Lock()
        self._coming = 0
        """Bytes that were let in and are on their way."""
        self._forget()

    def reserve(self, size: int) -> None:
        """Keeps room for an upload of so many bytes while it comes; fewer than none give it back.

        Raises:
            RefusedError: there is none.
        """
        with self._lock:
            # What has come of it lies on the disk already and counts twice: less is let in meanwhile, never more.
            if size > 0 and self._coming + size > self.room():
                raise RefusedError(FULL)
            self._coming += size

    def room(self) -> float:
        """Bytes that may still come: of what all may take, and of the disk."""
        self._forget()
        held = 0
        for path in below(self.folder):
            with suppress(OSError):
                held += path.lstat().st_size
        return min(1e9 * self.config.max_total_gb - held, shutil.disk_usage(self.folder).free - KEPT_FREE)

    def take(self, arrived: Sequence[Path]) -> Iterator[Taken]:
        """Takes in files that have arrived, one after the other; what is refused is deleted."""
        for path in arrived:
            name = safe_name(path.name)
            # A link would be followed to where it leads; and what did not arrive here is not ours to delete.
            if self.incoming not in path.absolute().parents or path.parent.resolve() != path.parent.absolute():
                yield Taken(name, "expected a file that was uploaded here")
                continue
            try:
                self._take(path, name)
                yield Taken(name)
            except RefusedError as error:
                yield Taken(name, str(error))
            finally:
                path.unlink(missing_ok=True)
                with suppress(OSError):
                    path.parent.rmdir()

    def _forget(self) -> None:
        """Deletes what arrived long ago and nobody asked to take in, and the folders that are left empty."""
        for path in below(self.incoming):
            with suppress(OSError):
                if path.lstat().st_mtime > time.time() - ABANDONED:
                    continue
                if path.is_dir() and not path.is_symlink():
                    path.rmdir()
                else:
                    path.unlink()

    def _take(self, path: Path, name: str) -> None:
        if path.is_symlink():
            raise RefusedError("expected a file that was uploaded here")
        size = path.stat().st_size
        if size > self.config.max_bytes:
            raise RefusedError(f"{size / 1e6:.1f} MB; expected at most {self.config.max_upload_mb:g} MB")
        if self.room() < 0:
            raise RefusedError(FULL)
        if name.rpartition(".")[2].lower() not in VIDEO_EXTENSIONS:
            raise RefusedError(f"expected a video ({', '.join(sorted(VIDEO_EXTENSIONS))}), by the name's ending")
        with self._lock:
            kept = self._free(name)
            os.replace(path, kept)
        taken = False
        try:
            self._index(kept)
            taken = True
        finally:
            if not taken:
                kept.unlink(missing_ok=True)
                with suppress(OSError, SearchError):
                    self.index.forget(kept)

    def _index(self, path: Path) -> None:
        try:
            done = self._update()
        except (OSError, RuntimeError, SearchError, ValueError, VideoError) as error:
            raise RefusedError(reason(error)) from error
        if bad := [file.reason for file in done.bad if file.path == path]:
            raise RefusedError(reason(VideoError(path, bad[0])))

    def _update(self) -> Update:
        """Encodes what is new, after whoever updates the index now, as `litevl index`."""
        config, workers, first = self.config, int(HAS_ALARMS), time.monotonic()
        while True:
            began = time.monotonic()
            try:
                return self.index.update(
                    self.folder,
                    workers=workers,
                    decode_timeout=config.decode_timeout,
                    limit=config.timeout,
                    progress=False,
                )
            except SearchError as error:
                busy = isinstance(error.__cause__, Timeout)
                if time.monotonic() - (first if busy else began) > config.timeout:
                    raise RefusedError(BUSY if busy else SLOW) from error
                if not busy:
                    raise
            time.sleep(LOOK_AGAIN)

    def _free(self, name: str) -> Path:
        stem, _, ending = name.rpartition(".")
        names = (name, *(f"{stem}-{number}.{ending}" for number in range(2, 100_000)))
        return next(path for path in map(self.folder.joinpath, names) if not path.exists())


def below(folder: Path) -> Iterator[Path]:
    """All that a folder holds, what is in a folder of it before that one; what goes meanwhile is passed over."""
    for parent, folders, files in os.walk(folder, topdown=False):
        yield from (Path(parent, name) for name in (*files, *folders))


def safe_name(given: str) -> str:
    """A file's name of letters, digits, spaces, dots, dashes and underscores alone, neither a path nor hidden."""
    name = unicodedata.normalize("NFC", given).replace("\\", "/").rpartition("/")[2]
    name = re.sub(r"[^\w .-]+", "_", name).rstrip(" .-")
    stem, dot, ending = name.rpartition(".")
    stem = (stem if dot else ending)[: LONGEST - len(ending) - 1].strip(" .-") or "video"
    return f"{stem}.{ending}" if dot else stem
