"""The video-text contrastive loss (VTC), with several positives, soft labels and more candidates than the batch."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from litevl.precision import full_precision


def positive_targets(
    query_ids: Int[Tensor, "queries"], candidate_ids: Int[Tensor, "candidates"]
) -> Float[Tensor, "queries candidates"]:
    """A uniform distribution over each query's positives: captions of one video are never each other's negatives."""
    positives = (query_ids[:, None] == candidate_ids[None]).float()
    return positives / positives.sum(dim=1, keepdim=True)


def contrastive_loss(
    queries: Float[Tensor, "queries embed"],
    candidates: Float[Tensor, "candidates embed"],
    temperature: Float[Tensor, ""],
    query_ids: Int[Tensor, "queries"],
    candidate_ids: Int[Tensor, "candidates"],
    teacher: Float[Tensor, "queries embed"] | None = None,
    alpha: float = 0.0,
) -> Float[Tensor, ""]:
    """Cross-entropy of the temperature-scaled similarities against each query's positives, one direction.

    Args:
        queries: normalised embeddings of one modality.
        candidates: normalised embeddings of the other, each query's positives among them.
        temperature: divides the cosine similarities.
        query_ids: the video that each query belongs to.
        candidate_ids: the video that each candidate belongs to; -1 belongs to none.
        teacher: momentum embeddings of the queries, for BLIP's soft labels.
        alpha: the share of the teacher's distribution in the targets.
    """
    with full_precision(queries):
        logits = queries @ candidates.T / temperature
        targets = positive_targets(query_ids, candidate_ids)
        if teacher is not None and alpha > 0:
            with torch.no_grad():
                soft = torch.softmax(teacher @ candidates.T / temperature, dim=1)
            targets = alpha * soft + (1 - alpha) * targets
        return -(torch.log_softmax(logits, dim=1) * targets).sum(dim=1).mean()
