"""How long models take to encode clips, timed in turn, so that what else the machine does falls on all of them."""

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .subject import Subject

FEWEST_ROUNDS = 3


@dataclass(frozen=True)
class Latency:
    """The time to encode a batch of clips."""

    milliseconds: float
    """The median over rounds."""
    ratio: float
    """To the reference model: the median of the rounds' ratios, which varies less than the times do."""
    rounds: int


@torch.inference_mode()
def measure_latency(
    subjects: Mapping[str, Subject], reference: str, batch: int, rounds: int, seconds: float
) -> dict[str, Latency]:
    """Times every model in every round.

    Args:
        subjects: by name, on their device.
        reference: the name of the model that ratios are to.
        batch: clips that are encoded at a time.
        rounds: how many; one more warms up.
        seconds: after so many no further round starts, from the third on.
    """
    for subject in subjects.values():
        subject.model.eval()
    clips = {name: subject.clips(batch) for name, subject in subjects.items()}
    times: dict[str, list[float]] = {name: [] for name in subjects}
    start = time.perf_counter()
    for number in range(rounds + 1):
        if number > FEWEST_ROUNDS and time.perf_counter() - start > seconds:
            break
        for name, subject in subjects.items():
            took = _time(subject, clips[name])
            if number:  # the first round warms up
                times[name].append(took)
    return {
        name: Latency(
            1000 * statistics.median(own),
            statistics.median(mine / other for mine, other in zip(own, times[reference], strict=True)),
            len(own),
        )
        for name, own in times.items()
    }


def _time(subject: Subject, clips: Tensor) -> float:
    synchronise = torch.cuda.synchronize if clips.is_cuda else lambda: None
    synchronise()
    start = time.perf_counter()
    subject.encode(clips)
    synchronise()
    return time.perf_counter() - start
