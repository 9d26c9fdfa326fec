"""The video-text matching loss (VTM): hard negatives drawn by similarity, never from the same video (as in BLIP)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from litevl.distributed import from_first


@torch.no_grad()
def hard_negatives(
    logits: Float[Tensor, "queries candidates"],
    query_ids: Int[Tensor, "queries"],
    candidate_ids: Int[Tensor, "candidates"],
    generator: torch.Generator,
) -> tuple[Int[Tensor, "queries"], Bool[Tensor, "queries"]]:
    """Draws one negative per query from softmax(logits) over the candidates of other videos.

    Args:
        logits: temperature-scaled similarities.
        query_ids: the video that each query belongs to.
        candidate_ids: the video that each candidate belongs to.
        generator: a CPU generator; drawing on the CPU gives the same negatives on every device and every process.

    Returns:
        The index of each query's negative, and whether it has one (not where all candidates share its video).
    """
    same = query_ids[:, None] == candidate_ids[None]
    weights = torch.softmax(logits.float().masked_fill(same, -torch.inf), dim=1)
    has_one = ~same.all(dim=1)
    # An even floor keeps a candidate that underflows drawable; a row without any negative draws what is then dropped.
    weights = torch.where(has_one[:, None], weights + 1e-8 * ~same, torch.ones_like(weights)).cpu()
    index = torch.multinomial(weights, 1, generator=generator)[:, 0]
    return index.to(logits.device), has_one


@dataclass(frozen=True)
class MatchingPairs:
    """Text `text[i]` is to be matched with video `video[i]`; `label[i]` is 1 where they belong together, else 0."""

    text: Int[Tensor, "pairs"]
    video: Int[Tensor, "pairs"]
    label: Int[Tensor, "pairs"]

    def __len__(self) -> int:
        return len(self.label)

    def of_videos(self, first: int, stop: int) -> "MatchingPairs":
        """The pairs of videos `first` to `stop - 1`, which are counted from 0 then."""
        own = (self.video >= first) & (self.video < stop)
        return MatchingPairs(self.text[own], self.video[own] - first, self.label[own])

    def split(self, size: int) -> Iterator["MatchingPairs"]:
        """So many at a time."""
        parts = zip(self.text.split(size), self.video.split(size), self.label.split(size), strict=True)
        return (MatchingPairs(*part) for part in parts)

    def as_on_first(self) -> "MatchingPairs":
        """Those of the first process: unlike devices may round a similarity apart, and draw apart from each other."""
        return MatchingPairs(from_first(self.text), from_first(self.video), self.label)


def draw_pairs(
    logits: Float[Tensor, "batch batch"], ids: Int[Tensor, "batch"], generator: torch.Generator
) -> MatchingPairs:
    """Every text with its video, with another video, and every video with another text, where there is another.

    Args:
        logits: temperature-scaled similarities, texts x videos; text i is one of video i's.
        ids: which video each is; texts and videos of one id are never each other's negatives.
        generator: as in `hard_negatives`.
    """
    wrong_video, has_video = hard_negatives(logits, ids, ids, generator)
    wrong_text, has_text = hard_negatives(logits.T, ids, ids, generator)
    each = torch.arange(len(ids), device=ids.device)
    text = torch.cat([each, each[has_video], wrong_text[has_text]])
    video = torch.cat([each, wrong_video[has_video], each[has_text]])
    return MatchingPairs(text, video, (torch.arange(len(text), device=ids.device) < len(ids)).long())


def matching_loss(
    logits: Float[Tensor, "pairs 2"], labels: Int[Tensor, "pairs"], reduction: Literal["mean", "sum"] = "mean"
) -> Float[Tensor, ""]:
    """Cross-entropy of matching logits; `labels` are 1 for a true pair and 0 for a negative."""
    return F.cross_entropy(logits.float(), labels, reduction=reduction)
