"""What people upload: named safely, of a limited size, kept in one folder once all of it was read as a video."""

import os
import re
import time
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from litevl.data.annotations import VIDEO_EXTENSIONS

from .errors import RefusedError
from .worker import Worker

INCOMING = ".incoming"
"""Where uploads arrive, below the folder: hidden, so that no index takes them in."""
ABANDONED = 3600.0
"""Seconds after which an upload that was never taken in is deleted."""
LONGEST = 100
"""Characters of a name."""


@dataclass(frozen=True)
class Taken:
    """What became of an upload."""

    name: str
    refused: str | None = None
    """Why it was not taken; None where it can be searched."""


class Uploads:
    """The uploads of a server.

    Args:
        folder: that they are kept in.
        worker: reads and indexes them.
        max_bytes: size of the largest.
    """

    def __init__(self, folder: Path, worker: Worker, max_bytes: int):
        self.folder, self.worker, self.max_bytes = folder.resolve(), worker, max_bytes
        self.incoming = self.folder / INCOMING
        self.incoming.mkdir(parents=True, exist_ok=True)
        self._forget()
        self._lock = Lock()

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
        for path in sorted(self.incoming.rglob("*"), reverse=True):
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
        if size > self.max_bytes:
            raise RefusedError(f"{size / 1e6:.1f} MB; expected at most {self.max_bytes / 1e6:g} MB")
        if name.rpartition(".")[2].lower() not in VIDEO_EXTENSIONS:
            raise RefusedError(f"expected a video ({', '.join(sorted(VIDEO_EXTENSIONS))}), by the name's ending")
        self.worker.check(path)
        with self._lock:
            kept = self._free(name)
            os.replace(path, kept)
        try:
            bad = [file.reason for file in self.worker.update(self.folder).bad if file.path == kept]
        except RefusedError:
            kept.unlink(missing_ok=True)
            raise
        if bad:
            kept.unlink(missing_ok=True)
            raise RefusedError(bad[0])

    def _free(self, name: str) -> Path:
        stem, _, ending = name.rpartition(".")
        names = (name, *(f"{stem}-{number}.{ending}" for number in range(2, 100_000)))
        return next(path for path in map(self.folder.joinpath, names) if not path.exists())


def safe_name(given: str) -> str:
    """A file's name of letters, digits, spaces, dots, dashes and underscores alone, neither a path nor hidden."""
    name = unicodedata.normalize("NFC", given).replace("\\", "/").rpartition("/")[2]
    name = re.sub(r"[^\w .-]+", "_", name).rstrip(" .-")
    stem, dot, ending = name.rpartition(".")
    stem = (stem if dot else ending)[: LONGEST - len(ending) - 1].strip(" .-") or "video"
    return f"{stem}.{ending}" if dot else stem
