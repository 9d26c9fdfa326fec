"""A process beside the server that reads and encodes what people upload, and is killed when that takes too long.

Decoders hang on, or are killed by, files that are made to do so; in a process of their own they take nothing with them.
"""

import multiprocessing
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Lock
from typing import Any, Literal

from litevl.data.video import VideoError
from litevl.search import SearchError, Update, VideoIndex
from litevl.search.decoding import SegmentDataset

from .errors import RefusedError

START = 300.0
"""Seconds that the process may take to load the model."""
Task = Literal["check", "update"]


class Worker:
    """The process, started when it is needed first and again after it was killed.

    Args:
        index: the index's folder.
        device: for its model.
        timeout: seconds that a task may take.
    """

    def __init__(self, index: Path, device: str, timeout: float):
        self.timeout = timeout
        self._arguments = (index, device)
        self._lock = Lock()
        self._running: tuple[BaseProcess, Connection] | None = None

    def check(self, path: Path) -> None:
        """Reads all that indexing would read of a video.

        Raises:
            RefusedError: it is none, is damaged, or takes too long.
        """
        self._ask("check", path)

    def update(self, folder: Path) -> Update:
        """Takes what is new in a folder into the index.

        Raises:
            RefusedError: that takes too long, or the index can't be written.
        """
        return self._ask("update", folder)

    def stop(self) -> None:
        """Kills the process, if there is one."""
        if self._running is not None:
            process, pipe = self._running
            self._running = None
            process.kill()
            process.join()
            pipe.close()

    def _ask(self, task: Task, path: Path) -> Any:
        with self._lock:
            try:
                pipe = self._pipe()
                pipe.send((task, path))
                good, answer = self._answer(pipe, self.timeout)
            except (EOFError, OSError) as error:
                self.stop()
                raise RefusedError("the process that reads videos was killed by it, as by a lack of memory") from error
        if not good:
            raise RefusedError(answer)
        return answer

    def _pipe(self) -> Connection:
        if self._running is None:
            # Not forked: threads run here, and a GPU can't be used on both sides of a fork.
            context = multiprocessing.get_context("spawn")
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, *self._arguments), daemon=True)
            process.start()
            theirs.close()
            self._running = process, ours
            good, answer = self._answer(ours, START)
            if not good:
                self.stop()
                raise RefusedError(answer)
        return self._running[1]

    def _answer(self, pipe: Connection, seconds: float) -> tuple[bool, Any]:
        if not pipe.poll(seconds):
            self.stop()
            return False, f"not done after {seconds:g} seconds, so it was stopped; cut the video, or raise --timeout"
        return pipe.recv()


def _work(pipe: Connection, folder: Path, device: str) -> None:
    """What the process does until the server is gone."""
    try:
        index = VideoIndex.open(folder, device=device)
        index.model, index.store  # noqa: B018  loaded before the clock runs
    except (ImportError, OSError, RuntimeError, SearchError, ValueError) as error:
        pipe.send((False, str(error)))
        return
    pipe.send((True, None))
    while True:
        try:
            task, path = pipe.recv()
        except EOFError:
            return
        try:
            if task == "check":
                _check(index, path)
                pipe.send((True, None))
            else:
                pipe.send((True, index.update(path, workers=0, progress=False)))
        except VideoError as error:
            pipe.send((False, error.reason))
        except (OSError, RuntimeError, SearchError, ValueError) as error:
            pipe.send((False, str(error)))


def _check(index: VideoIndex, path: Path) -> None:
    maker, config = index.record.maker, index.config
    for piece in SegmentDataset([path], config.segments, maker.num_frames, maker.image_size, config.decoder):
        if piece.bad is not None:
            raise VideoError(path, piece.bad)
