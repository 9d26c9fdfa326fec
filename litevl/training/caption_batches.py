"""Training batches of text-video retrieval: clips with one caption each, the same in every run of one seed."""

import logging
from collections.abc import Iterator

import numpy as np
import torch
from accelerate import Accelerator
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from litevl.data.dataset import CaptionedVideoDataset, collate_captioned
from litevl.data.preprocess import PreprocessConfig, normalize
from litevl.data.retrieval import Gallery, RetrievalData
from litevl.data.sampler import EpochSampler
from litevl.data.video import VideoError
from litevl.distributed import gather_objects
from litevl.models import VideoTextRetrieval

from .fit import Batch, TrainingConfig

logger = logging.getLogger(__name__)


class CaptionBatches:
    """This process's share of every global batch, decoded by workers and put on the device.

    Args:
        data: the training split and its files.
        model: tokenises the captions.
        training: batch size and micro-batches.
        num_frames: of each clip, drawn at random within equal segments.
        preprocess: size, mean and deviation of the frames.
        accelerator: of this run.
        seed: of order, captions and frames.

    Raises:
        ValueError: if the batch does not divide by the processes, or similar videos are asked for with every caption a
            row of its own.
    """

    def __init__(
        self,
        data: RetrievalData,
        model: VideoTextRetrieval,
        training: TrainingConfig,
        num_frames: int,
        preprocess: PreprocessConfig,
        accelerator: Accelerator,
        seed: int,
    ):
        self.model, self.preprocess, self.accelerator = model, preprocess, accelerator
        self.skipped: dict[str, str] = {}
        """Videos that could not be read in training, and why."""
        if training.batch_size // training.accumulation < 2:
            raise ValueError(
                f"a contrastive batch needs at least 2 clips; batch_size {training.batch_size} in "
                f"{training.accumulation} micro-batches has {training.batch_size // training.accumulation}"
            )
        similar = None
        if data.config.similar > 1:
            similar = similar_videos(model, data, num_frames, preprocess, accelerator)
        dataset = CaptionedVideoDataset(
            data.splits["train"],
            data.folder,
            num_frames,
            preprocess,
            captions=data.config.captions,
            decoder=data.config.decoder,
            on_bad_video=data.config.on_bad_video,
            seed=seed,
        )
        self.sampler = EpochSampler(
            len(dataset),
            training.local_batch_size(accelerator.num_processes) * accelerator.num_processes,
            seed=seed,
            num_processes=accelerator.num_processes,
            process_index=accelerator.process_index,
            similar=similar,
            group=data.config.similar,
        )
        self.per_epoch = self.sampler.batches_per_epoch
        self.loader = DataLoader(
            dataset,
            batch_sampler=self.sampler,
            num_workers=data.config.workers,
            collate_fn=collate_captioned,
            persistent_workers=data.config.workers > 0,
        )

    def epoch(self, epoch: int, start: int) -> Iterator[Batch]:
        """The batches of an epoch from batch `start` on.

        Raises:
            VideoError: a video can't be read under the policy `error`; or under `skip` with several processes, whose
                batches must stay equal in size.
        """
        self.sampler.set_epoch(epoch, start)
        for items in self.loader:
            if items["bad"] and self.accelerator.num_processes > 1:
                raise VideoError(
                    items["bad"][0],
                    f"{items['reasons'][0]}; processes need batches of one size, so find such files before the run "
                    "with --data.check-decoding",
                )
            for video_id, reason in zip(items["bad"], items["reasons"], strict=True):
                if video_id not in self.skipped:
                    logger.warning("left out of training: %s: %s", video_id, reason)
                self.skipped[video_id] = reason
            if not items["video_id"]:
                continue
            device = self.accelerator.device
            inputs = {
                "pixels": normalize(items["frames"].to(device), self.preprocess),
                "tokens": self.model.tokenize(items["caption"]),
                "video_ids": items["video_index"].to(device),
            }
            yield Batch(inputs, items["video_id"])


@torch.no_grad()
def similar_videos(
    model: VideoTextRetrieval,
    data: RetrievalData,
    num_frames: int,
    preprocess: PreprocessConfig,
    accelerator: Accelerator,
) -> Int[np.ndarray, "videos neighbours"]:
    """For each training video the others that look most like it, the most alike first.

    Videos are compared by the embeddings of the model as it is now. Before training that is the frozen backbone, so the
    neighbours are what it cannot tell apart, such as a clip and its reversal.

    Raises:
        ValueError: every caption is a row of its own; the neighbours of a row would be its own video.
    """
    if data.config.captions != "one":
        raise ValueError("data.similar: expected data.captions='one'; similar videos are grouped, not captions")
    gallery = Gallery(
        data,
        "train",
        num_frames=num_frames,
        preprocess=preprocess,
        batch_size=32,
        workers=data.config.workers,
        device=accelerator.device,
        process=accelerator.process_index,
        processes=accelerator.num_processes,
    )
    own: dict[str, Tensor] = {}
    with tqdm(total=gallery.num_videos, unit="video", desc="compare", disable=not accelerator.is_main_process) as bar:
        for names, pixels in gallery:
            with accelerator.autocast():
                own |= dict(zip(names, model.encode_video(pixels).embed.cpu(), strict=True))
            bar.update(len(names))
    found = {name: embed for part in gather_objects(own) for name, embed in part.items()}
    nothing = torch.zeros_like(next(iter(found.values())))
    embeds = torch.stack([found.get(video.video_id, nothing) for video in data.splits["train"]])
    count = min(len(embeds) - 1, 4 * data.config.similar)
    neighbours = []
    for start in range(0, len(embeds), 1024):
        similarity = embeds[start : start + 1024] @ embeds.T
        similarity[torch.arange(len(similarity)), torch.arange(len(similarity)) + start] = -torch.inf
        neighbours.append(similarity.topk(count).indices)
    return torch.cat(neighbours).numpy()
