"""Training batches of captioned clips, for retrieval and captioning."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from accelerate import Accelerator
from jaxtyping import Int
from torch import Tensor
from tqdm import tqdm

from litevl.data.dataset import CaptionedVideoDataset, collate_captioned
from litevl.data.preprocess import PreprocessConfig
from litevl.data.retrieval import Gallery, RetrievalData
from litevl.distributed import gather_objects
from litevl.models import TokenBatch, VideoTextRetrieval
from litevl.models.interfaces import RetrievalModel

from .clip_batches import ClipBatches
from .config import TrainingConfig
from .frozen_texts import FrozenTexts, worth_keeping


@runtime_checkable
class Tokenizing(Protocol):
    """A model that tokenises captions as it takes them."""

    def tokenize(self, texts: Sequence[str], /) -> TokenBatch:
        """Tokenises and pads to the longest of `texts`."""


class CaptionBatches(ClipBatches):
    """Clips with one caption each.

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
        model: Tokenizing,
        training: TrainingConfig,
        num_frames: int,
        preprocess: PreprocessConfig,
        accelerator: Accelerator,
        seed: int,
    ):
        self.model, settings = model, data.config
        dataset = CaptionedVideoDataset(
            data.splits["train"],
            data.folder,
            num_frames,
            preprocess,
            captions=settings.captions,
            decoder=settings.decoder,
            on_bad_video="skip",
            seed=seed,
            per_segment=settings.frames_per_segment,
        )
        captions = [caption for video in data.splits["train"] for caption in video.captions]
        self.texts: FrozenTexts | None = None
        if worth_keeping(model, captions, training.epochs * len(dataset)):
            assert isinstance(model, VideoTextRetrieval)
            self.texts = FrozenTexts(model, captions, accelerator)
            accelerator.print(self.texts)
        options: dict[str, Any] = {}
        if settings.similar > 1:
            assert isinstance(model, RetrievalModel)
            similar = similar_videos(model, data, num_frames, preprocess, accelerator)
            options = {"similar": similar, "group": settings.similar}
        super().__init__(
            dataset,
            collate_captioned,
            settings.workers,
            preprocess,
            training,
            accelerator,
            seed,
            settings.on_bad_video,
            data.folder.features,
            **options,
        )

    def inputs(self, items: Any) -> dict[str, Any]:
        """Tokens of the captions (with what a frozen encoder makes of them), and which video each is of."""
        video_ids = items["video_index"].to(self.accelerator.device)
        tokens = self.model.tokenize(items["caption"])
        return {
            "tokens": tokens if self.texts is None else self.texts(tokens, items["caption"]),
            "video_ids": video_ids,
        }


@torch.no_grad()
def similar_videos(
    model: RetrievalModel,
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
