"""A process that decodes for a DataLoader's worker: it may hang, crash or leak, and the run goes on and names the file.

Decoders are C code on files from anywhere. Where a worker decodes by itself, one that crashes ends the run with a
process id for all that is said, and one that hangs is waited for for ever: no Python signal reaches into C. Here the
worker only waits, with a limit, so that order, batches and workers stay the DataLoader's. A clip comes back through
memory that both have: tenths of a millisecond beside the milliseconds of decoding.
"""

import ctypes
import mmap
import os
import signal
import sys
import warnings
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import get_worker_info

from litevl.data.video_index import VideoError

GROWTH = 512 << 20
"""Bytes by which the process may grow from its first clip on; then another one takes its place."""
PR_SET_PDEATHSIG = 1


def decodes_apart() -> bool:
    """Whether this process is one that another should decode for: a DataLoader's worker, where there is `fork`.

    Not the run's own process, whose threads and GPU do not outlive a fork; nor on macOS, whose libraries do not.
    """
    return sys.platform == "linux" and get_worker_info() is not None


class DecodingProcess:
    """Calls a function that decodes a clip, in a process that is forked when it is needed.

    Args:
        decode: from a path and more to the clip; of what it raises, `VideoError` goes on to the caller as it is.
        shape: of the largest clip, which others are the first frames of.
        seconds: how long one clip may take.
    """

    def __init__(self, decode: Callable[..., Tensor], shape: tuple[int, ...], seconds: float):
        self._decode, self._shape, self._seconds = decode, shape, seconds
        self._memory = mmap.mmap(-1, max(int(np.prod(shape)), 1))
        self._clip = torch.from_numpy(np.frombuffer(self._memory, np.uint8)[: int(np.prod(shape))].reshape(shape))
        self._pid: int | None = None
        self._pipe: Connection | None = None

    def __call__(self, path: Path, *arguments: Any) -> UInt8[Tensor, "time 3 size size"]:
        """The clip.

        Raises:
            VideoError: as `decode`; or it took too long, or took the process with it.
        """
        if self._pipe is not None and self._pipe.poll():
            self.close()  # it ended while nothing was asked of it, so this file is not to blame
        if self._pipe is None:
            self._start()
        assert self._pipe is not None
        try:
            self._pipe.send((path, *arguments))
            if not self._pipe.poll(self._seconds):
                self.close()
                raise VideoError(
                    path,
                    f"decoding it was stopped after {self._seconds:g} seconds; check the file and its disk, or allow "
                    "more with --data.decode-timeout",
                )
            frames, error, grown = self._pipe.recv()
        except (EOFError, ConnectionError) as broken:
            raise VideoError(path, f"the decoder crashed on it ({self.close()}); fetch it again") from broken
        if grown:
            self.close()
        if error is not None:
            raise error
        return self._clip[:frames].clone()

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
        worker = os.getpid()
        with warnings.catch_warnings():
            # From Python 3.12 on forking beside threads warns. The one here hands over batches, and is not needed.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if not pid:
            try:
                ours.close()
                _end_with(worker)
                self._serve(theirs)
            finally:
                os._exit(1)
        theirs.close()
        self._pid, self._pipe = pid, ours

    def _serve(self, pipe: Connection) -> None:
        torch.set_num_threads(1)  # a pool of threads does not outlive a fork, and who asked it for work would wait
        first: int | None = None
        while True:
            try:
                path, *arguments = pipe.recv()
            except EOFError:
                os._exit(0)
            frames, error = 0, None
            try:
                clip = self._decode(path, *arguments)
                frames = len(clip)
                self._clip[:frames] = clip
            except Exception as raised:
                error = raised
            held = _resident()
            first = held if first is None else first
            pipe.send((frames, error, held - first > GROWTH))


def _end_with(worker: int) -> None:
    """Makes the system end this process when its worker ends, however that does; Ctrl-C is the worker's to hear."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != worker:
        os._exit(1)


def _resident() -> int:
    """Bytes of memory that this process has."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * mmap.PAGESIZE
