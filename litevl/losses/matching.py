"""The video-text matching loss (VTM): hard negatives drawn by similarity, never from the same video (as in BLIP)."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


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


def matching_loss(
    logits: Float[Tensor, "pairs 2"], labels: Int[Tensor, "pairs"], keep: Bool[Tensor, "pairs"]
) -> Float[Tensor, ""]:
    """Cross-entropy over the pairs to keep; `labels` are 1 for a true pair and 0 for a negative."""
    return F.cross_entropy(logits[keep].float(), labels[keep])
