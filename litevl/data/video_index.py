"""What a video file promises: its frames, their times, and where decoding can start.

Every decoder asked alone gets some files wrong in silence (measured on decord 0.6.0, torchcodec 0.13.0 and
PyAV 18.1.0): MP4 edit lists come with repeated last frames, frames after an open GOP or in AVI with B-frames are
others than asked for, a Matroska file cut in half is a shorter video. So the packets are listed first, without
decoding (4 to 8 ms for a clip of 15 seconds), and every decoder is held to that list.
"""

import contextlib
import errno
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from jaxtyping import Float64, Int64

from litevl.data.limits import beyond


class VideoError(Exception):
    """A video that cannot be read, and why.

    Attributes:
        path: the file; empty where the error comes out of a DataLoader's worker, whose text names it.
        reason: what was expected and what came, in words.
    """

    def __init__(self, path: str | os.PathLike[str], reason: str | None = None):
        # A DataLoader raises a worker's error again as type(error)(text of error and traceback), or, where that
        # fails, as a RuntimeError: so one text alone, all that there is to say, must do.
        super().__init__(os.fspath(path) if reason is None else f"{os.fspath(path)}: {reason}")
        self.path = Path() if reason is None else Path(path)
        self.reason = os.fspath(path) if reason is None else reason

    def __reduce__(self) -> tuple[type["VideoError"], tuple[Path, str]]:
        """Pickle with both arguments, without which it could not be made again."""
        return type(self), (self.path, self.reason)


@dataclass(frozen=True)
class VideoIndex:
    """The presented frames of a file's best video stream, from its container alone.

    Attributes:
        path: the file.
        container: FFmpeg's name of the format, as `mov,mp4,m4a,3gp,3g2,mj2`.
        codec: the codec's name, as `h264` or `av1`.
        time_base: seconds per unit of `pts`.
        pts: presentation times of the presented frames in units of `time_base`, ascending.
        hidden_frames: packets that an edit list decodes but does not show.
        reordered: packets are stored in another order than they are shown (B-frames).
        open_gop: after some later key frame come frames that need frames before it, so that it is no clean entry.
        key_pts: presentation times of the key frames, hidden ones too, ascending.
        key_seek: for each key frame the time to seek to so that decoding starts with it, or before it.
        exact: the packets stand for the frames one to one, each with its true time. False where they may not
            (packed B-frames in AVI, invisible VP8 frames, formats that store no presentation times): such a file's
            frames are known only by decoding it.
    """

    path: Path
    container: str
    codec: str
    time_base: float
    pts: Int64[np.ndarray, " frames"]
    hidden_frames: int
    reordered: bool
    open_gop: bool
    key_pts: Int64[np.ndarray, " keys"]
    key_seek: Int64[np.ndarray, " keys"]
    exact: bool

    @property
    def timestamps(self) -> Float64[np.ndarray, " frames"]:
        """Seconds since the first presented frame, one per frame."""
        return seconds(self.pts, self.time_base)


@dataclass(frozen=True)
class _Packet:
    time: int
    """Presentation time, else decoding time."""
    seek: int
    timed: bool
    hidden: bool
    key: bool
    clean: bool
    """Decoding can start here: not known of a key frame in general, but H.264 tells."""


# Codecs (as muxed in files) whose every packet gives one frame, and containers that store presentation times.
ONE_FRAME_PER_PACKET = frozenset({"h264", "hevc", "vp9", "av1", "mjpeg", "gif", "theora", "prores", "rawvideo", "png"})
READ_FORMATS = (
    "mp4,matroska,webm,avi,flv,gif,asf,mpeg,mpegts,mpegvideo,ogg,mxf,nut,rm,dv,wtv,ivf,swf,yuv4mpegpipe,h264,hevc,m4v,"
    "obu,av1,vc1,amv,apng"
)
"""FFmpeg's formats of video files. Others are none, as text and pictures; or name further files and addresses to read,
as `concat`, `hls` and `dash` do, whatever the file is called."""
TIMED_CONTAINERS = frozenset({"mov", "matroska", "flv", "gif"})


