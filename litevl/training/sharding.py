"""Weights sharded over processes (FSDP2): each holds a part of every weight, of its gradient and of AdamW's moments.

A block's weights are gathered where it runs and given back after. What is computed is what DistributedDataParallel
computes, also in mixed precision: by autocast, on whole weights in their own precision. Evaluation and saving, where
each process goes at its own pace, take the weights whole (`whole_weights`).
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from torch import Tensor, nn
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule
from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy
from torch.distributed.tensor import DTensor, distribute_tensor

from litevl.losses import MomentumCopy

BLOCKS = ("BlipEncoderLayer", "BlipTextLayer")
"""The classes whose weights are gathered together; all others are gathered once a step."""


def start_sharding(accelerator: Accelerator) -> list[str]:
    """Lets the launcher's FSDP be FSDP2 as it is described above, also on CPUs, where Accelerate leaves it out.

    Returns:
        Notes for the user.

    Raises:
        ValueError: for settings of FSDP under which training would be another.
    """
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() != "true":
        return []
    if accelerator.num_processes == 1:
        return ["FSDP is asked for, and one process runs: nothing is sharded"]
    state: Any = accelerator.state
    if state.distributed_type == DistributedType.MULTI_CPU:
        # Both kinds of state hold it, and each new Accelerator or optimizer copies the one's to the other.
        state.fsdp_plugin = FullyShardedDataParallelPlugin()
        state.distributed_type = PartialState().distributed_type = DistributedType.FSDP
    plugin = state.fsdp_plugin
    expected = {
        "--fsdp_version 2": plugin.fsdp_version == 2,
        "no --fsdp_offload_params": not isinstance(plugin.cpu_offload, CPUOffloadPolicy),
        "--gradient-checkpointing of the recipe in place of --fsdp_activation_checkpointing": (
            not plugin.activation_checkpointing
        ),
        "--precision no or bf16": accelerator.mixed_precision in ("no", "bf16"),
    }
    if wrong := [name for name, there in expected.items() if not there]:
        raise ValueError(f"--use_fsdp: expected {', and '.join(wrong)}")
    # Every process loads the backbone itself; autocast rounds where it does without sharding.
    plugin.cpu_ram_efficient_loading, plugin.mixed_precision_policy = False, None
    return [f"weights are sharded over {accelerator.num_processes} processes (FSDP2)"]


def plan_shards(objective: nn.Module, accelerator: Accelerator) -> None:
    """Says which modules are gathered together, and which stay whole, before `accelerator.prepare`.

    Raises:
        ValueError: for an objective whose weights can't be sharded.
    """
    if not accelerator.is_fsdp2:
        return
    if any(isinstance(module, MomentumCopy) for module in objective.modules()):
        raise ValueError("--use_fsdp: a momentum copy holds whole weights; leave --loss.momentum out, or --use_fsdp")
    kinds = [kind for kind in BLOCKS if any(type(module).__name__ == kind for module in objective.modules())]
    if not kinds:
        raise ValueError(
            f"--use_fsdp: expected a BLIP with {' or '.join(BLOCKS)}, got {type(objective).__name__} without; "
            "leave --use_fsdp out"
        )
    plugin: Any = accelerator.state.fsdp_plugin
    plugin.auto_wrap_policy = transformer_auto_wrap_policy
    plugin.transformer_cls_names_to_wrap = kinds
    # A scalar, such as the temperature, has no rows to share out.
    plugin.ignored_modules = [
        module for module in objective.modules() if any(p.ndim == 0 for p in module.parameters(recurse=False))
    ]


@contextmanager
def whole_weights(objective: nn.Module, accelerator: Accelerator) -> Iterator[None]:
    """Gathers all weights on every process, for as long as it is entered."""
    units = [module for module in objective.modules() if isinstance(module, FSDPModule)]
    for unit in units:
        unit.set_reshard_after_forward(False, recurse=False)
        unit.unshard()
    try:
        yield
    finally:
        for number, unit in enumerate(units):
            unit.reshard()
            # The outermost is needed first in the backward pass, so it stays gathered.
            again = number > 0 and accelerator.state.fsdp_plugin.reshard_after_forward
            unit.set_reshard_after_forward(again, recurse=False)


def average_whole(objective: nn.Module) -> None:
    """The mean of the processes' gradients, of the parameters that are not sharded."""
    for parameter in objective.parameters():
        if parameter.grad is not None and not isinstance(parameter, DTensor):
            dist.all_reduce(parameter.grad)
            parameter.grad /= dist.get_world_size()


@torch.no_grad()
def clip_gradients(parameters: Iterable[nn.Parameter], largest: float) -> Tensor:
    """`torch.nn.utils.clip_grad_norm_` of sharded and whole parameters together; gives the norm before."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    parts = [[g for g in gradients if isinstance(g, DTensor) is sharded] for sharded in (True, False)]
    norms = [whole(torch.nn.utils.get_total_norm(part)) for part in parts if part]
    norm = torch.stack(norms).norm()
    share = largest / (float(norm) + 1e-6)
    if share < 1:
        for gradient in gradients:
            gradient.mul_(share)
    return norm


def whole(tensor: Any) -> Any:
    """A sharded tensor gathered, which all processes must ask for together; anything else as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def sharded_like(tensor: Tensor, other: Tensor) -> Tensor:
    """A whole tensor sharded as another of its shape is, or on that one's device."""
    tensor = tensor.to(other.device)
    if not isinstance(other, DTensor) or tensor.shape != other.shape:
        return tensor
    return distribute_tensor(tensor, other.device_mesh, other.placements)
