"""Starting Accelerate so that a run is what its config says, whatever the environment holds.

Accelerate reads environment variables that beat arguments or stand in for them, and some launches run fewer processes
than were asked for without a word. Here the config decides, and whatever was asked elsewhere is said.
"""

import os
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import psutil
import torch
from accelerate import Accelerator
from accelerate.commands.config.config_args import default_config_file, load_config_from_file
from accelerate.utils import DistributedDataParallelKwargs, GradientAccumulationPlugin, InitProcessGroupKwargs

from .sharding import start_sharding

Precision = Literal["no", "bf16", "fp16"]
Tracker = Literal["none", "tensorboard", "wandb"]


def start_accelerator(
    precision: Precision | None,
    accumulation: int,
    tracker: Tracker,
    *,
    unused_parameters: bool = False,
    timeout: float = 30.0,
) -> tuple[Accelerator, tuple[str, ...]]:
    """Makes the Accelerator of a run.

    Args:
        precision: None takes the launcher's, else bf16 on a GPU that has it and float32 elsewhere.
        accumulation: micro-batches per step; only compared with the environment here, the loop does it.
        tracker: what `accelerator.log` writes to.
        unused_parameters: some trainable parameters take no part in the loss.
        timeout: minutes that a process waits for the others.

    Returns:
        The accelerator, and notes for the user.

    Raises:
        ValueError: the tracker is not installed, or weights are to be sharded in a way that is not ours.
    """
    if tracker != "none" and find_spec(tracker) is None:
        raise ValueError(f"tracker: {tracker} is not installed; pip install {tracker}, or use --tracker none")
    notes = []
    chosen, note = _choose_precision(precision)
    notes += note
    asked = os.environ.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "")
    if asked not in ("", str(accumulation)):
        notes.append(
            f"ACCELERATE_GRADIENT_ACCUMULATION_STEPS={asked} is ignored: the config says accumulation={accumulation}"
        )
    compiler = os.environ.get("ACCELERATE_DYNAMO_BACKEND", "no").lower()
    if compiler != "no":
        notes.append(f"ACCELERATE_DYNAMO_BACKEND={compiler}: the model is compiled, as the launcher asks")
    accelerator = Accelerator(
        mixed_precision=chosen,
        cpu=not torch.accelerator.is_available(),
        # Given as a plugin it can't be overridden by the environment; the loop divides the loss itself.
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        log_with=None if tracker == "none" else tracker,
        # A tracker wants a folder now; the run's own is set once all processes know its name.
        project_dir=".",
        kwargs_handlers=[
            DistributedDataParallelKwargs(broadcast_buffers=False, find_unused_parameters=unused_parameters),
            # The microsecond: what equals Accelerate's default is not handed on, and another one is taken for gloo.
            InitProcessGroupKwargs(timeout=timedelta(minutes=timeout, microseconds=1)),
        ],
    )
    notes += _compare_processes(accelerator.num_processes)
    notes += start_sharding(accelerator)
    if accelerator.device.type == "cpu":
        notes += _use_cores(accelerator.num_processes)
    return accelerator, tuple(notes)


def _choose_precision(precision: Precision | None) -> tuple[Precision, list[str]]:
    launched = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if precision is not None:
        differs = launched not in ("no", precision)
        return precision, [f"the launcher asks for {launched}; the config says {precision}, which is used"] * differs
    if launched in ("bf16", "fp16"):
        return launched, [f"mixed precision {launched}, as the launcher asks"]  # type: ignore[return-value]
    notes = [f"mixed precision {launched} is not one of no, bf16 and fp16: it is ignored"] * (launched != "no")
    on_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
    capable = not on_cpu and torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return ("bf16" if capable else "no"), notes


def _compare_processes(running: int) -> list[str]:
    asked = _asked_processes()
    if asked is None or asked <= running:
        return []
    return [
        f"{asked} processes were asked for, {running} runs: without MPI `accelerate launch` starts one on a CPU; "
        f"use: torchrun --standalone --nproc_per_node {asked} <recipe>"
    ]


def _asked_processes() -> int | None:
    # The launcher hands its --num_processes on to no one; its own command line is the only trace.
    try:
        words = psutil.Process(os.getppid()).cmdline()
    except psutil.Error:
        return None
    if not any("accelerate" in word for word in words):
        return None
    for position, word in enumerate(words):
        name, _, value = word.partition("=")
        if name.replace("-", "_") == "__num_processes":
            value = value or (words[position + 1] if position + 1 < len(words) else "")
            return int(value) if value.isdigit() else None
    if Path(default_config_file).is_file():
        return load_config_from_file(None).num_processes
    return None


def _use_cores(processes: int) -> list[str]:
    # `accelerate launch` exports OMP_NUM_THREADS=1 on a CPU; torchrun does the same for several processes. Without a
    # launcher the variable is the user's own.
    if not {"ACCELERATE_MIXED_PRECISION", "TORCHELASTIC_RUN_ID"} & os.environ.keys():
        return []
    threads = max(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1), 1)
    threads = max(threads // processes, 1)
    if torch.get_num_threads() == threads:
        return []
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    return [f"{threads} CPU threads per process (the launcher had set {before})"]


def log_metrics(accelerator: Accelerator, values: dict[str, Any], step: int) -> None:
    """Sends numbers to the tracker, if the run has one."""
    accelerator.log({name: value for name, value in values.items() if isinstance(value, int | float)}, step=step)
