"""Contrastive batches larger than memory, with the gradient of the one batch (GradCache, Gao et al., arXiv 2101.06983).

Every clip is encoded twice. The first time without gradient, for the features of the whole batch, on which the loss and
its gradient are computed; the second time, micro-batch by micro-batch, to pass that gradient on to the weights.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import Tensor, nn

from litevl.distributed import world_size
from litevl.losses.retrieval import Cut, Features, RetrievalObjective, backpropagate, pad_alike, tensors_of
from litevl.models.features import TextFeatures, VideoFeatures

POSSIBLE = (DistributedType.NO, DistributedType.MULTI_GPU, DistributedType.MULTI_CPU)


def require_cacheable(objective: nn.Module, accelerator: Accelerator) -> None:
    """Checks that a step of this objective can be cached.

    Raises:
        ValueError: it is not contrastive, or the weights are sharded.
    """
    if not isinstance(objective, RetrievalObjective):
        raise ValueError(
            f"gradient_cache: expected contrastive training (retrieval), got {type(objective).__name__}, whose "
            "micro-batches add up to the one batch without it; leave it out"
        )
    if accelerator.distributed_type not in POSSIBLE:
        raise ValueError(
            f"gradient_cache: expected whole weights on every process, got {accelerator.distributed_type.value}; leave "
            "one of the two out"
        )


def cached_gradients(
    objective: RetrievalObjective,
    parts: Sequence[dict[str, Any]],
    accelerator: Accelerator,
    step: int,
    epochs_done: float,
    seed_part: Callable[[int], None],
) -> dict[str, Tensor]:
    """Adds the gradient of one batch to the weights, of which a micro-batch's activations are held at a time.

    Args:
        objective: as it was before the accelerator prepared it.
        parts: the batch's micro-batches, as `RetrievalObjective.forward` takes them.
        accelerator: of this run.
        step: number of the batch.
        epochs_done: how far the run is.
        seed_part: makes what is drawn in the encoding of a micro-batch, by its number, the same each time.

    Returns:
        The losses of the batch on this process, as the objective's forward gives them.
    """
    objective.begin_step()
    encoded: list[Features] = []
    taught: list[Features] = []
    with torch.no_grad(), accelerator.autocast():
        for number, part in enumerate(parts):
            teacher = objective.teach(part["pixels"], part["tokens"])
            seed_part(number)
            encoded.append(objective.model(part["pixels"], part["tokens"]))
            taught += [] if teacher is None else [teacher]
    cut = Cut(*_joined(encoded))
    video, text = cut.features
    ids = torch.cat([part["video_ids"] for part in parts])
    teacher = _joined(taught) if taught else None
    rows = len(parts[0]["video_ids"])
    losses: dict[str, Tensor] = {}
    with accelerator.autocast():
        for name, value in objective.terms(video, text, ids, teacher, step, epochs_done, rows):
            losses[name] = losses.get(name, torch.zeros_like(value)) + value.detach()
            accelerator.backward(objective.weight(name) * value)
    gradients = [None if copy.grad is None else copy.grad.split(rows) for copy in cut.copies]
    for number, part in enumerate(parts):
        seed_part(number)
        with accelerator.autocast():
            again = objective.model(part["pixels"], part["tokens"])
        backpropagate(tensors_of(*again), [None if each is None else each[number] for each in gradients])
    _average(objective)
    total = torch.stack([objective.weight(name) * value for name, value in losses.items()]).sum()
    return {"loss": total, **losses}


def _joined(parts: Sequence[Features]) -> Features:
    """One batch of features, its texts padded alike on every process."""
    video = VideoFeatures.cat([video for video, _ in parts])
    text = TextFeatures.cat([text for _, text in parts])
    return video, TextFeatures(pad_alike(text.tokens), text.hidden, text.embed)


def _average(objective: nn.Module) -> None:
    """The mean of the processes' gradients, as DistributedDataParallel takes it in a backward pass of its own."""
    if world_size() == 1:
        return
    for parameter in objective.parameters():
        if parameter.grad is not None:
            dist.all_reduce(parameter.grad)
            parameter.grad /= world_size()
