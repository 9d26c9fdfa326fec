"""Being told to stop, by SIGTERM or Ctrl-C: the step is ended, the state is saved, the run ends."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

SIGNALS = (signal.SIGTERM, signal.SIGINT)
AGAIN = 1.0
"""Seconds within which a second signal is the first one, passed on by a launcher that the terminal told too."""
LAUNCHED = ("ACCELERATE_MIXED_PRECISION", "TORCHELASTIC_RUN_ID")
"""What `accelerate launch` and torchrun set."""

Own = TypeVar("Own", bound="Interruption")


class Interrupted(SystemExit):
    """A run was told to stop and did. Its exit status is the usual one: 143 for SIGTERM, 130 for Ctrl-C."""

    def __init__(self, number: int):
        super().__init__(128 + number)
        self.name = signal.Signals(number).name


class Interruption:
    """Takes the signals that end a run from when it is entered until it is left, in the main thread.

    Within `deferred` a signal waits for the loop to ask, so that it ends between two steps; a second one doesn't.
    Elsewhere, as in evaluation, a signal ends the run at once: everything there is to save is on the disk already.
    """

    def __init__(self) -> None:
        self._signal, self._came, self._deferring = 0, 0.0, False
        self._process = os.getpid()
        # The launcher of one process doesn't pass SIGTERM on; that it is gone is the only sign.
        self._launcher = os.getppid() if os.environ.keys() & set(LAUNCHED) else None
        self._before: dict[int, Any] = {}

    def __enter__(self: Own) -> Own:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                before = signal.getsignal(number)
                if before not in (signal.SIG_IGN, None):  # nohup and scripts let some be ignored
                    self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *error: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before.clear()

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """A part of the run that asks for itself. A signal that it did not ask for any more ends the run after it."""
        self._deferring = True
        try:
            yield
        finally:
            self._deferring = False
        if self._signal:
            raise Interrupted(self._signal)

    def asked(self) -> int:
        """The number of the signal that came, or 0."""
        if self._launcher not in (None, os.getppid()) and not self._signal:
            self._signal = signal.SIGTERM
            _say("the launcher of this run has ended")
        return self._signal

    def _take(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            # A worker that this process forked: Ctrl-C is for its parent to decide, SIGTERM ends it.
            if number != signal.SIGINT:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            return
        now = time.monotonic()
        first = not self._signal
        if first:
            self._signal, self._came = number, now
        if not self._deferring or now - self._came > AGAIN:
            raise Interrupted(self._signal)
        if first:
            _say(f"{signal.Signals(number).name}: stopping after this step; a second one stops at once")


def _say(line: str) -> None:
    # Not through a buffered stream, which may be in the middle of a write when a signal comes.
    os.write(2, f"\n{line}\n".encode())
