"""Gathering over processes, with gradient, and nothing at all where there is one process."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Shaped
from torch import Tensor


def world_size() -> int:
    """The number of processes; 1 outside a distributed run."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


class _GatherWithGradient(torch.autograd.Function):
    """All-gather forward; backward sums the gradients of all processes and takes this one's slice.

    After the mean over processes that DistributedDataParallel takes, the gradient is that of the whole batch in one
    process.
    """

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        ctx.rows = tensor.shape[0]
        parts = [torch.empty_like(tensor) for _ in range(world_size())]
        dist.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[rank() * ctx.rows : (rank() + 1) * ctx.rows]


def gather_rows(tensor: Shaped[Tensor, "rows ..."]) -> Shaped[Tensor, "all_rows ..."]:
    """Concatenates the rows of every process in rank order, with gradient; all processes must hold as many rows."""
    return tensor if world_size() == 1 else _GatherWithGradient.apply(tensor)


def from_first(tensor: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
    """What the first process holds of a tensor that has one shape and type on all."""
    tensor = tensor.contiguous()
    if world_size() > 1:
        dist.broadcast(tensor, src=0)
    return tensor


def gather_objects(value: Any) -> list[Any]:
    """One Python object of every process, in rank order."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def largest(values: Sequence[int], device: torch.device) -> list[int]:
    """The largest of each number over all processes, which must hold as many."""
    if world_size() == 1:
        return list(values)
    tensor = torch.tensor([int(value) for value in values], device=device)
    dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
    return tensor.tolist()
