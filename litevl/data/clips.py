"""The clips of a split, each video once, as a model takes them: what every evaluation goes through."""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from litevl.data.annotations import VideoSource
from litevl.data.coverage import LEAVE_OUT, BadVideoPolicy
from litevl.data.dataset import VideoDataset, collate_videos
from litevl.data.feature_store import to_model
from litevl.data.loader import clip_loader
from litevl.data.paths import VideoFolder
from litevl.data.preprocess import PreprocessConfig
from litevl.data.sampling import Sampling
from litevl.data.video import Decoder, VideoError

logger = logging.getLogger(__name__)


class Clips:
    """One process's share of the videos of a split, as batches of ids and preprocessed clips on `device`.

    Where the folder's features are stored, those come in place of pixels.

    A video that can't be decoded follows the policy; under `skip` it is named in the log and does not come. It is an
    error of this process, not of a worker, whose traceback would hide it.

    Args:
        videos: the split, on every process.
        folder: of the files.
        num_frames: of each clip.
        preprocess: size, mean and deviation of the frames.
        batch_size: clips at a time.
        workers: processes that decode; see `decoding_workers` for None.
        device: for the clips.
        process: this process's number.
        processes: how many share the videos.
        decoder: see `read_frames`.
        sampling: see `VideoDataset`.
        on_bad_video: the policy.
        persistent: keep the workers for another pass.
    """

    def __init__(
        self,
        videos: Sequence[VideoSource],
        folder: VideoFolder,
        *,
        num_frames: int,
        preprocess: PreprocessConfig,
        batch_size: int,
        workers: int | None,
        device: torch.device,
        process: int = 0,
        processes: int = 1,
        decoder: Decoder = "auto",
        sampling: Sampling = "midpoint",
        on_bad_video: BadVideoPolicy = "error",
        persistent: bool = False,
    ):
        share = torch.arange(len(videos)).tensor_split(processes)[process].tolist()
        self.num_videos = len(share)
        self.preprocess, self.device, self.features = preprocess, device, folder.features
        dataset = VideoDataset(
            [videos[i] for i in share],
            folder,
            num_frames,
            preprocess,
            decoder=decoder,
            sampling=sampling,
            on_bad_video="skip",
        )
        self.on_bad_video = on_bad_video
        self.loader = clip_loader(
            dataset, collate_videos, workers, device, persistent=persistent, batch_size=batch_size
        )

    def __iter__(self) -> Iterator[tuple[list[str], Any]]:
        for batch in self.loader:
            if batch["bad"] and self.on_bad_video == "error":
                raise VideoError(batch["bad"][0], f"{batch['reasons'][0]}; {LEAVE_OUT}")
            for video_id, reason in zip(batch["bad"], batch["reasons"], strict=True):
                logger.warning("left out of the evaluation: %s: %s", video_id, reason)
            if batch["video_id"]:
                frames = batch["frames"].to(self.device, non_blocking=True)
                yield batch["video_id"], to_model(frames, self.preprocess, self.features)