def check_file(path: Path) -> None:
    """Refuse what cannot be a video, with a message that says what it is instead.

    Raises:
        VideoError: the path is missing, a folder, not readable, or empty.
    """
    try:
        if path.is_dir():
            raise VideoError(path, "expected a video file, got a folder")
        if not path.exists():
            reason = "a link to a file that is not there" if path.is_symlink() else "no such file"
            raise VideoError(path, f"expected a video file, got {reason}")
        if path.stat().st_size == 0:
            raise VideoError(path, "expected a video file, got an empty one (0 bytes); fetch it again")
        if not os.access(path, os.R_OK):
            raise VideoError(path, "the file may not be read (permission denied); change its permissions")
    except OSError as error:
        raise VideoError(path, f"the file cannot be looked at: {error.strerror}") from error


@contextlib.contextmanager
def open_container(path: Path) -> Iterator[av.container.InputContainer]:
    """Open a file with PyAV; FFmpeg's errors, inside the block too, become `VideoError`."""
    try:
        # Absolute, or FFmpeg takes what stands before a colon for a protocol; tags in Latin-1 are no reason to fail.
        options = {"protocol_whitelist": "file", "format_whitelist": READ_FORMATS}
        with av.open(os.path.abspath(path), metadata_errors="replace", options=options) as container:
            yield container
    except (av.error.FFmpegError, EOFError) as error:
        if isinstance(error, av.error.FFmpegError) and error.errno == errno.EINVAL:  # a format that is not to be read
            raise VideoError(path, "expected a video, got another format, or damaged data; fetch it again") from error
        reason = "the file ends too early" if isinstance(error, EOFError) else (error.strerror or str(error))
        raise VideoError(
            path, f"expected a readable video, got damaged or foreign data ({reason}); fetch it again"
        ) from error


