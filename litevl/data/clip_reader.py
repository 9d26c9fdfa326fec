"""How a dataset comes from a video to its pixels: decoded in a process apart, from a frame store, or as features."""

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from litevl.data.annotations import VideoSource
from litevl.data.coverage import BadVideoPolicy
from litevl.data.decoding_process import DecodingProcess, decodes_apart
from litevl.data.frame_store import STORING, FrameStore
from litevl.data.paths import VideoFolder
from litevl.data.preprocess import PreprocessConfig, resize_frames
from litevl.data.sampling import Sampling, candidate_places, check_per_segment
from litevl.data.video import Decoder, VideoError, read_frames


class ClipReader:
    """How a dataset comes from a video to its pixels."""

    def __init__(
        self,
        root: VideoFolder | str | os.PathLike[str],
        num_frames: int,
        preprocess: PreprocessConfig,
        decoder: Decoder,
        sampling: Sampling,
        on_bad_video: BadVideoPolicy,
        per_segment: int | None = None,
    ):
        if num_frames < 1:
            raise ValueError(f"expected num_frames of at least 1, got {num_frames}")
        check_per_segment(per_segment)
        if on_bad_video not in ("error", "skip"):
            raise ValueError(f"expected on_bad_video 'error' or 'skip', got {on_bad_video!r}")
        self._folder = root if isinstance(root, VideoFolder) else VideoFolder(root)
        self._num_frames, self._size = num_frames, preprocess.image_size
        self._decoder, self._sampling, self._policy = decoder, sampling, on_bad_video
        kept, seconds = self._folder.frame_store, self._folder.decode_timeout
        self._store = None if kept is None else FrameStore(kept, self._size, decoder)
        self._features, self._per_segment = self._folder.features, per_segment
        self._seconds = seconds if kept is None else seconds * STORING
        self._apart: DecodingProcess | None = None

    def read(self, video: VideoSource, rng: np.random.Generator | None) -> tuple[Tensor, str | None]:
        """Pixels (or features, where they are stored) and None, or, where bad videos are skipped, none and the reason.

        In a worker the pixels are decoded by another process, which `rng` is copied to: nothing is drawn from it later.

        Args:
            video: which one.
            rng: source of randomness, for training.
        """
        try:
            path = self._folder.resolve(video.key)
            if self._features is not None:
                return self._features.read(path, video, rng), None
            if rng is None or self._per_segment is None:
                return self._pixels(path, video, self._num_frames, self._sampling, rng), None
            every = self._pixels(path, video, self._num_frames * self._per_segment, "midpoint", None)
            return every[candidate_places(self._num_frames, self._per_segment, rng)], None
        except VideoError as error:
            if self._policy == "error":
                raise
            return torch.empty((0, 3, self._size, self._size), dtype=torch.uint8), str(error)

    def _pixels(
        self, path: Path, video: VideoSource, num_frames: int, sampling: Sampling, rng: np.random.Generator | None
    ) -> Tensor:
        if self._apart is None and self._seconds and decodes_apart():
            largest = (self._num_frames * (self._per_segment or 1), 3, self._size, self._size)
            self._apart = DecodingProcess(self._decode, largest, self._seconds)
        decode = self._apart or self._decode
        return decode(path, num_frames, sampling, rng, video.start, video.end)

    def _decode(
        self,
        path: Path,
        num_frames: int,
        sampling: Sampling,
        rng: np.random.Generator | None,
        start: float | None,
        end: float | None,
    ) -> Tensor:
        if self._store is not None:
            return self._store.read(path, num_frames, sampling, rng, start, end)
        frames = read_frames(path, num_frames, sampling, self._decoder, rng, start=start, end=end)
        return resize_frames(frames, self._size)
