"""The order of training rows: seeded, the same for any number of processes and workers, and resumable anywhere."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Int
from torch.utils.data import Sampler

Row = tuple[int, int]
"""Epoch and row. The epoch travels with the row, so that workers that live on from epoch to epoch know it."""


class EpochSampler(Sampler[list[Row]]):
    """Batches of (epoch, row), for `DataLoader(dataset, batch_sampler=...)` over a `CaptionedVideoDataset`.

    Each epoch is a permutation that follows from (seed, epoch) alone, cut into global batches; process r of n takes the
    r-th of n equal slices of each. So 1 process with 8 rows sees the batches that 2 with 4 rows each see together.
    Accelerate must not shard it again: do not `prepare` the loader.

    Args:
        num_rows: the dataset's length.
        global_batch_size: rows of a batch over all processes.
        seed: of the order.
        num_processes: how many share a batch.
        process_index: which of them this is.
        shuffle: permute; else the dataset's order.
        drop_last: leave out what does not fill a global batch at an epoch's end.
        similar: for each row, rows like it, the most alike first; a batch is then made of groups of rows that are
            alike, which are each other's hard negatives, instead of rows at random.
        group: rows in such a group.

    Raises:
        ValueError: counts that do not fit each other, or not one batch.
    """

    def __init__(
        self,
        num_rows: int,
        global_batch_size: int,
        *,
        seed: int = 0,
        num_processes: int = 1,
        process_index: int = 0,
        shuffle: bool = True,
        drop_last: bool = True,
        similar: Int[np.ndarray, "rows neighbours"] | None = None,
        group: int = 1,
    ):
        if not 0 <= process_index < num_processes:
            raise ValueError(f"expected process_index below num_processes={num_processes}, got {process_index}")
        if global_batch_size < 1 or global_batch_size % num_processes:
            raise ValueError(
                f"expected a global batch size that {num_processes} processes share equally, got {global_batch_size}"
            )
        last = num_rows % global_batch_size
        if num_rows < 1 or (drop_last and num_rows < global_batch_size):
            raise ValueError(
                f"{num_rows} training rows do not fill one batch of {global_batch_size}; lower it (--batch-size)"
            )
        if not drop_last and 0 < last < num_processes:
            raise ValueError(f"the last batch has {last} rows, too few for {num_processes} processes; drop it")
        self._num_rows, self._batch_size, self._seed = num_rows, global_batch_size, seed
        self._num_processes, self._process_index = num_processes, process_index
        self._shuffle, self._similar, self._group = shuffle, similar, group
        self.batches_per_epoch = num_rows // global_batch_size + (0 if drop_last or not last else 1)
        self._epoch = self._start_batch = 0

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None:
        """Choose what the next iteration gives.

        Args:
            epoch: counted from 0.
            start_batch: how many of its batches have been trained on already, to resume within it.

        Raises:
            ValueError: negative, or more batches than there are.
        """
        if epoch < 0 or not 0 <= start_batch <= self.batches_per_epoch:
            raise ValueError(
                f"expected an epoch from 0 and a batch of 0..{self.batches_per_epoch}, got {epoch} and {start_batch}"
            )
        self._epoch, self._start_batch = epoch, start_batch

    def __len__(self) -> int:
        """Batches that the next iteration gives."""
        return self.batches_per_epoch - self._start_batch

    def __iter__(self) -> Iterator[list[Row]]:
        """This process's part of each batch from `start_batch` on."""
        epoch = self._epoch
        rows = np.arange(self._num_rows)
        if self._shuffle:
            rows = np.random.default_rng([self._seed, epoch]).permutation(self._num_rows)
        if self._similar is not None:
            rows = _in_groups(rows, self._similar, self._group)
        for number in range(self._start_batch, self.batches_per_epoch):
            batch = rows[number * self._batch_size : (number + 1) * self._batch_size]
            first, last = (len(batch) * (self._process_index + part) // self._num_processes for part in (0, 1))
            yield [(epoch, int(row)) for row in batch[first:last]]


def _in_groups(
    rows: Int[np.ndarray, " rows"], similar: Int[np.ndarray, "rows neighbours"], group: int
) -> Int[np.ndarray, " rows"]:
    """Reorders rows so that each that is still free is followed by the free rows most like it; each row once."""
    free = np.ones(len(rows), dtype=bool)
    order: list[int] = []
    for row in rows.tolist():
        if free[row]:
            free[row] = False
            chosen = [other for other in similar[row].tolist() if free[other]][: group - 1]
            free[chosen] = False
            order += [row, *chosen]
    return np.array(order, dtype=rows.dtype)
