"""How many cores there are to decode on, and who uses them."""

import os
import sys
from typing import Any


def usable_cores() -> int:
    """Cores that this process may run on, which in a container or a batch job are fewer than the machine's."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def decoding_threads() -> int:
    """Threads for one decoder: 1 in a DataLoader worker, whose siblings use the other cores; else 0, FFmpeg chooses."""
    # Whoever is a worker has this imported; who only looks at files need not wait for torch.
    data: Any = sys.modules.get("torch.utils.data")
    return 0 if data is None or data.get_worker_info() is None else 1
