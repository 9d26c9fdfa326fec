"""Decoding the segments of many videos, a few segments of a video at a time: here, or in processes side by side.

Nothing here needs torch, so that such a process is there at once.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from litevl.data.decoders import FrameReader
from litevl.data.fresh_process import END, HAS_ALARMS, FreshProcess, beat
from litevl.data.resizing import square_frames
from litevl.data.sampling import frame_indices
from litevl.data.video import Decoder, OpenVideo, VideoError, with_reader
from litevl.data.video_index import index_video

from .options import ADVICE
from .segments import Segment, SegmentConfig, duration_of, windows
from .shots import shots

AT_ONCE = 8
"""Segments that come together: of 8 frames of 384 pixels 28 MB."""


@dataclass(frozen=True)
class Piece:
    """Some segments of a video, one after another; or why it can't be read."""

    path: Path
    seconds: float
    """The video's length."""
    segments: tuple[Segment, ...]
    """All segments of the video."""
    first: int
    """The number of the first of those that are here."""
    frames: UInt8[np.ndarray, "here time 3 size size"]
    bad: str | None = None

    @property
    def last(self) -> bool:
        """Whether no more of this video comes."""
        return self.bad is not None or self.first + len(self.frames) >= len(self.segments)


@dataclass(frozen=True)
class Cutter:
    """Cuts videos into pieces."""

    segments: SegmentConfig
    """How they are cut."""
    num_frames: int
    """Of each segment, the middles of equal parts."""
    image_size: int
    """Side of the frames in pixels."""
    decoder: Decoder
    """See `read_frames`."""

    def pieces(self, paths: Sequence[Path], workers: int, seconds: float) -> Iterator[Piece]:
        """The pieces of videos, each video's from front to back; of a bad one a piece that says why, whatever came.

        Args:
            paths: the videos.
            workers: processes that decode, where one that hangs or crashes is a bad video; with none this one does.
            seconds: how long a process may take to a video's next segment.
        """
        if workers and HAS_ALARMS:
            yield from self._apart(paths, workers, seconds)
            return
        for path in paths:
            try:
                yield from pieces_of(path, self)
            except VideoError as error:
                yield self._bad(path, error)

    def _apart(self, paths: Sequence[Path], workers: int, seconds: float) -> Iterator[Piece]:
        left = iter(paths)
        crew = [FreshProcess(seconds, ADVICE) for _ in range(min(workers, len(paths)))]
        busy: dict[Connection, tuple[FreshProcess, Path]] = {}

        def begin(apart: FreshProcess) -> None:
            if (path := next(left, None)) is not None:
                apart.ask(pieces_of, path, self)
                busy[apart.pipe] = apart, path

        try:
            for apart in crew:
                begin(apart)
            while busy:
                for pipe in wait(list(busy)):
                    assert isinstance(pipe, Connection)
                    apart, path = busy[pipe]
                    try:
                        piece = apart.answer()
                    except VideoError as error:
                        piece = self._bad(path, error)
                    if piece is not END:
                        yield piece
                    if piece is END or piece.bad is not None:
                        del busy[pipe]
                        begin(apart)
        finally:
            for apart in crew:
                apart.close()

    def _bad(self, path: Path, error: VideoError) -> Piece:
        nothing = np.empty((0, self.num_frames, 3, self.image_size, self.image_size), dtype=np.uint8)
        return Piece(path, 0.0, (), 0, nothing, error.reason)


def pieces_of(path: Path, cutter: Cutter) -> Iterator[Piece]:
    """The pieces of one video.

    Raises:
        VideoError: it can't be read, whatever came of that: for one there is not enough memory.
        ImportError: a decoder asked for by name is not installed.
    """
    try:
        with OpenVideo(index_video(path), cutter.decoder) as video:
            seconds, segments = video.use(partial(cut, cutter.segments))
            for first in range(0, len(segments), AT_ONCE):
                some = segments[first : first + AT_ONCE]
                yield Piece(path, seconds, segments, first, video.use(partial(_read, cutter, some)))
    except (VideoError, ImportError):
        raise
    except Exception as error:
        raise VideoError(path, f"reading it failed ({type(error).__name__}: {error}); check the file") from error


def _read(
    cutter: Cutter, segments: Sequence[Segment], reader: FrameReader, again: bool
) -> UInt8[np.ndarray, "here time 3 size size"]:
    found = []
    for segment in segments:
        beat()
        found.append(square_frames(reader.get(frames_of(reader, segment, cutter.num_frames)), cutter.image_size))
    return np.stack(found)


def cut(config: SegmentConfig, reader: FrameReader, again: bool) -> tuple[float, tuple[Segment, ...]]:
    """The length of an open video in seconds, and its segments; see `with_reader`.

    Raises:
        VideoError: a frame can't be decoded, where that is needed.
    """
    seconds = duration_of(reader.timestamps)
    if config.cut == "shots":
        return seconds, tuple(shots(reader, config))
    return seconds, tuple(windows(0.0, seconds, seconds if config.cut == "whole" else config.seconds))


def frames_of(reader: FrameReader, segment: Segment, num_frames: int) -> np.ndarray:
    """The places of a segment's frames in an open video: the nearest one, where it is shorter than a frame."""
    times = reader.timestamps
    # Rounded as `read_frames` does, so that the frame at a boundary belongs to one side.
    first, last = (int(np.searchsorted(times, second - 1e-3)) for second in (segment.start, segment.end))
    first = min(first, len(times) - 1)
    return first + frame_indices(max(last - first, 1), num_frames)


def read_segment(
    path: Path, segment: Segment, num_frames: int, decoder: Decoder
) -> UInt8[np.ndarray, "time height width 3"]:
    """The pictures of one segment, those that a `Cutter` takes, as large as they are.

    Raises:
        VideoError: the video can't be read.
    """
    (pictures,) = read_segments(path, [segment], num_frames, decoder)
    return pictures


def read_segments(
    path: Path, segments: Iterable[Segment], num_frames: int, decoder: Decoder
) -> Iterator[UInt8[np.ndarray, "time height width 3"]]:
    """The pictures of several segments of a video, best from front to back, one segment's after another's.

    Raises:
        VideoError: the video can't be read.
    """
    with OpenVideo(index_video(path), decoder) as video:
        for segment in segments:
            yield video.use(partial(_pictures, segment, num_frames))


def _pictures(segment: Segment, num_frames: int, reader: FrameReader, again: bool) -> np.ndarray:
    return reader.get(frames_of(reader, segment, num_frames))


def length_of(path: Path, decoder: Decoder) -> float:
    """The length of a video in seconds.

    Raises:
        VideoError: it can't be read.
    """

    def duration(reader: FrameReader, again: bool) -> float:
        return duration_of(reader.timestamps)

    return with_reader(index_video(path), decoder, duration)
