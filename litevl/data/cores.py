"""How many cores there are to decode on, and who uses them."""

import os
import sys
from typing import Any

MOST = 32
"""Workers at most by default: each holds a few hundred megabytes, and two batches."""
SHARED = False
"""Whether others decode beside this process, which `Forked` and `FreshProcess` tell those that they start."""


def decoding_workers(asked: int | None, accelerated: bool) -> int:
    """Processes that decode for one training process.

    By default they keep every core busy that is this process's: all that it may run on, shared with the other training
    processes of the machine, one left for itself. Where there is no GPU the model computes on the same cores, and
    two workers are ahead of it.

    Args:
        asked: what a user said, if anything.
        accelerated: the model computes elsewhere than on the cores.
    """
    if asked is not None:
        return asked
    share = max(usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")), 1)
    return min(max(share - 1, 1), MOST) if accelerated else min(share, 2)


def usable_cores() -> int:
    """Cores that this process may run on, which in a container or a batch job are fewer than the machine's."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def decoding_threads() -> int:
    """Threads for one decoder: 1 in a process whose siblings use the other cores; else 0, FFmpeg chooses."""
    if SHARED:
        return 1
    # Whoever is a worker has this imported; who only looks at files need not wait for torch.
    data: Any = sys.modules.get("torch.utils.data")
    return 0 if data is None or data.get_worker_info() is None else 1
