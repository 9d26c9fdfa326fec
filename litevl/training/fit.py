"""The training loop that every recipe shares.

Batch b of epoch e is the same in every run of one seed, and what is drawn at a step follows from the seed and the step,
so a resumed run goes on as if it had never stopped.
"""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from tqdm import tqdm

from .checkpoint import Progress, save_state
from .gradient_cache import cached_gradients, require_cacheable
from .launch import Precision, Tracker, log_metrics
from .run_folder import RunFolder
from .sharding import average_whole, clip_gradients


@dataclass(frozen=True)
class TrainingConfig:
    """How long, how fast and in what batches.

    Raises:
        ValueError: for a batch that does not divide by its micro-batches, or numbers out of range.
    """

    epochs: int = 5
    """Passes over the training videos; 0 evaluates what the run starts from, where that can do the task."""
    batch_size: int = 64
    """Clips per optimizer step, over all processes and micro-batches together."""
    accumulation: int = 1
    """Micro-batches per step; each is its own contrastive batch, so that alone adds no negatives."""
    gradient_cache: bool = False
    """Retrieval: contrast all clips of a step with each other, across micro-batches, by encoding each of them twice."""
    lr: float = 1e-4
    """Peak learning rate. Fresh adapters want 1e-4 to 1e-3; a whole BLIP about 1e-5."""
    weight_decay: float = 0.05
    """AdamW's decay, on matrices only."""
    beta2: float = 0.999
    """AdamW's memory of squared gradients."""
    warmup: float = 0.1
    """Share of all steps over which the rate rises from zero; after it follows half a cosine to zero."""
    clip_norm: float = 1.0
    """Largest norm of the gradient."""
    precision: Precision | None = None
    """Mixed precision; by default the launcher's, else bf16 where a GPU has it."""
    gradient_checkpointing: bool = False
    """Recompute the vision encoder's activations in the backward pass: less memory, more time."""
    select_on: Literal["val", "test", "last"] | None = None
    """Keep the epoch that is best on this split, or the last; by default `val` where there is one, else `last`."""
    tracker: Tracker = "none"
    """Also log to TensorBoard or Weights & Biases."""

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.batch_size < 1 or self.accumulation < 1 or not 0 <= self.warmup <= 1:
            raise ValueError("expected epochs >= 0, batch_size >= 1, accumulation >= 1 and warmup from 0 to 1")
        if self.batch_size % self.accumulation:
            raise ValueError(f"batch_size {self.batch_size} does not divide into {self.accumulation} micro-batches")

    def local_batch_size(self, processes: int) -> int:
        """Clips that one process takes at a time.

        Raises:
            ValueError: if the batch does not divide by processes times micro-batches.
        """
        parts = processes * self.accumulation
        if self.batch_size % parts:
            raise ValueError(
                f"batch_size {self.batch_size} is over all processes; expected a multiple of {processes} processes x "
                f"{self.accumulation} micro-batches = {parts}"
            )
        return self.batch_size // parts


class LossNotFinite(RuntimeError):  # noqa: N818 - the name says what happened
    """The loss became NaN or infinite; the message names the step and the samples."""


def learning_rate(config: TrainingConfig, step: int, total: int) -> float:
    """The rate of step `step` (from 0) of `total`: linear warm-up, then half a cosine to zero."""
    warmup = math.ceil(config.warmup * total)
    if step < warmup:
        return config.lr * (step + 1) / warmup
    return config.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(total - warmup, 1)))


