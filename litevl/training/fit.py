"""The training loop that every recipe shares.

Batch b of epoch e is the same in every run of one seed, and what is drawn at a step follows from the seed and the step,
so a resumed run goes on as if it had never stopped.
"""

import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Protocol, runtime_checkable

from accelerate import Accelerator
from torch import nn
from torch.optim import AdamW, Optimizer
from tqdm import tqdm

from litevl.distributed import largest

from .checkpoint import Progress, save_state
from .config import TrainingConfig
from .failures import ProcessLost
from .gradient_cache import require_cacheable
from .interruption import Interrupted, Interruption
from .launch import log_metrics
from .run_folder import RunFolder
from .step import Batch, train_step


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
    interruption: Interruption | None = None,
) -> Generator[Progress, None, None]:
    """Trains `objective` in place from where `progress` stands, and yields when an epoch's batches are done.

    The state is saved then, so that a run which ends in what the caller does with the epoch goes on with that; and
    again after it, with what the caller wrote into `progress`.

    Args:
        objective: prepared by the accelerator; called with a batch's inputs, `step` and `epochs_done`, it gives `loss`
            and its parts.
        optimizer: prepared by the accelerator.
        batches: micro-batches by epoch.
        config: the loop's numbers.
        accelerator: of this run.
        run: takes the log, one line a step, and the state.
        progress: where to start; moved as the run goes.
        seed: of the run.
        interruption: asked before each step whether to stop.

    Raises:
        LossNotFinite: names the step and the samples; the state saved last stays on disk.
        Interrupted: the run was told to stop; the state is saved.
        ValueError: if an epoch has less than one batch, or the objective's gradient can't be cached.
    """
    steps_per_epoch = batches.per_epoch // config.accumulation
    if steps_per_epoch == 0 and config.epochs:
        raise ValueError(
            f"an epoch has fewer clips than one batch of {config.batch_size}; lower batch_size or add training videos"
        )
    bare = accelerator.unwrap_model(objective)
    if config.gradient_cache:
        require_cacheable(bare, accelerator)
    run.rewind_log(progress.step)
    interruption = interruption or Interruption()
    save = partial(save_state, run.path, bare, optimizer, progress, accelerator)
    total, whole = steps_per_epoch * config.epochs, steps_per_epoch * config.accumulation
    bar = tqdm(total=total, initial=progress.step, unit="step", desc="train", disable=not accelerator.is_main_process)
    with bar:
        while progress.epoch < config.epochs:
            objective.train()
            with interruption.deferred():
                for parts in _steps(batches, whole, config, accelerator, progress, save, interruption):
                    for group in optimizer.param_groups:
                        group["lr"] = learning_rate(config, progress.step, total)
                    epochs_done = progress.step / steps_per_epoch
                    losses = train_step(
                        objective, optimizer, parts, config, accelerator, progress.step, epochs_done, seed
                    )
                    progress.batch, progress.step = parts[-1].number + 1, progress.step + 1
                    bar.update()
                    bar.set_postfix({name: f"{value:.3f}" for name, value in losses.items()})
                    record = {"step": progress.step, "lr": optimizer.param_groups[0]["lr"], **losses}
                    run.log(record)
                    log_metrics(accelerator, record, progress.step)
                progress.batch = whole
                save()
            yield progress
            progress.epoch, progress.batch = progress.epoch + 1, 0
            save()


def _steps(
    batches: Batches,
    whole: int,
    config: TrainingConfig,
    accelerator: Accelerator,
    progress: Progress,
    save: Callable[[], None],
    interruption: Interruption,
) -> Iterator[list[Batch]]:
    """The micro-batches of each step that is left of the epoch's `whole`.

    Between steps all processes agree on whether to save, to stop, or that one of them can't go on.
    """
    micro = iter(batches.epoch(progress.epoch, progress.batch) if progress.batch < whole else ())
    began = saved = time.perf_counter()
    while True:
        parts: list[Batch] = []
        failure = None
        try:
            if progress.batch < whole:
                parts = list(islice(micro, config.accumulation))
        except Exception as error:
            # A signal to the whole group also ends the workers that decode.
            failure = error
        late = 0 < 60 * config.save_every < time.perf_counter() - saved
        stop, due, failed = largest([interruption.asked(), late, failure is not None], accelerator.device)
        if stop or due or failed:
            save()
            saved = time.perf_counter()
        if stop:
            raise Interrupted(stop) from failure
        if failed:
            raise failure or ProcessLost("another process could not read its batch; its own message says why")
        if len(parts) < config.accumulation:
            return  # batches that lost all their clips to unreadable files leave the epoch shorter
        yield parts
        progress.seconds += time.perf_counter() - began
        began = time.perf_counter()