def best_stream(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    """The video stream that FFmpeg holds for the main one, which is also decord's and torchcodec's choice.

    Raises:
        VideoError: there is none, as in an audio file.
    """
    stream = container.streams.best("video")
    if isinstance(stream, av.VideoStream) and stream.codec_context is None:
        raise VideoError(path, "expected a video stream of a known codec, got an unknown or damaged one")
    if not isinstance(stream, av.VideoStream):
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "none"
        raise VideoError(path, f"expected a video stream, got a file without one (streams: {kinds})")
    return stream


def index_video(path: str | os.PathLike[str]) -> VideoIndex:
    """List a file's frames from its packets, and check that what its container announces is there.

    Raises:
        VideoError: not a readable video, no frames, or cut short: fewer packets, or a shorter time, than announced.
    """
    path = Path(path)
    check_file(path)
    with open_container(path) as container:
        stream = best_stream(container, path)
        if container.format.name == "gif":
            _check_gif_trailer(path)
        elif container.format.name.startswith("matroska"):
            _check_matroska_size(path)
        video: list[_Packet] = []
        untimed, end = 0, 0.0
        for packet in container.demux():
            if not packet.size:
                continue
            if packet.is_corrupt:
                raise VideoError(path, f"the file is cut short: a packet of stream {packet.stream_index} is incomplete")
            time = packet.pts if packet.pts is not None else packet.dts
            if time is not None and packet.time_base is not None:
                end = max(end, float((time + (packet.duration or 0)) * packet.time_base))
            if packet.stream_index != stream.index:
                continue
            if time is None:
                untimed += 1
                continue
            seek = packet.dts if packet.dts is not None else time
            clean = packet.is_keyframe and _is_clean(packet, stream)
            video.append(_Packet(time, seek, packet.pts is not None, packet.is_discard, packet.is_keyframe, clean))
        _check_complete(path, container, stream, len(video) + untimed, end)
        return _from_packets(path, container, stream, video, untimed)


def _from_packets(
    path: Path,
    container: av.container.InputContainer,
    stream: av.VideoStream,
    video: list[_Packet],
    untimed: int,
) -> VideoIndex:
    shown = sorted(packet.time for packet in video if not packet.hidden)
    if not shown:
        raise VideoError(path, "expected at least one video frame, got none")
    keys = sorted((packet.time, packet.seek) for packet in video if packet.key)
    # FFmpeg searches MP4 and Matroska by presentation times, fragments and FLV by decoding times. Its decoding time
    # leads to every key frame, but in the first two to the one before, a whole GOP too early.
    following = [*(seek for _, seek in keys[1:]), math.inf][: len(keys)]
    key_seek = [max(seek, min(time, after - 1)) for (time, seek), after in zip(keys, following, strict=True)]
    open_gop, last_key = False, video[0].time
    for packet in video[1:]:
        if packet.key:
            last_key = packet.time
        # The frames before the first key frame are nobody's to miss.
        open_gop |= packet.time < last_key if not packet.key else not packet.clean
    time_base = float(stream.time_base or 1.0)
    if (excess := beyond(stream.codec_context, (shown[-1] - shown[0]) * time_base)) is not None:
        raise VideoError(path, excess)
    codec = stream.codec_context.codec
    name = getattr(codec, "canonical_name", codec.name)
    timed = all(packet.timed for packet in video) and not untimed
    return VideoIndex(
        path=path,
        container=container.format.name,
        codec=name,
        time_base=time_base,
        pts=np.array(shown, dtype=np.int64),
        hidden_frames=sum(packet.hidden for packet in video),
        reordered=bool(stream.codec_context.has_b_frames),
        open_gop=open_gop,
        key_pts=np.array([time for time, _ in keys], dtype=np.int64),
        key_seek=np.array(key_seek, dtype=np.int64),
        exact=name in ONE_FRAME_PER_PACKET
        and container.format.name.split(",")[0] in TIMED_CONTAINERS
        and timed
        and len(set(shown)) == len(shown),
    )


def seconds(pts: Int64[np.ndarray, " frames"], time_base: float) -> Float64[np.ndarray, " frames"]:
    """Presentation times in seconds since the first of them."""
    return (pts - pts[0]).astype(np.float64) * time_base


def _is_clean(packet: av.Packet, stream: av.VideoStream) -> bool:
    """Whether an H.264 key frame is an IDR picture. Others (open GOP, intra refresh) only begin a recovery."""
    if stream.codec_context.name != "h264":
        return True
    data = memoryview(packet)
    extra = stream.codec_context.extradata
    if not extra or extra[0] != 1:  # Annex B: start codes
        return re.search(rb"\x00\x00\x01[\x05\x25\x45\x65]", data) is not None
    width, place = (extra[4] & 3) + 1, 0
    while place + width < len(data):
        if data[place + width] & 31 == 5:
            return True
        place += width + int.from_bytes(data[place : place + width], "big")
    return False


def _check_complete(
    path: Path, container: av.container.InputContainer, stream: av.VideoStream, packets: int, end: float
) -> None:
    entries = getattr(stream, "index_entries", None) if "mp4" in container.format.name else None
    if entries is not None and packets < len(entries):
        raise VideoError(path, f"the file is cut short: its index promises {len(entries)} frames, it holds {packets}")
    if container.duration is None or (entries is not None and stream.frames):
        # An unfragmented MP4's index has just said all; its header's duration may be another track's.
        return
    # Headers are rounded, and some writers' a little long, hence the margin.
    promised = container.duration / av.time_base
    if end - min((container.start_time or 0) / av.time_base, 0.0) < 0.98 * promised - 0.5:
        raise VideoError(
            path, f"the file is cut short: its header promises {promised:.1f} seconds, its data ends at {end:.1f}"
        )


def _check_gif_trailer(path: Path) -> None:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 64))
        if not file.read().rstrip(b"\0").endswith(b"\x3b"):
            raise VideoError(path, "the file is cut short: a GIF ends with the byte 3B, this one does not")


def _check_matroska_size(path: Path) -> None:
    """Compare the file with the size of its Segment, the element that holds all data (Matroska: ID 18538067)."""
    with path.open("rb") as file:
        head = file.read(4096)
    place = head.find(b"\x18\x53\x80\x67") + 4
    if place < 4 or place >= len(head) or not head[place]:
        return
    length = 9 - head[place].bit_length()  # a size is 1 to 8 bytes, as many as its first byte has leading zeros, and 1
    size = int.from_bytes(head[place : place + length], "big") & ((1 << 7 * length) - 1)
    unknown = (1 << 7 * length) - 1  # of a stream that was written live
    if size != unknown and place + length + size > path.stat().st_size:
        raise VideoError(
            path, f"the file is cut short: it promises {place + length + size} bytes, it has {path.stat().st_size}"
        )
