"""Processes that decode for the server: a file that a decoder hangs or crashes on takes nothing with it."""

import time
from collections.abc import Callable
from pathlib import Path
from queue import LifoQueue
from typing import Any

from litevl.data.fresh_process import HAS_ALARMS, FreshProcess, here
from litevl.data.video_index import VideoError
from litevl.search.options import ADVICE

AGAIN = 600.0
"""Seconds after which a file that stopped a process is tried again, as it is at once where it has changed."""


class Decoders:
    """Calls functions in some processes, each of which does one call at a time; see `FreshProcess`.

    Args:
        number: of processes, started when they are needed.
        seconds: that a call may take.
    """

    def __init__(self, number: int, seconds: float):
        self._all = [FreshProcess(seconds, ADVICE) for _ in range(number)]
        # The last one used is used first: few searches need few processes.
        self._free: LifoQueue[FreshProcess] = LifoQueue()
        for apart in self._all:
            self._free.put(apart)
        self._stopped: dict[Path, tuple[tuple[int, int], float, str]] = {}
        """The files that stopped one: what they were, when that was, and why."""

    def __call__(self, function: Callable[..., Any], path: Path, *arguments: Any) -> Any:
        """What a function makes of a file.

        Raises:
            VideoError: the file is not there; or it stopped a process, now or before.
        """
        try:
            about = path.stat()
        except OSError as error:
            raise VideoError(path, f"expected a video, found none ({error.strerror})") from error
        if not HAS_ALARMS:
            return here(function, path, *arguments)
        stamp = about.st_size, about.st_mtime_ns
        before, when, why = self._stopped.get(path, (None, 0.0, ""))
        if before == stamp and time.monotonic() - when < AGAIN:
            raise VideoError(path, why)
        apart = self._free.get()
        try:
            return apart(function, path, *arguments)
        except VideoError as error:
            if not apart.running:
                self._stopped[path] = stamp, time.monotonic(), error.reason
            raise
        finally:
            self._free.put(apart)

    def close(self) -> None:
        """Ends the processes."""
        for apart in self._all:
            apart.close()
