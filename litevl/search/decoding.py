"""Decoding the segments of many videos in parallel, a few segments of a video at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from litevl.data.decoders import FrameReader
from litevl.data.preprocess import resize_frames
from litevl.data.sampling import frame_indices
from litevl.data.video import Decoder, VideoError, with_reader
from litevl.data.video_index import index_video

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
    frames: UInt8[Tensor, "here time 3 size size"]
    bad: str | None = None

    @property
    def last(self) -> bool:
        """Whether no more of this video comes."""
        return self.bad is not None or self.first + len(self.frames) >= len(self.segments)


class SegmentDataset(IterableDataset[Piece]):
    """The segments of videos, in pieces; each worker takes a share of the videos and reads each from front to back.

    Args:
        paths: the videos.
        segments: how they are cut.
        num_frames: of each segment, the middles of equal parts.
        image_size: side of the frames in pixels.
        decoder: see `read_frames`.
    """

    def __init__(
        self, paths: Sequence[Path], segments: SegmentConfig, num_frames: int, image_size: int, decoder: Decoder
    ):
        super().__init__()
        self.paths, self.segments = tuple(paths), segments
        self.num_frames, self.image_size, self.decoder = num_frames, image_size, decoder

    def __iter__(self) -> Iterator[Piece]:
        """Every piece of every video of this worker; of a bad one a piece that says why, whatever came before it."""
        worker = get_worker_info()
        share = self.paths if worker is None else self.paths[worker.id :: worker.num_workers]
        for path in share:
            try:
                yield from self._pieces(path)
            except VideoError as error:
                nothing = torch.empty(0, self.num_frames, 3, self.image_size, self.image_size, dtype=torch.uint8)
                yield Piece(path, 0.0, (), 0, nothing, error.reason)

    def pieces(self, workers: int) -> Iterator[Piece]:
        """The same from so many worker processes, or from this one where there are to be none.

        Raises:
            RuntimeError: a worker was killed.
        """
        return iter(DataLoader(self, batch_size=None, num_workers=min(workers, len(self.paths))))

    def _pieces(self, path: Path) -> Iterator[Piece]:
        index = index_video(path)
        seconds, segments = with_reader(index, self.decoder, partial(cut, self.segments))
        for first in range(0, len(segments), AT_ONCE):
            some = segments[first : first + AT_ONCE]
            frames = with_reader(index, self.decoder, partial(self._read, some))
            yield Piece(path, seconds, segments, first, frames)

    def _read(
        self, segments: Sequence[Segment], reader: FrameReader, again: bool
    ) -> UInt8[Tensor, "here time 3 size size"]:
        chosen = [frames_of(reader, segment, self.num_frames) for segment in segments]
        return torch.stack([resize_frames(reader.get(places), self.image_size) for places in chosen])


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
    """The pictures of one segment, those that a `SegmentDataset` gives, as large as they are.

    Raises:
        VideoError: the video can't be read.
    """

    def pictures(reader: FrameReader, again: bool) -> np.ndarray:
        return reader.get(frames_of(reader, segment, num_frames))

    return with_reader(index_video(path), decoder, pictures)
