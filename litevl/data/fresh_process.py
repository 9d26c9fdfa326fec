"""A process beside this one that decodes for it: it may hang or crash, and this one goes on and names the file.

`Forked` does so by a fork. A program with threads, a GPU or open tables does not outlive a fork, so here a fresh Python
is started, which imports no torch and is there in half a second. How long a step may take is the system's to keep, by
an alarm that no C code holds off; it rings too where this process is gone.
"""

import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from litevl.data import cores
from litevl.data.forked import GROWTH, resident, sendable
from litevl.data.video_index import VideoError

Call = Callable[..., Any]
"""Calls a function with a path and more, here or apart."""
HAS_ALARMS = os.name == "posix"
"""Whether this system can ring; elsewhere nothing stops what hangs."""
END = object()
"""Comes after the last value of a call."""
READY, VALUE, ENDED = "ready", "value", "ended"
_limit = 0.0


def here(function: Callable[..., Any], path: Path, *arguments: Any) -> Any:
    """What a function makes of a file, called in this process: nothing stops it."""
    return function(path, *arguments)


def beat() -> None:
    """Says that decoding goes on: the alarm begins again. Nothing in a process that decodes for itself."""
    if _limit:
        signal.setitimer(signal.ITIMER_REAL, _limit)


class FreshProcess:
    """Calls functions in a process of its own, which is started when it is needed, and again after its end.

    One that has grown much since its first call, as a decoder that leaks makes it, is ended.

    Args:
        seconds: how long a function may take to its next value or `beat`.
        advice: what a user can do where it takes longer.
    """

    def __init__(self, seconds: float, advice: str):
        self._seconds, self._advice = seconds, advice
        self._process: subprocess.Popen[bytes] | None = None
        self._path, self._ready = Path(), False
        self.pipe: Connection
        """What is waited at for an answer."""

    def __call__(self, function: Callable[..., Any], path: Path, *arguments: Any) -> Any:
        """What a function, which both processes can import, makes of a file.

        Raises:
            VideoError: it took too long, or took the process with it; else what the function raises.
        """
        self.ask(_once, path, function, *arguments)
        value = self.answer()
        assert self.answer() is END
        return value

    def ask(self, function: Callable[..., Iterator[Any]], path: Path, *arguments: Any) -> None:
        """Begins a call of a generator; `answer` gives its values one by one, and all must be taken."""
        if self._process is not None and self._process.poll() is not None:
            self.close()  # it ended while nothing was asked of it, so this file is not to blame
        if self._process is None:
            self._start()
        self._path = path
        self.pipe.send((function, path, arguments))

    def answer(self) -> Any:
        """The next value of a call, or `END`.

        Raises:
            VideoError: it took too long, or took the process with it; else what the function raises.
            RuntimeError: the process does not start.
        """
        try:
            kind, value = self.pipe.recv()
            if kind == READY:
                self._ready = True
                kind, value = self.pipe.recv()
        except (EOFError, OSError) as broken:
            raise self._broken() from broken
        if kind == VALUE:
            return value
        error, grown = value
        if error is not None:
            raise error
        if grown:
            self.close()
        return END

    @property
    def running(self) -> bool:
        """Whether there is a process: none before the first call, nor after one that it did not outlive."""
        return self._process is not None

    def close(self) -> int:
        """Ends the process, and gives the exit code that it had ended with: negative for a signal."""
        process, self._process = self._process, None
        if process is None:
            return 0
        # One that crashed is on its way out, or out: what ended it counts, and not this.
        process.kill()
        self.pipe.close()
        return process.wait()

    def _start(self) -> None:
        self.pipe, theirs = Pipe()
        with theirs:
            # The same path as here: no file of the current folder takes the place of a module.
            code = f"import sys; sys.path[:] = {sys.path!r}; from litevl.data.fresh_process import work; "
            code += f"work({theirs.fileno()}, {self._seconds!r})"
            command = [sys.executable, "-c", code]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        self._ready = False

    def _broken(self) -> VideoError | RuntimeError:
        code = self.close()
        said = f"exit status {code}" if code >= 0 else signal.Signals(-code).name
        if not self._ready:
            return RuntimeError(f"the process that decodes did not start ({said})")
        if code == -signal.SIGALRM:
            return VideoError(
                self._path, f"decoding it was stopped after {self._seconds:g} seconds; check the file, {self._advice}"
            )
        return VideoError(self._path, f"the decoder crashed on it ({said}); fetch it again")


@contextmanager
def decoding_apart(seconds: float, advice: str) -> Iterator[Call]:
    """Calls functions in one such process while this lasts; here, where the system has no alarms.

    A file that stopped the process is not tried again.

    Raises:
        ValueError: no time, or without end.
    """
    if not 0 < seconds < math.inf:
        raise ValueError(f"decode_timeout: expected a number of seconds above 0, got {seconds:g}")
    if not HAS_ALARMS:
        yield here
        return
    process, stopped = FreshProcess(seconds, advice), dict[Path, str]()

    def call(function: Callable[..., Any], path: Path, *arguments: Any) -> Any:
        if path in stopped:
            raise VideoError(path, stopped[path])
        try:
            return process(function, path, *arguments)
        except VideoError as error:
            if not process.running:
                stopped[path] = error.reason
            raise

    try:
        yield call
    finally:
        process.close()


def _once(path: Path, function: Callable[..., Any], *arguments: Any) -> Iterator[Any]:
    yield function(path, *arguments)


def work(number: int, seconds: float) -> None:
    """What the process does until its other end is gone.

    Args:
        number: of the open file that is its end of the pipe.
        seconds: see `FreshProcess`.
    """
    global _limit
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the other's to hear
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    _limit = seconds
    cores.SHARED = True
    with Connection(number) as pipe:
        try:
            pipe.send((READY, None))
            first: int | None = None
            while True:
                function, path, arguments = pipe.recv()
                error = _answer(pipe, function(path, *arguments))
                held = resident()
                first = held if first is None else first
                pipe.send((ENDED, (None if error is None else sendable(error, path), held - first > GROWTH)))
        except (EOFError, ConnectionError):
            return


def _answer(pipe: Connection, values: Iterator[Any]) -> Exception | None:
    """Sends what a generator gives, and tells what it ends with."""
    while True:
        try:
            beat()
            value = next(values, END)
        except Exception as raised:
            return raised
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)  # the other may take its time
        if value is END:
            return None
        pipe.send((VALUE, value))
