"""Frames of a video file, exactly those that were asked for or an error that names the file."""

import copy
import logging
import os
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from litevl.data.decoders import DecoderName, FrameReader, PyAVReader, decord_obstacle, installed, open_reader
from litevl.data.sampling import Sampling, frame_indices
from litevl.data.video_index import VideoError, VideoIndex, index_video

__all__ = ["Decoder", "VideoError", "read_frames", "read_indexed_frames"]

Decoder = Literal["auto", "decord", "pyav", "torchcodec"]

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

    `auto` takes decord where it is installed and reads the file rightly, else PyAV (AV1, GIF, edit lists,
    MPEG-TS). Where decord fails on a file that looks whole, PyAV reads it only if every frame that the container
    promises can be decoded: a damaged file is an error, never a shorter video. Which decoder read a file is logged at
    level DEBUG. Damage inside a frame that the codec conceals without an error is not noticed, by no decoder.

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
    if decoder != "auto":
        return _read(open_reader(decoder, index), index, num_frames, sampling, rng, start, end, decoder)
    chosen: DecoderName = "decord" if installed("decord") and decord_obstacle(index) is None else "pyav"
    before = copy.deepcopy(rng)
    try:
        return _read(open_reader(chosen, index), index, num_frames, sampling, rng, start, end, chosen)
    except VideoError as error:
        if chosen == "pyav":
            raise
        logger.debug("%s; reading it with PyAV if all of it can be decoded", error)
    return _read(PyAVReader(index, strict=True), index, num_frames, sampling, before, start, end, "pyav, strictly")


def _read(
    reader: FrameReader,
    index: VideoIndex,
    num_frames: int,
    sampling: Sampling,
    rng: np.random.Generator | None,
    start: float | None,
    end: float | None,
    name: str,
) -> UInt8[np.ndarray, "time height width 3"]:
    try:
        first, last = _window(reader.timestamps, index, start, end)
        frames = reader.get(first + frame_indices(last - first, num_frames, sampling, rng))
    finally:
        reader.close()
    logger.debug("%s read by %s (%s in %s)", index.path, name, index.codec, index.container)
    return frames


def _window(timestamps: np.ndarray, index: VideoIndex, start: float | None, end: float | None) -> tuple[int, int]:
    if start is not None and end is not None and not start < end:
        raise ValueError(f"expected start before end, got start={start} and end={end}")
    # Timestamps are rounded to the container's clock; a frame meant to be at `start` may lie just before it.
    first = 0 if start is None else int(np.searchsorted(timestamps, start - 1e-3))
    last = len(timestamps) if end is None else int(np.searchsorted(timestamps, end - 1e-3))
    if last <= first:
        raise VideoError(
            index.path,
            f"expected frames between {start} and {end} seconds, got none: the last frame is at {timestamps[-1]:.2f}",
        )
    return first, last
