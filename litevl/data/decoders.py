"""Three ways to get frames out of a video file, behind one small interface."""

import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from typing import Any, Literal, Protocol, runtime_checkable

import av
import numpy as np
from av.video.reformatter import Colorspace
from jaxtyping import Float64, Int64, UInt8

from litevl.data.video_index import ONE_FRAME_PER_PACKET, VideoError, VideoIndex, best_stream, open_container

DecoderName = Literal["decord", "pyav", "torchcodec"]

# Containers in which each was seen to give the frames that were asked for, in any order of reading.
DECORD_CONTAINERS = frozenset({"mov", "matroska", "flv", "avi"})
TORCHCODEC_CONTAINERS = frozenset({"mov", "matroska", "flv", "avi", "asf", "gif", "ogg"})

COLORSPACES = {int(space): space for space in Colorspace}


@runtime_checkable
class FrameReader(Protocol):
    """One open video. Made for one `get`, and closed right after: readers are never kept."""

    @property
    def timestamps(self) -> Float64[np.ndarray, " frames"]:
        """Seconds since the first presented frame, one per frame."""

    def get(self, indices: Int64[np.ndarray, " chosen"]) -> UInt8[np.ndarray, "chosen height width 3"]:
        """The frames at these positions in presentation order, as RGB, rotated as they are to be shown."""

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


def decoding_threads() -> int:
    """Threads for one decoder: 1 in a DataLoader worker, whose siblings use the other cores; else 0, FFmpeg chooses."""
    # Whoever is a worker has this imported; who only looks at files need not wait for torch.
    data: Any = sys.modules.get("torch.utils.data")
    return 0 if data is None or data.get_worker_info() is None else 1


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
    """decord 0.6.0: the fastest of the three where key frames are rare."""

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
            return self._reader.get_batch(indices.tolist()).asnumpy()
        except (RuntimeError, IndexError, decord.DECORDError) as error:
            raise VideoError(self._path, f"decord cannot decode it: {first_line(error)}") from error

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

    def close(self) -> None:
        """Free the decoder."""
        del self._decoder


