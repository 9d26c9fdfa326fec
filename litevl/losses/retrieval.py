"""The training objective of text-video retrieval: VTC + VTM, over the batches of all processes.

Contrastive candidates come from every process, with gradient; a momentum copy, a queue and soft labels are BLIP's
options (arXiv 2201.12086). Under DistributedDataParallel n processes with a batch of b give the gradient of one with
a batch of n*b.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor, nn

from litevl.adapters import FrameFeatures
from litevl.distributed import gather_rows, rank, world_size
from litevl.models.features import TextFeatures, TokenBatch, VideoFeatures
from litevl.models.interfaces import RetrievalModel
from litevl.precision import full_precision

from .contrastive import contrastive_loss
from .matching import draw_pairs, matching_loss
from .momentum import MomentumCopy
from .queue import FeatureQueue

Features = tuple[VideoFeatures, TextFeatures]
"""Of a batch of clips with their texts."""


@dataclass(frozen=True)
class RetrievalLossConfig:
    """The parts of the objective.

    Raises:
        ValueError: for a negative weight or queue, or a momentum outside [0, 1).
    """

    vtc_weight: float = 1.0
    """Weight of the video-text contrastive loss."""
    vtm_weight: float = 1.0
    """Weight of the video-text matching loss; 0 leaves it out and saves its three passes of cross-attention."""
    negatives: Literal["all", "local"] = "all"
    """Draw hard negatives from the batches of all processes, or from this one's alone (as ALBEF does)."""
    momentum: float | None = None
    """Decay of a momentum copy of what is trained (BLIP: 0.995); none keeps no copy."""
    queue_size: int = 0
    """Embeddings of earlier batches kept as contrastive candidates; any size. Too large a queue holds stale ones."""
    alpha: float = 0.4
    """With momentum: the share of its similarities in the targets (soft labels), ramped up over the first epoch."""

    def __post_init__(self) -> None:
        if min(self.vtc_weight, self.vtm_weight, self.queue_size) < 0:
            raise ValueError("vtc_weight, vtm_weight and queue_size: expected zero or more")
        if self.vtc_weight == self.vtm_weight == 0:
            raise ValueError("vtc_weight and vtm_weight: expected at least one above zero")
        if self.momentum is not None and not 0 <= self.momentum < 1:
            raise ValueError(f"momentum: expected a decay from 0 to below 1, got {self.momentum}")


