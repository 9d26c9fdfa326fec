"""Frames of a video file, exactly those that were asked for or an error that names the file."""

import copy
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from litevl.data.decoders import DecoderName, FrameReader, PyAVReader, decord_obstacle, installed, open_reader
from litevl.data.sampling import Sampling, frame_indices
from litevl.data.video_index import VideoError, VideoIndex, index_video

__all__ = ["Decoder", "OpenVideo", "VideoError", "choose", "read_frames", "read_indexed_frames", "with_reader"]

Decoder = Literal["auto", "decord", "pyav", "torchcodec"]
Result = TypeVar("Result")

logger = logging.getLogger(__name__)


def read_frames(
    path: str | os.PathLike[str],
    num_frames: int,
    sampling: Sampling = "midpoint",
    decoder: Decoder = "auto",
    rng: np.random.Generator | None = None,
    start: float | None = None,
    end: float | None = None,
) -> UInt8[np.ndarray, "time height width 3"]:
    """Read `num_frames` frames of a video as RGB, in the order of time.

    Only presented frames count: what an edit list hides is no frame. Rotation metadata is applied.

    `auto` takes PyAV, or decord where the container does not tell the frames (as AVI), if it is installed and reads the
    file rightly: PyAV would decode such a file twice. Where decord fails on a file that looks whole, PyAV reads it only
    if every frame that the container promises can be decoded: a damaged file is an error, never a shorter video. Which
    decoder read a file is logged at level DEBUG. Damage inside a frame that the codec conceals without an error is not
    noticed, by no decoder.

    Args:
        path: the video file.
        num_frames: how many frames to take.
        sampling: which ones, see `frame_indices`.
        decoder: `auto`, or one by name; that one is then used or an error says why not.
        rng: source of randomness for `sampling="random"`.
        start: take frames from this time on (seconds after the first presented frame).
        end: take frames before this time.

    Raises:
        VideoError: the file is missing, not a video, without frames, damaged, or cut short.
        ImportError: a decoder asked for by name is not installed.
        ValueError: arguments out of range.
    """
    return read_indexed_frames(index_video(path), num_frames, sampling, decoder, rng, start, end)


def read_indexed_frames(
    index: VideoIndex,
    num_frames: int,
    sampling: Sampling = "midpoint",
    decoder: Decoder = "auto",
    rng: np.random.Generator | None = None,
    start: float | None = None,
    end: float | None = None,
) -> UInt8[np.ndarray, "time height width 3"]:
    """As `read_frames`, of a file whose index is known."""
    before = copy.deepcopy(rng)

    def chosen(reader: FrameReader, again: bool) -> UInt8[np.ndarray, "time height width 3"]:
        return reader.get(
            choose(reader.timestamps, num_frames, sampling, before if again else rng, start, end, index.path)
        )

    return with_reader(index, decoder, chosen)


def with_reader(index: VideoIndex, decoder: Decoder, use: Callable[[FrameReader, bool], Result]) -> Result:
    """What `use` makes of a reader of the file, chosen and replaced as `read_frames` says.

    Args:
        index: of the file.
        decoder: `auto`, or one by name.
        use: takes the reader, and whether another one failed before it.

    Raises:
        VideoError: no reader reads the file.
        ImportError: a decoder asked for by name is not installed.
    """
    with OpenVideo(index, decoder) as video:
        return video.use(use)


class OpenVideo:
    """A file that is read several times: the reader is chosen as `read_frames` says.

    PyAV's, which may have to count the frames first, is kept from one use to the next; the others, which go on in the
    background, are not.

    Args:
        index: of the file.
        decoder: `auto`, or one by name.
    """

    def __init__(self, index: VideoIndex, decoder: Decoder):
        self._index, self._decoder = index, decoder
        self._kept: PyAVReader | None = None

    def __enter__(self) -> "OpenVideo":
        return self

    def __exit__(self, *_: object) -> None:
        if self._kept is not None:
            self._kept.close()

    def use(self, use: Callable[[FrameReader, bool], Result]) -> Result:
        """See `with_reader`."""
        if self._kept is not None:
            return use(self._kept, False)
        index = self._index
        decord = not index.exact and installed("decord") and decord_obstacle(index) is None
        automatic: DecoderName = "decord" if decord else "pyav"
        chosen = automatic if self._decoder == "auto" else self._decoder
        try:
            return self._used(open_reader(chosen, index), use, False, chosen)
        except VideoError as error:
            if chosen == "pyav" or self._decoder != "auto":
                raise
            logger.debug("%s; reading it with PyAV if all of it can be decoded", error)
        return self._used(PyAVReader(index, strict=True), use, True, "pyav, strictly")

    def _used(self, reader: FrameReader, use: Callable[[FrameReader, bool], Result], again: bool, name: str) -> Result:
        if isinstance(reader, PyAVReader):
            self._kept = reader
        try:
            result = use(reader, again)
        finally:
            if reader is not self._kept:
                reader.close()
        logger.debug("%s read by %s (%s in %s)", self._index.path, name, self._index.codec, self._index.container)
        return result


def choose(
    timestamps: Float64[np.ndarray, " frames"],
    num_frames: int,
    sampling: Sampling,
    rng: np.random.Generator | None,
    start: float | None,
    end: float | None,
    path: Path,
) -> Int64[np.ndarray, " num_frames"]:
    """Which frames of a file to read, by the time of each; see `read_frames`."""
    first, last = _window(timestamps, path, start, end)
    return first + frame_indices(last - first, num_frames, sampling, rng)


def _window(timestamps: np.ndarray, path: Path, start: float | None, end: float | None) -> tuple[int, int]:
    if start is not None and end is not None and not start < end:
        raise ValueError(f"expected start before end, got start={start} and end={end}")
    # Timestamps are rounded to the container's clock; a frame meant to be at `start` may lie just before it.
    first = 0 if start is None else int(np.searchsorted(timestamps, start - 1e-3))
    last = len(timestamps) if end is None else int(np.searchsorted(timestamps, end - 1e-3))
    if last <= first:
        raise VideoError(
            path,
            f"expected frames between {start} and {end} seconds, got none: the last frame is at {timestamps[-1]:.2f}",
        )
    return first, last
