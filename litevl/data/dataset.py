"""Datasets of videos: one per video for evaluation, one per video or caption for training.

Frames leave them as bytes, resized; `normalize` them on the device.
"""

import os
from collections.abc import Sequence
from typing import Literal, TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from litevl.data.annotations import VideoCaptions, VideoSource
from litevl.data.clip_reader import ClipReader
from litevl.data.coverage import (
    BadVideo,
    BadVideoPolicy,
    Coverage,
    UnusableVideosError,
    apply_policy,
    find_bad_videos,
)
from litevl.data.paths import VideoFolder
from litevl.data.preprocess import PreprocessConfig
from litevl.data.sampler import EpochSampler, Row
from litevl.data.sampling import Sampling
from litevl.data.video import Decoder

__all__ = [
    "BadVideo",
    "BadVideoPolicy",
    "CaptionedVideoBatch",
    "CaptionedVideoDataset",
    "CaptionedVideoItem",
    "Coverage",
    "EpochSampler",
    "UnusableVideosError",
    "VideoBatch",
    "VideoDataset",
    "VideoItem",
    "apply_policy",
    "collate_captioned",
    "collate_videos",
    "find_bad_videos",
]


class VideoItem(TypedDict):
    """A video to evaluate. `frames` is (time, 3, size, size); of a bad video it is empty and `bad` says why."""

    index: int
    video_id: str
    frames: Tensor
    bad: str | None


class CaptionedVideoItem(TypedDict):
    """A video and a caption to train on; `video_index` tells captions of one video from others."""

    video_index: int
    video_id: str
    caption: str
    frames: Tensor
    bad: str | None


class VideoBatch(TypedDict):
    """Videos to evaluate: `frames` is uint8 (batch, time, 3, size, size). Bad videos are in `bad` instead."""

    index: Tensor
    video_id: list[str]
    frames: Tensor
    bad: list[str]
    """Ids of the bad videos."""
    reasons: list[str]
    """Why each of them is bad."""


class CaptionedVideoBatch(TypedDict):
    """Pairs to train on, likewise. With bad videos skipped, processes may hold batches of different sizes."""

    video_index: Tensor
    video_id: list[str]
    caption: list[str]
    frames: Tensor
    bad: list[str]
    """Ids of the bad videos."""
    reasons: list[str]
    """Why each of them is bad."""


class VideoDataset(Dataset[VideoItem]):
    """The videos of a split in their order, each once, for evaluation.

    Args:
        videos: the split.
        root: the folder of its files.
        num_frames: frames per video.
        preprocess: the size of the pixels.
        decoder: see `read_frames`.
        sampling: `midpoint`, or `legacy_blip` to reproduce BLIP's numbers.
        on_bad_video: `error` raises `VideoError`; `skip` gives an item that `collate_videos` takes out and lists.

    Raises:
        ValueError: random sampling, which is for training.
    """

    def __init__(
        self,
        videos: Sequence[VideoSource],
        root: VideoFolder | str | os.PathLike[str],
        num_frames: int,
        preprocess: PreprocessConfig,
        decoder: Decoder = "auto",
        sampling: Sampling = "midpoint",
        on_bad_video: BadVideoPolicy = "error",
    ):
        if sampling == "random":
            raise ValueError("expected a sampling that gives the same frames each time, got 'random'")
        self.videos = tuple(videos)
        self._frames = ClipReader(root, num_frames, preprocess, decoder, sampling, on_bad_video)

    def __len__(self) -> int:
        """Videos in the split, bad ones too."""
        return len(self.videos)

    def __getitem__(self, index: int) -> VideoItem:
        """The video at this place of the split.

        Raises:
            VideoError: the video is missing or cannot be read, and bad videos are not skipped.
        """
        video = self.videos[index]
        frames, bad = self._frames.read(video, None)
        return {"index": index, "video_id": video.video_id, "frames": frames, "bad": bad}


