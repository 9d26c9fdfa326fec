"""The language-model loss of texts, and its mean over the batches of all processes."""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from litevl.distributed import world_size


def language_loss(
    logits: Float[Tensor, "texts length words"],
    following: Int[Tensor, "texts length"],
    predicted: Float[Tensor, "texts length"] | Int[Tensor, "texts length"],
    label_smoothing: float = 0.0,
) -> Float[Tensor, "texts"]:
    """Cross-entropy of each text, summed over its tokens.

    Args:
        logits: of the next token.
        following: the next tokens.
        predicted: 1 on tokens that count, 0 on prompt and padding.
        label_smoothing: share of the target that is spread over all words; BLIP's decoder uses 0.1.
    """
    each = F.cross_entropy(
        logits.flatten(0, 1).float(), following.flatten(), reduction="none", label_smoothing=label_smoothing
    )
    return (each.view(following.shape) * predicted).sum(dim=1)


def global_mean(total: Float[Tensor, ""], count: Int[Tensor, ""] | Float[Tensor, ""]) -> Float[Tensor, ""]:
    """A sum over this process's batch as its part of the mean over all processes' batches.

    Processes may hold different numbers of questions or tokens; the mean that DistributedDataParallel takes of their
    gradients is then that of the whole batch in one process.
    """
    everywhere = count.detach().clone().float()
    if world_size() > 1:
        dist.all_reduce(everywhere)
    return total * world_size() / torch.clamp(everywhere, min=1.0)
