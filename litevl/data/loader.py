"""Clips decoded by worker processes that live on, into memory that a GPU copies from at once."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from litevl.data.cores import decoding_workers


def clip_loader(
    dataset: Dataset[Any],
    collate: Callable[[Any], Any],
    workers: int | None,
    device: torch.device,
    *,
    persistent: bool,
    **sampling: Any,
) -> DataLoader[Any]:
    """A loader of clips.

    Args:
        dataset: of clips, resized and as bytes: what a worker hands over is small.
        collate: makes a batch of them.
        workers: processes that decode, each on one thread; see `decoding_workers` for None.
        device: where the batches go.
        persistent: keep the workers from one pass to the next. They wait between the passes, at no cost but memory.
        sampling: `batch_size`, or `batch_sampler`.
    """
    number = decoding_workers(workers, device.type != "cpu")
    return DataLoader(
        dataset,
        num_workers=number,
        collate_fn=collate,
        persistent_workers=persistent and number > 0,
        pin_memory=device.type == "cuda",
        **sampling,
    )
