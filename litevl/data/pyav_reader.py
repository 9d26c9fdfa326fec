"""Frames by PyAV: the wanted ones and what they refer to, nothing else."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby

import av
import numpy as np
from av.video.reformatter import Colorspace
from jaxtyping import Float64, Int64, UInt8

from litevl.data.cores import decoding_threads
from litevl.data.fresh_process import beat
from litevl.data.limits import MOST_PIXELS
from litevl.data.video_index import ONE_FRAME_PER_PACKET, VideoError, VideoIndex, best_stream, open_container

COLORSPACES = {int(space): space for space in Colorspace}


class PyAVReader:
    """PyAV: reads everything FFmpeg reads, anywhere; of H.264, the fastest of the three.

    It enters at the key frame before each wanted frame, and passes over what no wanted frame refers to.

    A frame is known by its presentation time, or, in files whose packets do not tell (`VideoIndex.exact`), by its
    place in the whole decoded video, which is then decoded twice: to count, and to take. Who takes from front to back
    in several calls of `get` decodes it no oftener: each goes on where the last one ended.

    Args:
        index: the file's frames.
        strict: decode the whole video and demand every presented frame, instead of the wanted ones only.
    """

    def __init__(self, index: VideoIndex, strict: bool = False):
        self._index = index
        self._strict = strict
        self._going: Iterator[tuple[int, av.VideoFrame]] = iter(())
        self._last: tuple[int, av.VideoFrame] | None = None
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
        if not self._index.exact:
            found = self._decode_on(wanted)
        else:
            with open_container(self._index.path) as container:
                found = (self._decode_all if self._strict else self._decode_wanted)(container, wanted)
        if len(found) < len(set(wanted)):
            # Some streams cannot be entered at every key frame; only the way from the start decides.
            with open_container(self._index.path) as container:
                found = self._decode_all(container, wanted)
        for place, name in zip(indices.tolist(), wanted, strict=True):
            if name not in found:
                raise self._missing(place)
        shapes = {found[name].shape for name in wanted}
        if len(shapes) > 1:
            raise VideoError(self._index.path, f"expected frames of one size, got {sorted(shapes)}")
        return np.stack([found[name] for name in wanted])

    def every(self) -> Iterator[UInt8[np.ndarray, "some height width 3"]]:
        """See `FrameReader`: one by one, in one pass."""
        place, shape = 0, None
        with open_container(self._index.path) as container:
            for name, frame in self._decode(container):
                if place < len(self._ids) and name == self._ids[place]:
                    picture = rgb(frame)
                    if shape not in (None, picture.shape):
                        raise VideoError(self._index.path, f"expected frames of one size, got {[shape, picture.shape]}")
                    place, shape = place + 1, picture.shape
                    yield picture[None]
        if place < len(self._ids):
            raise self._missing(place)

    def close(self) -> None:
        """Free the decoder that the next call would go on with."""
        self._going, self._last = iter(()), None

    def _missing(self, place: int) -> VideoError:
        promised = f"the container promises {len(self._ids)} frames, but frame {place} "
        return VideoError(
            self._index.path, f"{promised}({self.timestamps[place]:.2f} s) cannot be decoded; fetch it again"
        )

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
            beat()
            if frame.is_corrupt:
                raise VideoError(self._index.path, f"frame {place} is damaged; fetch the file again")
            yield (place if not self._index.exact else -1 if frame.pts is None else frame.pts), frame

    def _from_start(self) -> Iterator[tuple[int, av.VideoFrame]]:
        with open_container(self._index.path) as container:
            yield from self._decode(container)

    def _decode_on(self, wanted: list[int]) -> dict[int, np.ndarray]:
        """Decode to the last wanted frame: from the one that was decoded last, or from the start for those before."""
        if self._last is None or min(wanted) < self._last[0]:
            self._going, self._last = self._from_start(), None
        found: dict[int, np.ndarray] = {}
        for name, frame in chain([] if self._last is None else [self._last], self._going):
            self._last = name, frame
            if name in wanted:
                found[name] = rgb(frame)
            if name >= max(wanted):
                break
        return found

    def _stream(self, container: av.container.InputContainer) -> av.VideoStream:
        stream = best_stream(container, self._index.path)
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = decoding_threads()
        # Of every frame: some formats change the size midway, or claim another in their header.
        stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}
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
        """Decode the wanted frames and what they refer to only, entering at the key frame before each one."""
        stream, found = self._stream(container), dict[int, np.ndarray]()
        # H.264 alone tells surely which frames no other one refers to (in HEVC higher layers may).
        skips = self._index.codec == "h264"
        entry = {pts: max(int(np.searchsorted(self._index.key_pts, pts, side="right")) - 1, 0) for pts in wanted}
        for key, group in groupby(sorted(entry), entry.__getitem__):
            if key > 0:
                container.seek(int(self._index.key_seek[key]), stream=stream, backward=True)
            left = set(group)
            for packet in container.demux(stream):
                if not packet.size:
                    continue
                if skips:
                    stream.codec_context.skip_frame = "DEFAULT" if packet.pts in left else "NONREF"
                _take(stream.codec_context.decode(packet), wanted, found)
                left.discard(packet.pts)
                if not left:
                    break
            # What the decoder still holds, to put frames in order. An interlaced frame may lack its second field.
            _take((frame for frame in stream.codec_context.decode(None) if not frame.interlaced_frame), wanted, found)
        return found


def _take(frames: Iterable[av.VideoFrame], wanted: Sequence[int], found: dict[int, np.ndarray]) -> None:
    for frame in frames:
        if frame.pts is not None and frame.pts in wanted and not frame.is_corrupt:
            found[frame.pts] = rgb(frame)


def rgb(frame: av.VideoFrame) -> UInt8[np.ndarray, "height width 3"]:
    """A frame's picture as it is to be shown: RGB, and turned as its display matrix says."""
    # Named, because PyAV before 17 takes every source for BT.601, and HD's BT.709 is up to 30 grey levels off by it.
    source = COLORSPACES.get(frame.colorspace, Colorspace.ITU601)
    picture = frame.to_ndarray(format="rgb24", src_colorspace=source, dst_colorspace=Colorspace.ITU601)
    quarter_turns = round(frame.rotation / 90)  # counter-clockwise, as numpy's
    return np.ascontiguousarray(np.rot90(picture, quarter_turns)) if quarter_turns else picture