def make_optimizer(objective: nn.Module, config: TrainingConfig) -> Optimizer:
    """AdamW over what is trainable; vectors and scalars are not decayed.

    Raises:
        ValueError: if nothing is trainable.
    """
    trainable = [p for p in objective.parameters() if p.requires_grad]
    if not trainable:
        raise ValueError("nothing is trainable: plug adapters into some layer, or set train='all'")
    matrices = [p for p in trainable if p.ndim >= 2]
    vectors = [p for p in trainable if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return AdamW([group for group in groups if group["params"]], lr=config.lr, betas=(0.9, config.beta2))


@dataclass(frozen=True)
class Batch:
    """Inputs of the objective by name, on its device, and the names of the samples for error messages."""

    inputs: dict[str, Any]
    names: Sequence[str]


@runtime_checkable
class Batches(Protocol):
    """The training batches of one process, the same in every run of one seed."""

    per_epoch: int

    def epoch(self, epoch: int, start: int) -> Iterable[Batch]:
        """The batches of an epoch from batch `start` on."""


def fit(
    objective: nn.Module,
    optimizer: Optimizer,
    batches: Batches,
    config: TrainingConfig,
    accelerator: Accelerator,
    run: RunFolder,
    progress: Progress,
    seed: int,
) -> Iterator[Progress]:
    """Trains `objective` in place from where `progress` stands, and yields after each epoch; then it saves the state.

    Args:
        objective: prepared by the accelerator; called with a batch's inputs, `step` and `epochs_done`, it gives `loss`
            and its parts.
        optimizer: prepared by the accelerator.
        batches: micro-batches by epoch.
        config: the loop's numbers.
        accelerator: of this run.
        run: takes the log, one line a step, and the state after each epoch.
        progress: where to start; moved as the run goes. What the caller writes into it between epochs is saved with it.
        seed: of the run.

    Raises:
        LossNotFinite: names the step and the samples; the state of the epoch before stays on disk.
        ValueError: if an epoch has less than one batch, or the objective's gradient can't be cached.
    """
    steps_per_epoch = batches.per_epoch // config.accumulation
    if steps_per_epoch == 0 and config.epochs:
        raise ValueError(
            f"an epoch has fewer clips than one batch of {config.batch_size}; lower batch_size or add training videos"
        )
    if config.gradient_cache:
        require_cacheable(accelerator.unwrap_model(objective), accelerator)
    total = steps_per_epoch * config.epochs
    bar = tqdm(total=total, initial=progress.step, unit="step", desc="train", disable=not accelerator.is_main_process)
    with bar:
        while progress.epoch < config.epochs:
            objective.train()
            began = time.perf_counter()
            micro = iter(batches.epoch(progress.epoch, progress.batch))
            while progress.batch < steps_per_epoch * config.accumulation:
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(config, progress.step, total)
                parts = list(islice(micro, config.accumulation))
                if len(parts) < config.accumulation:
                    break  # batches that lost all their clips to unreadable files leave the epoch shorter
                epochs_done = progress.step / steps_per_epoch
                losses = _step(objective, optimizer, parts, config, accelerator, progress.step, epochs_done, seed)
                progress.batch += config.accumulation
                progress.step += 1
                bar.update()
                bar.set_postfix({name: f"{value:.3f}" for name, value in losses.items()})
                record = {"step": progress.step, "lr": optimizer.param_groups[0]["lr"], **losses}
                run.log(record)
                log_metrics(accelerator, record, progress.step)
            progress.epoch, progress.batch = progress.epoch + 1, 0
            progress.seconds += time.perf_counter() - began
            yield progress
            save_state(run.path, accelerator.unwrap_model(objective), optimizer, progress, accelerator)


def _step(
    objective: nn.Module,
    optimizer: Optimizer,
    parts: Sequence[Batch],
    config: TrainingConfig,
    accelerator: Accelerator,
    step: int,
    epochs_done: float,
    seed: int,
) -> dict[str, float]:
    def seed_part(part: int) -> None:
        number = step * config.accumulation + part
        torch.manual_seed(seed * 1_000_003 + number * accelerator.num_processes + accelerator.process_index)

    def require_finite(loss: Tensor, batches: Sequence[Batch]) -> None:
        if not torch.isfinite(loss):
            names = ", ".join(name for batch in batches for name in batch.names)
            raise LossNotFinite(f"the loss is {loss.item()} at step {step}; its samples: {names}")

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
    if config.clip_norm:
        clip = clip_gradients if accelerator.is_fsdp2 else accelerator.clip_grad_norm_
        clip([p for group in optimizer.param_groups for p in group["params"]], config.clip_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    # What is logged is the loss of the global batch, whatever the number of processes.
    means = accelerator.reduce(torch.tensor(list(sums.values()), device=accelerator.device), reduction="mean")
    return dict(zip(sums, means.tolist(), strict=True))
