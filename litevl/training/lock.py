"""A run folder belongs to one process at a time."""

import logging
import os
import socket
from datetime import datetime
from errno import EACCES, EAGAIN
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

LOCK_NAME = ".running"


class FolderLock:
    """Held from when it is made until it is released, or its process ends in whatever way.

    A POSIX record lock: the system drops it with the process, so that nothing has to be cleared after a crash; child
    processes don't inherit it, so that workers which outlive a killed run for a while don't hold its folder; over NFS
    the server keeps it, so that other machines see it. Where there are no such locks (Windows, mounts without them)
    nothing is guarded, which is said in the log. A process does not lock itself out.

    Args:
        folder: must be there.

    Raises:
        FileExistsError: another process holds it; the message says which.
    """

    def __init__(self, folder: Path):
        self._path = folder / LOCK_NAME
        self._file: int | None = None
        if fcntl is None:
            logger.warning("%s: this system has no locks; take care to start no second run here", folder)
            return
        while self._file is None:
            self._file = self._open(folder)
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"process {os.getpid()} on {socket.gethostname()}, {datetime.now():%F %T}".encode(), 0)

    def _open(self, folder: Path) -> int | None:
        """The locked file; None if it was deleted meanwhile, by a run that ended."""
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (EACCES, EAGAIN):
                logger.warning("%s: no lock could be had (%s); take care to start no second run here", folder, error)
                return file
            holder = os.pread(file, 1000, 0).decode(errors="replace")
            os.close(file)
            raise FileExistsError(
                f"{folder}: expected a folder that no other run is writing to, got that of {holder}; wait for it, "
                "end it, or choose another --output-dir"
            ) from None
        try:
            if os.path.samestat(os.fstat(file), self._path.stat()):
                return file
        except FileNotFoundError:
            pass
        os.close(file)
        return None

    def release(self) -> None:
        """Gives the folder free; nothing if that was done."""
        if self._file is None:
            return
        # Before the lock goes: afterwards it would be another run's.
        self._path.unlink(missing_ok=True)
        os.close(self._file)
        self._file = None