class RetrievalObjective(nn.Module):
    """VTC + VTM of a model, with the state that training needs beside the model (momentum copy, queue).

    What is trainable must be settled before it is made: the momentum copy holds exactly that.
    """

    def __init__(self, model: RetrievalModel, config: RetrievalLossConfig, seed: int = 0):
        super().__init__()
        self.model, self.config, self.seed = model, config, seed
        self.momentum = None if config.momentum is None else MomentumCopy(cast(nn.Module, model), config.momentum)
        self.queue = FeatureQueue(config.queue_size, model.embed_dim) if config.queue_size else None

    def forward(
        self,
        pixels: Float[Tensor, "batch time 3 height width"] | FrameFeatures,
        tokens: TokenBatch,
        video_ids: Int[Tensor, "batch"],
        step: int,
        epochs_done: float,
    ) -> dict[str, Tensor]:
        """The losses of one batch.

        Args:
            pixels: preprocessed clips, or their stored features; as many on every process.
            tokens: one caption of each.
            video_ids: which video each clip is; equal ids are positives of each other.
            step: number of the batch in the run; with the seed it settles which negatives are drawn.
            epochs_done: how far the run is, in epochs, for the ramp of the soft labels.

        Returns:
            `loss`, and its parts `vtc` and `vtm` where they take part.
        """
        self.begin_step()
        tokens = pad_alike(tokens)
        teacher, (video, text) = self.teach(pixels, tokens), self.model(pixels, tokens)
        losses = dict(self.terms(video, text, video_ids, teacher, step, epochs_done))
        weighted = [self.weight(name) * value for name, value in losses.items()]
        return {"loss": torch.stack(weighted).sum(), **{name: value.detach() for name, value in losses.items()}}

    def begin_step(self) -> None:
        """What comes before the batch of a training step: the temperature's clamp, the momentum copy's move."""
        if self.training:
            self.model.clamp_temperature()
            if self.momentum is not None:
                self.momentum.update(cast(nn.Module, self.model))

    def teach(self, pixels: Tensor | FrameFeatures, tokens: TokenBatch) -> Features | None:
        """What the momentum copy makes of a batch; None without one."""
        return None if self.momentum is None else self.momentum(self.model, pixels, tokens)

    def weight(self, name: str) -> float:
        """Of a part of the objective."""
        return getattr(self.config, f"{name}_weight")

    def terms(
        self,
        video: VideoFeatures,
        text: TextFeatures,
        video_ids: Int[Tensor, "batch"],
        teacher: Features | None,
        step: int,
        epochs_done: float,
        rows: int | None = None,
    ) -> Iterator[tuple[str, Tensor]]:
        """The parts of the objective of an encoded batch, by name.

        Args:
            video: the batch's.
            text: likewise, padded alike on every process.
            video_ids: as in `forward`.
            teacher: what `teach` made of it.
            step: as in `forward`.
            epochs_done: likewise.
            rows: clips to match at a time, and at most four times as many pairs. The matching loss then comes as a sum
                of terms, of which each must be backpropagated before the next is asked for, so that the activations of
                one are held at a time.
        """
        ids = gather_rows(video_ids)
        if self.config.vtc_weight:
            yield "vtc", self._contrastive(video, text, video_ids, ids, teacher, epochs_done)
        if self.config.vtm_weight:
            for value in self._matching(video, text, video_ids, ids, step, rows or len(video)):
                yield "vtm", value

    def _contrastive(
        self,
        video: VideoFeatures,
        text: TextFeatures,
        own_ids: Tensor,
        ids: Tensor,
        teacher: Features | None,
        epochs_done: float,
    ) -> Tensor:
        source_video, source_text = (video, text) if teacher is None else teacher
        videos, texts = gather_rows(source_video.embed), gather_rows(source_text.embed)
        all_videos, all_texts, all_ids = videos, texts, ids
        if self.queue is not None:
            old_video, old_text, old_ids = self.queue.stored()
            all_videos, all_texts = torch.cat([videos, old_video]), torch.cat([texts, old_text])
            all_ids = torch.cat([ids, old_ids])
        alpha = self.config.alpha * min(1.0, epochs_done)
        temperature = self.model.temperature()
        teach_video, teach_text = (None, None) if teacher is None else (teacher[0].embed, teacher[1].embed)
        loss = 0.5 * (
            contrastive_loss(video.embed, all_texts, temperature, own_ids, all_ids, teach_video, alpha)
            + contrastive_loss(text.embed, all_videos, temperature, own_ids, all_ids, teach_text, alpha)
        )
        if self.queue is not None and self.training:
            self.queue.push(videos, texts, ids)
        return loss

    def _matching(
        self, video: VideoFeatures, text: TextFeatures, own_ids: Tensor, ids: Tensor, step: int, rows: int
    ) -> Iterator[Tensor]:
        """Each process matches its own videos, with all texts that want them, so that no video's tokens travel.

        Matched with a text, a video costs a process two projections of all its rows in every layer; another text costs
        a fraction of that, and is a few kilobytes to send.
        """
        whole = self.config.negatives == "all" and world_size() > 1
        texts, embeds, row_ids = text, video.embed, own_ids
        if whole:
            texts, embeds, row_ids = _gather(text), gather_rows(video.embed.detach()), ids
        cut = Cut(video, texts) if rows < len(video) and whole else None
        if cut is not None:
            video, texts = cut.features
        # The negatives of the whole batch are drawn once, and every process keeps those of its own videos.
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step + (0 if whole else 7919 * rank()))
        with torch.no_grad(), full_precision(embeds):
            logits = texts.embed @ embeds.T / self.model.temperature()
        pairs = draw_pairs(logits, row_ids, generator)
        before, share = 0, 1 / len(pairs)
        if whole:
            pairs = pairs.as_on_first()
            before, share = rank() * len(video), world_size() / len(pairs)
        for first in range(0, len(video), rows):
            some = video[first : first + rows]
            own = pairs.of_videos(before + first, before + first + len(some))
            # A video that many texts want must not hold more than a micro-batch's memory; three a clip are usual.
            for few in own.split(4 * rows if rows < len(video) else len(own)):
                logits = self.model.match_among(texts[few.text], some, few.video)
                yield matching_loss(logits, few.label, "sum") * share
        if cut is not None:
            cut.hand_back()


class Cut:
    """Features cut off from what made them: gradients gather on the copies until they are handed back, all in one.

    Args:
        video: as made, or as made without gradient.
        text: likewise.
    """

    def __init__(self, video: VideoFeatures, text: TextFeatures):
        self.made = tensors_of(video, text)
        self.copies = [tensor.detach().requires_grad_() for tensor in self.made]
        rows, embed, hidden, text_embed = self.copies
        self.features: Features = (
            VideoFeatures(rows, embed, video.num_frames, video.cls),
            TextFeatures(text.tokens, hidden, text_embed),
        )

    def hand_back(self) -> None:
        """Backpropagates what has gathered through what was made with gradient."""
        backpropagate(self.made, [copy.grad for copy in self.copies])


def tensors_of(video: VideoFeatures, text: TextFeatures) -> list[Tensor]:
    """What gradients reach of the features of a batch."""
    return [video.rows, video.embed, text.hidden, text.embed]


def backpropagate(made: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> None:
    """Backpropagates the gradient of each tensor, where there is one and the tensor was made with gradient."""
    pairs = zip(made, gradients, strict=True)
    both = [(tensor, gradient) for tensor, gradient in pairs if tensor.requires_grad and gradient is not None]
    torch.autograd.backward([tensor for tensor, _ in both], [gradient for _, gradient in both])


def pad_alike(tokens: TokenBatch) -> TokenBatch:
    """Pads to the longest text of all processes."""
    length = torch.tensor(tokens.input_ids.shape[1], device=tokens.input_ids.device)
    if world_size() > 1:
        dist.all_reduce(length, op=dist.ReduceOp.MAX)
    return tokens.pad_to(int(length))


def _gather(text: TextFeatures) -> TextFeatures:
    tokens = TokenBatch(gather_rows(text.tokens.input_ids), gather_rows(text.tokens.attention_mask))
    return TextFeatures(tokens, gather_rows(text.hidden), gather_rows(text.embed))
