"""What takes a run's memory and what takes less, for the message when there is none left."""

from dataclasses import fields
from typing import Any

from .task import Task

Words = tuple[str, list[str]]
"""The sizes, and what to try."""


def in_training(task: Task, model: Any) -> Words:
    """Of a training step."""
    training, processes = task.config.training, task.accelerator.num_processes
    clips = training.local_batch_size(processes)
    helps = []
    if clips > 1:
        helps.append(f"--accumulation {2 * training.accumulation} (smaller micro-batches)")
        if not training.gradient_cache and task.kind == "retrieval":
            helps[-1] += " with --gradient-cache, which keeps the negatives of the whole batch"
    if not training.gradient_checkpointing:
        helps.append("--gradient-checkpointing")
    batch = (
        f"--batch-size {training.batch_size} over {processes} processes and {training.accumulation} micro-batches, "
        f"{clips} clips at a time"
    )
    return f"{batch}, {_clips(task, model)}", [
        *helps,
        f"a smaller --batch-size than {training.batch_size}",
        *_less(task),
    ]


def in_evaluation(task: Task, model: Any) -> Words:
    """Of a batch of the evaluation."""
    settings: Any = task.config.evaluation
    sizes = [
        f"--evaluation.{name.replace('_', '-')} {getattr(settings, name)}"
        for name in (field.name for field in fields(settings))
        if name.endswith("batch_size") or name.endswith("_batch")
    ]
    batch = f"{' and '.join(sizes)} in each of {task.accelerator.num_processes} processes"
    return f"{batch}, {_clips(task, model)}", [f"less than {size}" for size in sizes] + _less(task)


def _clips(task: Task, model: Any) -> str:
    size, precision = model.image_size, task.accelerator.mixed_precision
    return f"{task.num_frames} frames of {size}x{size} pixels, precision {precision}"


def _less(task: Task) -> list[str]:
    model = task.config.model
    helps = [f"fewer frames than --{'adapter.' if hasattr(model, 'adapter') else ''}num-frames {task.num_frames}"]
    if hasattr(model, "image_size"):
        helps.append("a smaller --image-size")
    if task.accelerator.device.type != "cpu" and task.accelerator.mixed_precision == "no":
        helps.append("--precision bf16")
    return helps
