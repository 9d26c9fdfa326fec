"""Functions of a video file called in forked processes: they may hang, crash or leak, and the caller names the file.

Decoders are C code on files from anywhere. Whoever calls them is ended by a crash, with nothing said of the file, or
waits for ever for what hangs: no Python signal reaches into C. Whoever has them called apart only waits, with a limit.
"""

import ctypes
import mmap
import os
import pickle
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, TypeVar

from litevl.data import cores
from litevl.data.video_index import VideoError

GROWTH = 512 << 20
"""Bytes by which the process may grow from its first call on; then another one takes its place."""
PR_SET_PDEATHSIG = 1
Result = TypeVar("Result")


def can_fork() -> bool:
    """Whether processes can be forked here: not on Windows, nor on macOS, whose libraries do not outlive it."""
    return sys.platform == "linux"


class Forked:
    """Calls a function in a process that is forked when it is needed, one call at a time.

    The process may decode, and compute with torch on one thread; not on a GPU, which does not outlive a fork.

    Args:
        function: from a path, and more, to what can be pickled; what it raises is raised by the caller.
        seconds: how long one call may take; 0 for no limit.
        setting: that allows more.
    """

    def __init__(self, function: Callable[..., Any], seconds: float, setting: str):
        self._function, self._seconds, self._setting = function, seconds, setting
        self._path, self._asked = Path(), 0.0
        self._pid: int | None = None
        self._pipe: Connection | None = None

    def __call__(self, path: Path, *arguments: Any) -> Any:
        """What the function gives.

        Raises:
            VideoError: as the function; or it took too long, or took the process with it.
        """
        self.ask(path, *arguments)
        return self.answer()

    def ask(self, path: Path, *arguments: Any) -> Connection:
        """Begins a call; an `answer` is there, or its process gone, when the connection can be read."""
        if self._pipe is not None and self._pipe.poll():
            self.close()  # it ended while nothing was asked of it, so this file is not to blame
        if self._pipe is None:
            self._start()
        assert self._pipe is not None
        self._path, self._asked = path, time.monotonic()
        with suppress(ConnectionError):  # it is gone, as `answer` will find
            self._pipe.send((path, *arguments))
        return self._pipe

    @property
    def left(self) -> float | None:
        """Seconds that the call has left; None for any number."""
        return max(self._asked + self._seconds - time.monotonic(), 0.0) if self._seconds else None

    def answer(self) -> Any:
        """Waits for the end of the call; see `__call__`."""
        assert self._pipe is not None
        try:
            if not self._pipe.poll(self.left):
                self.close()
                raise VideoError(
                    self._path,
                    f"decoding it was stopped after {self._seconds:g} seconds; check the file and its disk, or allow "
                    f"more with {self._setting}",
                )
            result, error, grown = self._pipe.recv()
        except (EOFError, ConnectionError) as broken:
            raise VideoError(self._path, f"the decoder crashed on it ({self.close()}); fetch it again") from broken
        if grown:
            self.close()
        if error is not None:
            raise error
        return result

    def close(self) -> str:
        """Ends the process, and says what it had ended by."""
        if self._pid is None or self._pipe is None:
            return "not started"
        self._pipe.close()
        pid, self._pid, self._pipe = self._pid, None, None
        # One that crashed is on its way out, or out: what ended it counts, and not this.
        ended, status = os.waitpid(pid, os.WNOHANG)
        if not ended:
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        return f"exit status {code}" if code >= 0 else signal.Signals(-code).name

    def _start(self) -> None:
        ours, theirs = Pipe()
        caller = os.getpid()
        with warnings.catch_warnings():
            # From Python 3.12 on forking beside threads warns. Those here hand over batches, and are not needed.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if not pid:
            try:
                ours.close()
                _end_with(caller)
                self._serve(theirs)
            finally:
                os._exit(1)
        theirs.close()
        self._pid, self._pipe = pid, ours

    def _serve(self, pipe: Connection) -> None:
        _leave_cores()
        first: int | None = None
        while True:
            try:
                path, *arguments = pipe.recv()
            except EOFError:
                os._exit(0)
            result, error = None, None
            try:
                result = self._function(path, *arguments)
            except Exception as raised:
                error = sendable(raised, path)
            held = resident()
            first = held if first is None else first
            pipe.send((result, error, held - first > GROWTH))


def each_forked(
    function: Callable[..., Result], calls: Sequence[tuple[Any, ...]], workers: int, seconds: float, setting: str
) -> Iterator[tuple[int, Result | VideoError]]:
    """Calls a function many times, in several such processes; on systems without `fork` in threads, without limits.

    Args:
        function: see `Forked`.
        calls: the arguments of each call, its path first.
        workers: how many processes.
        seconds: how long one call may take; 0 for no limit.
        setting: that allows more.

    Yields:
        The place of each call and what it gave, the `VideoError` too that it raised, in the order in which they end.
    """
    if not can_fork():
        yield from _in_threads(function, calls, workers)
        return
    free = [Forked(function, seconds, setting) for _ in range(max(1, min(workers, len(calls))))]
    busy: dict[Connection, tuple[Forked, int]] = {}
    todo = iter(enumerate(calls))
    try:
        while True:
            while free and (asked := next(todo, None)) is not None:
                process = free.pop()
                busy[process.ask(*asked[1])] = process, asked[0]
            if not busy:
                return
            limits = [process.left for process, _ in busy.values()]
            ready = wait(list(busy), None if None in limits else min(limit or 0.0 for limit in limits))
            for pipe, (process, place) in list(busy.items()):
                if pipe in ready or process.left == 0.0:
                    del busy[pipe]
                    free.append(process)
                    try:
                        answer = process.answer()
                    except VideoError as error:
                        answer = error
                    yield place, answer
    finally:
        for process in (*free, *(process for process, _ in busy.values())):
            process.close()


def _in_threads(
    function: Callable[..., Result], calls: Sequence[tuple[Any, ...]], workers: int
) -> Iterator[tuple[int, Result | VideoError]]:
    def call(arguments: tuple[Any, ...]) -> Result | VideoError:
        try:
            return function(*arguments)
        except VideoError as error:
            return error

    pool = ThreadPoolExecutor(max(workers, 1))
    try:
        yield from enumerate(pool.map(call, calls))
    finally:
        # Whoever breaks off need not wait for ten thousand files.
        pool.shutdown(cancel_futures=True)


def _leave_cores() -> None:
    """Decodes, and computes with torch where that is loaded, on one thread: the other cores are the siblings'."""
    cores.SHARED = True
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)


def _end_with(caller: int) -> None:
    """Makes the system end this process when its caller ends, however that does; Ctrl-C is the caller's to hear."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != caller:
        os._exit(1)


def sendable(error: Exception, path: Path) -> Exception:
    """The error, or where it can't be sent, or be made again, its words."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{path}: {type(error).__name__}: {error}")
    return error


def resident() -> int:
    """Bytes of memory that this process has; 0 where the system does not tell."""
    if sys.platform != "linux":
        return 0
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * mmap.PAGESIZE
