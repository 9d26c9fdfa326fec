"""A process that decodes clips for a DataLoader's worker: see `forked`, why.

The worker only waits, so that order, batches and workers stay the DataLoader's. A clip comes back through memory that
both have: tenths of a millisecond beside the milliseconds of decoding.
"""

import mmap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import get_worker_info

from litevl.data.forked import Forked, can_fork


def decodes_apart() -> bool:
    """Whether this process is one that another should decode for: a DataLoader's worker, where there is `fork`.

    Not the run's own process, which decodes where there are no workers: that is for a debugger.
    """
    return can_fork() and get_worker_info() is not None


class DecodingProcess(Forked):
    """Calls a function that decodes a clip apart.

    Args:
        decode: from a path and more to the clip; of what it raises, `VideoError` goes on to the caller as it is.
        shape: of the largest clip, which others are the first frames of.
        seconds: how long one clip may take.
    """

    def __init__(self, decode: Callable[..., Tensor], shape: tuple[int, ...], seconds: float):
        super().__init__(self._decode_into_memory, seconds, "--data.decode-timeout")
        self._decode = decode
        size = int(np.prod(shape))
        self._memory = mmap.mmap(-1, max(size, 1))
        self._clip = torch.from_numpy(np.frombuffer(self._memory, np.uint8)[:size].reshape(shape))

    def __call__(self, path: Path, *arguments: Any) -> UInt8[Tensor, "time 3 size size"]:
        """The clip; see `Forked`."""
        return self._clip[: super().__call__(path, *arguments)].clone()

    def _decode_into_memory(self, path: Path, *arguments: Any) -> int:
        clip = self._decode(path, *arguments)
        self._clip[: len(clip)] = clip
        return len(clip)
