"""The most memory that a model takes while it encodes a batch of clips, its weights counted.

On a GPU that is what torch's allocator held at most. On a CPU nothing but the operating system knows, so a process of
its own builds the model and encodes; what it held before it built the model is not counted.
"""

import multiprocessing
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from .subject import Subject

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Memory:
    """The most memory that was taken."""

    bytes: int
    how: str
    """What was measured."""
    clips: int
    """That were encoded at once."""


def measure_memory(build: Callable[[torch.device], Subject], subject: Subject, before: int, clips: int) -> Memory:
    """The most memory that a model takes to encode clips.

    Args:
        build: makes the model; on a CPU called in a process of its own, so it must be picklable.
        subject: the model that it made.
        before: bytes that were allocated on a GPU when it was not there yet.
        clips: how many are encoded at once.
    """
    if subject.device.type == "cuda":
        return Memory(_on_gpu(subject, clips) - before, "allocated on the GPU", clips)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return Memory(*pool.apply(_in_process, (build, clips, torch.get_num_threads())), clips)


def measure_peak(build: Callable[[], Callable[[], Any]], device: torch.device) -> tuple[int, str]:
    """The most memory that a work takes when it is done for the second time, what it is made of counted.

    Args:
        build: makes the work; called in a process of its own, so it must be picklable.
        device: where the work is done.

    Returns:
        Bytes, and how they were measured.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_second_time, (build, device.type == "cuda", torch.get_num_threads()))


def _second_time(build: Callable[[], Callable[[], Any]], on_gpu: bool, threads: int) -> tuple[int, str]:
    torch.set_num_threads(threads)
    warm = torch.nn.Linear(8, 8)(torch.zeros(8, 8))  # the libraries' own buffers are no work's
    before = _resident()
    work = build()
    work()  # what is made on first use, such as an optimizer's state, is there from here on
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
        work()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated(), "allocated on the GPU"
    exact = _forget_peak()
    work()
    del warm
    return peak() - before, "resident in a process of its own" + ("" if exact else ", loading included")


@torch.inference_mode()
def _on_gpu(subject: Subject, clips: int) -> int:
    pixels = subject.clips(clips)
    torch.cuda.reset_peak_memory_stats(subject.device)
    subject.encode(pixels)
    torch.cuda.synchronize(subject.device)
    return torch.cuda.max_memory_allocated(subject.device)


@torch.inference_mode()
def _in_process(build: Callable[[torch.device], Subject], clips: int, threads: int) -> tuple[int, str]:
    torch.set_num_threads(threads)
    warm = torch.nn.Linear(8, 8)(torch.zeros(8, 8))  # the libraries' own buffers are no model's
    before = _resident()
    subject = build(torch.device("cpu"))
    exact = _forget_peak()
    subject.encode(subject.clips(clips))
    del warm
    how = "resident in a process of its own" + ("" if exact else ", loading included")
    return peak() - before, how


def _forget_peak() -> bool:
    """Starts the peak anew, where the system can (Linux); loading may take more memory than encoding."""
    try:
        CLEAR.write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def _resident() -> int:
    """Bytes in memory now; where the system does not say, the most until now."""
    return _status("VmRSS") or peak()


def peak() -> int:
    """The most bytes in memory so far."""
    held = _status("VmHWM")
    if held is not None:
        return held
    import resource  # not there on Windows

    usage: Any = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return usage if sys.platform == "darwin" else 1024 * usage  # bytes there, kibibytes elsewhere


def _status(key: str) -> int | None:
    try:
        lines = STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{key}:")), None)
