"""Three ways to get frames out of a video file, behind one small interface."""

import importlib.util
import os
import re
from collections.abc import Iterator
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from litevl.data.cores import decoding_threads
from litevl.data.pyav_reader import PyAVReader
from litevl.data.video_index import VideoError, VideoIndex

DecoderName = Literal["decord", "pyav", "torchcodec"]

# Containers in which each was seen to give the frames that were asked for, in any order of reading.
DECORD_CONTAINERS = frozenset({"mov", "matroska", "flv", "avi"})
TORCHCODEC_CONTAINERS = frozenset({"mov", "matroska", "flv", "avi", "asf", "gif", "ogg"})
CHUNK = 32
"""Frames decoded at a time where all are."""


@runtime_checkable
class FrameReader(Protocol):
    """One open video. Made for one use and closed right after; only PyAV's may be kept, see `OpenVideo`."""

    @property
    def timestamps(self) -> Float64[np.ndarray, " frames"]:
        """Seconds since the first presented frame, one per frame."""

    def get(self, indices: Int64[np.ndarray, " chosen"]) -> UInt8[np.ndarray, "chosen height width 3"]:
        """The frames at these positions in presentation order, as RGB, rotated as they are to be shown."""

    def every(self) -> Iterator[UInt8[np.ndarray, "some height width 3"]]:
        """All frames in presentation order, likewise, some at a time."""

    def close(self) -> None:
        """Free the decoder."""


def open_reader(name: DecoderName, index: VideoIndex) -> FrameReader:
    """Open a video with one decoder.

    Raises:
        VideoError: the decoder cannot read this file.
        ImportError: the decoder is not installed.
    """
    return {"decord": DecordReader, "pyav": PyAVReader, "torchcodec": TorchCodecReader}[name](index)


def installed(name: DecoderName) -> bool:
    """Whether a decoder's package is there (decord has no wheels for ARM, and torchcodec is by choice)."""
    return importlib.util.find_spec({"pyav": "av"}.get(name, name)) is not None


def decord_obstacle(index: VideoIndex) -> str | None:
    """Why decord 0.6.0 would misread a file, or None. It does so without an error, so it must be known before."""
    container = index.container.split(",")[0]
    if index.codec == "av1":
        return "decord cannot decode AV1"
    if index.hidden_frames:
        return "decord repeats frames where an edit list hides some"
    if container not in DECORD_CONTAINERS:
        return f"decord cannot read the format {index.container} exactly"
    if len(index.key_pts) > 1 and (index.open_gop or (container == "avi" and index.reordered)):
        return "decord gives wrong frames after seeking in an open GOP, or in AVI with B-frames"
    return None


def torchcodec_obstacle(index: VideoIndex) -> str | None:
    """Why torchcodec 0.13 would misread a file, or None."""
    container = index.container.split(",")[0]
    if container not in TORCHCODEC_CONTAINERS or (container == "avi" and index.reordered):
        return "torchcodec gives wrong frames of formats without presentation times (AVI with B-frames, MPEG)"
    return None


class DecordReader:
    """decord 0.6.0: the fastest of the three where PyAV must count the frames first."""

    def __init__(self, index: VideoIndex):
        import decord

        obstacle = decord_obstacle(index)
        if obstacle:
            raise VideoError(index.path, f"{obstacle}; use decoder 'pyav' or 'auto'")
        self._path = index.path
        self.timestamps = index.timestamps
        try:
            # decord wants a str, and an open reader decodes on in the background (1 GB within seconds), so it
            # lives from here to `get` only. Its frames are taken with asnumpy: set_bridge is global state.
            self._reader = decord.VideoReader(os.path.abspath(index.path), num_threads=decoding_threads())
        except (RuntimeError, decord.DECORDError) as error:
            raise VideoError(index.path, f"decord cannot open it: {first_line(error)}") from error
        if len(self._reader) != len(index.pts):
            counted = len(self._reader)
            self.close()
            raise VideoError(index.path, f"decord counts {counted} frames, the container presents {len(index.pts)}")

    def get(self, indices: Int64[np.ndarray, " chosen"]) -> UInt8[np.ndarray, "chosen height width 3"]:
        """See `FrameReader`."""
        import decord

        try:
            frames = self._reader.get_batch(indices.tolist())
        except (RuntimeError, IndexError, decord.DECORDError) as error:
            raise VideoError(self._path, f"decord cannot decode it: {first_line(error)}") from error
        # Whoever imports LAVIS has set decord's bridge to torch.
        return frames.asnumpy() if hasattr(frames, "asnumpy") else np.asarray(frames)

    def every(self) -> Iterator[UInt8[np.ndarray, "some height width 3"]]:
        """See `FrameReader`."""
        return _in_chunks(self)

    def close(self) -> None:
        """Stop decord's background decoding."""
        del self._reader


class TorchCodecReader:
    """torchcodec (0.12 and 0.13 with torch 2.13, and the system's FFmpeg 4 to 8)."""

    def __init__(self, index: VideoIndex):
        from torchcodec.decoders import VideoDecoder

        obstacle = torchcodec_obstacle(index)
        if obstacle:
            raise VideoError(index.path, f"{obstacle}; use decoder 'pyav' or 'auto'")
        self._index = index
        self.timestamps = index.timestamps
        try:
            # Approximate seeking fails on edit lists.
            self._decoder = VideoDecoder(
                os.path.abspath(index.path),
                seek_mode="exact",
                dimension_order="NHWC",
                num_ffmpeg_threads=decoding_threads(),
            )
        except (RuntimeError, ValueError) as error:
            raise VideoError(index.path, f"torchcodec cannot open it: {first_line(error)}") from error
        if len(self._decoder) != len(index.pts):
            counted = len(self._decoder)
            raise VideoError(index.path, f"torchcodec counts {counted} frames, the container presents {len(index.pts)}")

    def get(self, indices: Int64[np.ndarray, " chosen"]) -> UInt8[np.ndarray, "chosen height width 3"]:
        """See `FrameReader`."""
        try:
            batch = self._decoder.get_frames_at(indices.tolist())
        except (RuntimeError, IndexError) as error:
            raise VideoError(self._index.path, f"torchcodec cannot decode it: {first_line(error)}") from error
        off = np.abs(batch.pts_seconds.numpy() - self._index.pts[indices] * self._index.time_base)
        if off.max() > 1e-3:
            raise VideoError(
                self._index.path, f"torchcodec gave other frames than asked for (by {off.max():.2f} s); use 'pyav'"
            )
        return batch.data.numpy()

    def every(self) -> Iterator[UInt8[np.ndarray, "some height width 3"]]:
        """See `FrameReader`."""
        return _in_chunks(self)

    def close(self) -> None:
        """Free the decoder."""
        del self._decoder


def _in_chunks(reader: FrameReader) -> Iterator[UInt8[np.ndarray, "some height width 3"]]:
    for first in range(0, len(reader.timestamps), CHUNK):
        yield reader.get(np.arange(first, min(first + CHUNK, len(reader.timestamps)), dtype=np.int64))


def first_line(error: BaseException) -> str:
    """The telling line of decord's and torchcodec's errors, whose text is mostly places in C++ sources."""
    lines = [re.sub(r"\[[\d:]+\] \S+:\d+: |\S+\.cpp:\d+, ", "", line).strip() for line in str(error).splitlines()]
    telling = [line for line in lines if line and not line.startswith("Stack trace")]
    return telling[0][:200] if telling else type(error).__name__