class CaptionedVideoDataset(Dataset[CaptionedVideoItem]):
    """Pairs of a video and a caption for training, indexed by (epoch, row) as `EpochSampler` gives them.

    What is random (the caption, the frames) is drawn from (seed, epoch, row) alone: the number of workers and
    processes, and where a run was resumed, make no difference.

    Args:
        videos: the split.
        root: the folder of its files.
        num_frames: frames per video.
        preprocess: the size of the pixels.
        decoder: see `read_frames`.
        sampling: `random` draws a frame in each segment.
        captions: `one` makes one row per video, with another caption drawn each epoch; `all` one row per caption.
        seed: of what is random.
        on_bad_video: `error` raises `VideoError`; `skip` gives an item that `collate_captioned` takes out and lists.
        per_segment: draw among so many frames of each segment; see `candidate_places`.
    """

    def __init__(
        self,
        videos: Sequence[VideoCaptions],
        root: VideoFolder | str | os.PathLike[str],
        num_frames: int,
        preprocess: PreprocessConfig,
        decoder: Decoder = "auto",
        sampling: Sampling = "random",
        captions: Literal["one", "all"] = "one",
        seed: int = 0,
        on_bad_video: BadVideoPolicy = "error",
        per_segment: int | None = None,
    ):
        if captions not in ("one", "all"):
            raise ValueError(f"expected captions 'one' or 'all', got {captions!r}")
        self.videos = tuple(videos)
        self._frames = ClipReader(root, num_frames, preprocess, decoder, sampling, on_bad_video, per_segment)
        self._seed = seed
        self._rows: list[tuple[int, int | None]] = [
            (place, number)
            for place, video in enumerate(self.videos)
            for number in ([None] if captions == "one" else range(len(video.captions)))
        ]

    def __len__(self) -> int:
        """Rows of an epoch."""
        return len(self._rows)

    def __getitem__(self, row: Row | int) -> CaptionedVideoItem:
        """The pair that a row is in an epoch.

        Raises:
            TypeError: a row without its epoch.
            VideoError: the video is missing or cannot be read, and bad videos are not skipped.
        """
        if not isinstance(row, tuple):
            raise TypeError(f"expected (epoch, row), as EpochSampler gives them, got {row!r}")
        epoch, number = row
        place, chosen = self._rows[number]
        video = self.videos[place]
        rng = np.random.default_rng([self._seed, epoch, number])
        drawn = int(rng.integers(len(video.captions)))
        frames, bad = self._frames.read(video, rng)
        return {
            "video_index": place,
            "video_id": video.video_id,
            "caption": video.captions[drawn if chosen is None else chosen],
            "frames": frames,
            "bad": bad,
        }


def collate_videos(items: Sequence[VideoItem]) -> VideoBatch:
    """A batch of videos; bad ones are taken out, never replaced, and listed."""
    good = [item for item in items if item["bad"] is None]
    return {
        "index": torch.tensor([item["index"] for item in good], dtype=torch.int64),
        "video_id": [item["video_id"] for item in good],
        "frames": stack([item["frames"] for item in good], items[0]["frames"]),
        "bad": [item["video_id"] for item in items if item["bad"] is not None],
        "reasons": [item["bad"] for item in items if item["bad"] is not None],
    }


def collate_captioned(items: Sequence[CaptionedVideoItem]) -> CaptionedVideoBatch:
    """A batch of pairs; those of bad videos are taken out, never replaced, and listed."""
    good = [item for item in items if item["bad"] is None]
    return {
        "video_index": torch.tensor([item["video_index"] for item in good], dtype=torch.int64),
        "video_id": [item["video_id"] for item in good],
        "caption": [item["caption"] for item in good],
        "frames": stack([item["frames"] for item in good], items[0]["frames"]),
        "bad": [item["video_id"] for item in items if item["bad"] is not None],
        "reasons": [item["bad"] for item in items if item["bad"] is not None],
    }


def stack(frames: list[Tensor], like: Tensor) -> Tensor:
    """Frames of a batch, of none where all its videos are bad."""
    return torch.stack(frames) if frames else like.new_empty((0, *like.shape))
