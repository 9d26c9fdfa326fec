"""A decoder that hangs as decoders do, and whether a process has ended."""

import ctypes
from typing import Any

import psutil


def hang_in_c(*given: Any, **more: Any) -> None:
    """Waits for what never comes, with Python's lock held: no thread and no signal handler of the process runs."""
    ctypes.PyDLL(None).pause()


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
