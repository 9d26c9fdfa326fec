"""Training clips with questions about them. Several questions share one clip, which is decoded and encoded once."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from litevl.data.clip_reader import ClipReader
from litevl.data.coverage import BadVideoPolicy
from litevl.data.dataset import stack
from litevl.data.paths import VideoFolder
from litevl.data.preprocess import PreprocessConfig
from litevl.data.question_files import VideoQuestion
from litevl.data.records import segment_name
from litevl.data.sampler import Row
from litevl.data.video import Decoder


@dataclass(frozen=True)
class QuestionedVideo:
    """A video, or a segment of one, and what is asked about it."""

    video_id: str
    """Of a segment, a name that no other has."""
    key: str
    """What to look for in the folder of the videos."""
    questions: tuple[VideoQuestion, ...]
    start: float | None = None
    end: float | None = None


def by_video(questions: Sequence[VideoQuestion]) -> tuple[QuestionedVideo, ...]:
    """The videos and segments asked about in order of first appearance, each with all its questions."""
    found: dict[tuple[str, float | None, float | None], list[VideoQuestion]] = {}
    for question in questions:
        found.setdefault((question.video_id, question.start, question.end), []).append(question)
    return tuple(
        QuestionedVideo(segment_name(key, start, end), key, tuple(asked), start, end)
        for (key, start, end), asked in found.items()
    )


class QuestionedVideoItem(TypedDict):
    """A clip and some questions; of a bad video there are no frames and `bad` says why."""

    video_id: str
    questions: list[VideoQuestion]
    frames: Tensor
    bad: str | None


class QuestionedVideoBatch(TypedDict):
    """Clips and questions; `clip` says which of the clips each question is about. Bad videos are in `bad` instead."""

    video_id: list[str]
    questions: list[VideoQuestion]
    clip: Tensor
    frames: Tensor
    bad: list[str]
    reasons: list[str]


class QuestionedVideoDataset(Dataset[QuestionedVideoItem]):
    """Clips with up to `questions` questions each, indexed by (epoch, row) as `EpochSampler` gives them.

    Its rows ask every question once: a video with more questions has several rows, among which its questions are
    dealt anew each epoch. What is random follows from (seed, epoch, row) alone.

    Args:
        videos: the split.
        root: the folder of its files.
        num_frames: frames per clip, one drawn in each segment.
        preprocess: the size of the pixels.
        questions: at most so many of a clip.
        decoder: see `read_frames`.
        seed: of what is random.
        on_bad_video: `error` raises `VideoError`; `skip` gives an item that `collate_questioned` takes out and lists.
        per_segment: draw among so many frames of each segment; see `candidate_places`.

    Raises:
        ValueError: fewer than one question a clip.
    """

    def __init__(
        self,
        videos: Sequence[QuestionedVideo],
        root: VideoFolder | str | os.PathLike[str],
        num_frames: int,
        preprocess: PreprocessConfig,
        questions: int,
        decoder: Decoder = "auto",
        seed: int = 0,
        on_bad_video: BadVideoPolicy = "error",
        per_segment: int | None = None,
    ):
        if questions < 1:
            raise ValueError(f"expected at least one question for each clip, got {questions}")
        self.videos = tuple(videos)
        self._frames = ClipReader(root, num_frames, preprocess, decoder, "random", on_bad_video, per_segment)
        self._seed, self._questions = seed, questions
        self._rows = [
            (place, part)
            for place, video in enumerate(self.videos)
            for part in range(-(-len(video.questions) // questions))
        ]

    def __len__(self) -> int:
        """Rows of an epoch."""
        return len(self._rows)

    def __getitem__(self, row: Row) -> QuestionedVideoItem:
        """The clip and the questions that a row is in an epoch.

        Raises:
            VideoError: the video is missing or cannot be read, and bad videos are not skipped.
        """
        epoch, number = row
        place, part = self._rows[number]
        video = self.videos[place]
        order = np.random.default_rng([self._seed, epoch, place, 1]).permutation(len(video.questions))
        dealt = order[part * self._questions : (part + 1) * self._questions]
        frames, bad = self._frames.read(video, np.random.default_rng([self._seed, epoch, number]))
        return {
            "video_id": video.video_id,
            "questions": [video.questions[each] for each in dealt.tolist()],
            "frames": frames,
            "bad": bad,
        }


def collate_questioned(items: Sequence[QuestionedVideoItem]) -> QuestionedVideoBatch:
    """A batch of clips and questions; bad videos are taken out with theirs, never replaced, and listed."""
    good = [item for item in items if item["bad"] is None]
    return {
        "video_id": [item["video_id"] for item in good],
        "questions": [question for item in good for question in item["questions"]],
        "clip": torch.tensor([number for number, item in enumerate(good) for _ in item["questions"]], dtype=torch.long),
        "frames": stack([item["frames"] for item in good], items[0]["frames"]),
        "bad": [item["video_id"] for item in items if item["bad"] is not None],
        "reasons": [item["bad"] for item in items if item["bad"] is not None],
    }