class PyAVReader:
    """PyAV: reads everything FFmpeg reads, anywhere; seeks where a key frame lies between here and the next frame.

    A frame is known by its presentation time, or, in files whose packets do not tell (`VideoIndex.exact`), by its
    place in the whole decoded video, which is then decoded twice: to count, and to take.

    Args:
        index: the file's frames.
        strict: decode the whole video and demand every presented frame, instead of the wanted ones only.
    """

    def __init__(self, index: VideoIndex, strict: bool = False):
        self._index = index
        self._strict = strict
        self._ids = index.pts if index.exact else self._count()

    @property
    def timestamps(self) -> Float64[np.ndarray, " frames"]:
        """Seconds since the first presented frame, one per frame; of formats without times, those of the packets."""
        times = self._index.timestamps
        if len(times) == len(self._ids):
            return times
        return np.linspace(0.0, times[-1], len(self._ids))

    def get(self, indices: Int64[np.ndarray, " chosen"]) -> UInt8[np.ndarray, "chosen height width 3"]:
        """See `FrameReader`."""
        wanted = self._ids[indices].tolist()
        sequential = self._strict or not self._index.exact
        with open_container(self._index.path) as container:
            found = self._decode_all(container, wanted) if sequential else self._decode_wanted(container, wanted)
        if len(found) < len(set(wanted)):
            # Some streams cannot be entered at every key frame; only the way from the start decides.
            with open_container(self._index.path) as container:
                found = self._decode_all(container, wanted)
        for place, name in zip(indices.tolist(), wanted, strict=True):
            if name not in found:
                raise VideoError(
                    self._index.path,
                    f"the container promises {len(self._ids)} frames, but frame {place} "
                    f"({self.timestamps[place]:.2f} s) cannot be decoded; fetch it again",
                )
        shapes = {found[name].shape for name in wanted}
        if len(shapes) > 1:
            raise VideoError(self._index.path, f"expected frames of one size, got {sorted(shapes)}")
        return np.stack([found[name] for name in wanted])

    def close(self) -> None:
        """Nothing is kept open between calls."""

    def _count(self) -> Int64[np.ndarray, " frames"]:
        with open_container(self._index.path) as container:
            count = sum(1 for _ in self._decode(container))
        promised = len(self._index.pts)
        if not count or (count < promised and (self._strict or self._index.codec in ONE_FRAME_PER_PACKET)):
            raise VideoError(
                self._index.path, f"the container promises {promised} frames, {count} can be decoded; fetch it again"
            )
        return np.arange(count, dtype=np.int64)

    def _decode(self, container: av.container.InputContainer) -> Iterator[tuple[int, av.VideoFrame]]:
        """All presented frames from the start, each with the name it is known by."""
        for place, frame in enumerate(container.decode(self._stream(container))):
            if frame.is_corrupt:
                raise VideoError(self._index.path, f"frame {place} is damaged; fetch the file again")
            yield (place if not self._index.exact else -1 if frame.pts is None else frame.pts), frame

    def _stream(self, container: av.container.InputContainer) -> av.VideoStream:
        stream = best_stream(container, self._index.path)
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = decoding_threads()
        return stream

    def _decode_all(self, container: av.container.InputContainer, wanted: list[int]) -> dict[int, np.ndarray]:
        """Decode from the first frame to the last wanted one, or, when strict, to the end, missing nothing."""
        found: dict[int, np.ndarray] = {}
        lost = set(self._ids.tolist())
        for name, frame in self._decode(container):
            lost.discard(name)
            if name in wanted:
                found[name] = rgb(frame)
            if name >= max(wanted) and not self._strict:
                break
        if self._strict and lost:
            raise VideoError(
                self._index.path,
                f"the container promises {len(self._ids)} frames, {len(lost)} of them cannot be decoded; "
                "fetch it again",
            )
        return found

    def _decode_wanted(self, container: av.container.InputContainer, wanted: list[int]) -> dict[int, np.ndarray]:
        """Decode the wanted frames only, entering at the key frame before each one."""
        stream = self._stream(container)
        found: dict[int, np.ndarray] = {}
        frames = container.decode(stream)
        here = int(self._index.key_pts[0]) if len(self._index.key_pts) else None
        for target in sorted(set(wanted)):
            key = int(np.searchsorted(self._index.key_pts, target, side="right")) - 1
            if here is not None and key >= 0 and int(self._index.key_pts[key]) > here:
                container.seek(int(self._index.key_seek[key]), stream=stream, backward=True)
                frames = container.decode(stream)
            for frame in frames:
                if frame.pts is None:
                    continue
                here = frame.pts
                if frame.pts == target and not frame.is_corrupt:
                    found[target] = rgb(frame)
                if frame.pts >= target:
                    break
        return found


def rgb(frame: av.VideoFrame) -> UInt8[np.ndarray, "height width 3"]:
    """A frame's picture as it is to be shown: RGB, and turned as its display matrix says."""
    # Named, because PyAV before 17 takes every source for BT.601, and HD's BT.709 is up to 30 grey levels off by it.
    source = COLORSPACES.get(frame.colorspace, Colorspace.ITU601)
    picture = frame.to_ndarray(format="rgb24", src_colorspace=source, dst_colorspace=Colorspace.ITU601)
    quarter_turns = round(frame.rotation / 90)  # counter-clockwise, as numpy's
    return np.ascontiguousarray(np.rot90(picture, quarter_turns)) if quarter_turns else picture


def first_line(error: BaseException) -> str:
    """The telling line of decord's and torchcodec's errors, whose text is mostly places in C++ sources."""
    lines = [re.sub(r"\[[\d:]+\] \S+:\d+: |\S+\.cpp:\d+, ", "", line).strip() for line in str(error).splitlines()]
    telling = [line for line in lines if line and not line.startswith("Stack trace")]
    return telling[0][:200] if telling else type(error).__name__
