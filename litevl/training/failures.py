"""What ends a run from outside, in words: no memory, no room on the disk, another process that is gone."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from errno import EDQUOT, EFBIG, ENOSPC
from pathlib import Path

import torch
import torch.distributed as dist

from litevl.distributed import rank, world_size

FULL = (ENOSPC, EDQUOT, EFBIG)
OF_MEMORY = ("can't allocate memory", "out of memory", "bad_alloc")
OF_PEERS = ("gloo", "Application timeout caused pair closure", "NCCL")
LATE = ("Timed out", "timed out", "Application timeout", "timeout")


class RunFailed(RuntimeError):  # noqa: N818 - the names say what happened
    """A run could not go on, through no fault of its settings or data; what was saved before is whole."""


class OutOfMemory(RunFailed):
    """The device or the machine has less memory than a batch takes; the message says what takes less."""


class DiskFull(RunFailed):
    """There is no room for what the run has to write."""


class ProcessLost(RunFailed):
    """Another process of the run has ended, or did not come in time."""


@contextmanager
def memory_in_words(doing: str, sizes: str, helps: list[str]) -> Iterator[None]:
    """Errors of memory within the block become `OutOfMemory`.

    Args:
        doing: what goes on in the block.
        sizes: what takes the memory: the batch, frames, precision.
        helps: what to try, the best first.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        known = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not known and not any(text in str(error) for text in OF_MEMORY):
            raise
        first = (str(error).splitlines() or ["MemoryError"])[0]
        raise OutOfMemory(f"out of memory in {doing}, with {sizes}; try {', '.join(helps)} ({first})") from error


@contextmanager
def surroundings_in_words(folder: Path, also: Sequence[Path], minutes: float) -> Iterator[None]:
    """Errors of a full disk and of lost processes within the block become `DiskFull` and `ProcessLost`.

    Args:
        folder: of the run.
        also: other folders that it writes to.
        minutes: that a process waits for the others.
    """
    try:
        yield
    except RunFailed:
        raise
    except Exception as error:
        if full := _of_disk(error):
            raise DiskFull(
                f"no room to write ({full}); free: {', '.join(map(_free, (folder, *also)))}. What was saved before is "
                f"whole: make room and go on with --resume --output-dir {folder}"
            ) from error
        if world_size() > 1 and _of_peers(error):
            raise ProcessLost(_lost(error, folder, minutes)) from error
        raise


def _of_disk(error: BaseException) -> BaseException | None:
    """The error of a full disk behind an error: torch raises others on top of it, and safetensors keeps its text."""
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, OSError) and behind.errno in FULL:
            return behind
        if any(f"os error {number})" in str(behind) for number in FULL):
            return behind
        behind = behind.__cause__ or behind.__context__
    return None


def _free(folder: Path) -> str:
    there = next(each for each in (folder, *folder.absolute().parents) if each.is_dir())
    return f"{shutil.disk_usage(there).free / 1e6:,.1f} MB on the disk of {folder}"


def _of_peers(error: Exception) -> bool:
    known = isinstance(error, dist.DistError)
    return known or (isinstance(error, RuntimeError) and any(text in str(error) for text in OF_PEERS))


def _lost(error: Exception, folder: Path, minutes: float) -> str:
    mine, first = f"process {rank()} of {world_size()}", str(error).splitlines()[0]
    if any(text in first for text in LATE):
        why = (
            f"waited {minutes:g} minutes for another one, which did not come: it hangs, or its share takes longer than "
            "--timeout allows"
        )
    else:
        why = "lost another one, which has ended: its own message says why, or it was killed, as for memory"
    return f"{mine} {why}. Go on from the last saved state with --resume --output-dir {folder} ({first})"
