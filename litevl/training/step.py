"""One step of training: micro-batches, their gradient, and the guard against a broken loss."""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from .config import TrainingConfig
from .gradient_cache import cached_gradients
from .sharding import average_whole, clip_gradients


@dataclass(frozen=True)
class Batch:
    """Inputs of the objective by name, on its device; the samples' names for error messages; its place in the epoch."""

    inputs: dict[str, Any]
    names: Sequence[str]
    number: int


class LossNotFinite(RuntimeError):  # noqa: N818 - the name says what happened
    """The loss or its gradient became NaN or infinite; the message names the step and the samples."""


def train_step(
    objective: nn.Module,
    optimizer: Optimizer,
    parts: Sequence[Batch],
    config: TrainingConfig,
    accelerator: Accelerator,
    step: int,
    epochs_done: float,
    seed: int,
) -> dict[str, float]:
    """Forward, backward and the optimizer's step; what is drawn in it follows from the seed and the step's number.

    Args:
        objective: see `fit`.
        optimizer: with the rate of this step.
        parts: the step's micro-batches.
        config: the loop's numbers.
        accelerator: of this run.
        step: number of the step in the run.
        epochs_done: how far the run is.
        seed: of the run.

    Returns:
        The losses of the global batch by name, whatever the number of processes.

    Raises:
        LossNotFinite: before the optimizer has changed anything.
    """

    def seed_part(part: int) -> None:
        number = step * config.accumulation + part
        torch.manual_seed(seed * 1_000_003 + number * accelerator.num_processes + accelerator.process_index)

    def require_finite(loss: Tensor, batches: Sequence[Batch]) -> None:
        if not torch.isfinite(loss):
            raise _not_finite("loss", loss, step, batches)

    sums: dict[str, float] = {}
    if config.gradient_cache:
        bare, inputs = accelerator.unwrap_model(objective), [batch.inputs for batch in parts]
        losses = cached_gradients(bare, inputs, accelerator, step, epochs_done, seed_part)
        require_finite(losses["loss"], parts)
        sums = {name: float(value) for name, value in losses.items()}
    else:
        for part, batch in enumerate(parts):
            seed_part(part)
            with nullcontext() if part == len(parts) - 1 else accelerator.no_sync(objective):
                number = step * config.accumulation + part
                with accelerator.autocast():
                    losses = objective(**batch.inputs, step=number, epochs_done=epochs_done)
                require_finite(losses["loss"], [batch])
                accelerator.backward(losses["loss"] / len(parts))
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach()) / len(parts)
    if accelerator.is_fsdp2:
        average_whole(objective)
    clip = clip_gradients if accelerator.is_fsdp2 else accelerator.clip_grad_norm_
    norm = clip([p for group in optimizer.param_groups for p in group["params"]], config.clip_norm or math.inf)
    # With fp16 an overflow is part of the game: the scaler leaves the step out and halves the scale.
    if accelerator.scaler is None and norm is not None and not torch.isfinite(norm):
        raise _not_finite("gradient", norm, step, parts)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    means = accelerator.reduce(torch.tensor(list(sums.values()), device=accelerator.device), reduction="mean")
    return dict(zip(sums, means.tolist(), strict=True))


def _not_finite(what: str, value: Tensor, step: int, batches: Sequence[Batch]) -> LossNotFinite:
    names = ", ".join(name for batch in batches for name in batch.names)
    return LossNotFinite(
        f"the {what} is {value.item()} at step {step}; its samples: {names}. The state on disk is of before; look at "
        "the samples, or start another run with a lower --lr or with --precision no"
    )
