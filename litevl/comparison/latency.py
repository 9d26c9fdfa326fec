"""How long works take, timed in turn, so that what else the machine does falls on all of them."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from .subject import Subject

FEWEST_ROUNDS = 3


@dataclass(frozen=True)
class Latency:
    """How long a work takes."""

    milliseconds: float
    """The median over rounds."""
    ratio: float
    """To the reference: the median of the rounds' ratios, which varies less than the times do."""
    quartiles: tuple[float, float]
    """Of the rounds' ratios, the lower and the upper."""
    rounds: int


@torch.inference_mode()
def measure_latency(
    subjects: Mapping[str, Subject], reference: str, batch: int, rounds: int, seconds: float
) -> dict[str, Latency]:
    """Times models that encode clips.

    Args:
        subjects: by name, on their device.
        reference: the name of the model that ratios are to.
        batch: clips that are encoded at a time.
        rounds: see `time_in_turn`.
        seconds: likewise.
    """
    works: dict[str, Callable[[], Any]] = {}
    for name, subject in subjects.items():
        subject.model.eval()
        works[name] = partial(subject.encode, subject.clips(batch))
    device = next(iter(subjects.values())).device
    return time_in_turn(works, reference, device, rounds, seconds)


def time_in_turn(
    works: Mapping[str, Callable[[], Any]], reference: str, device: torch.device, rounds: int, seconds: float
) -> dict[str, Latency]:
    """Does every work once in every round, and times it.

    Args:
        works: by name.
        reference: the name of that which ratios are to.
        device: where they run.
        rounds: how many; one more warms up.
        seconds: after so many no further round starts, from the third on.
    """
    times: dict[str, list[float]] = {name: [] for name in works}
    start = time.perf_counter()
    for number in range(rounds + 1):
        if number > FEWEST_ROUNDS and time.perf_counter() - start > seconds:
            break
        for name, work in works.items():
            took = _time(work, device)
            if number:  # the first round warms up
                times[name].append(took)
    found = {}
    for name, own in times.items():
        ratios = [mine / other for mine, other in zip(own, times[reference], strict=True)]
        lower, _, upper = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
        found[name] = Latency(1000 * statistics.median(own), statistics.median(ratios), (lower, upper), len(own))
    return found


def _time(work: Callable[[], Any], device: torch.device) -> float:
    synchronise = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    synchronise()
    start = time.perf_counter()
    work()
    synchronise()
    return time.perf_counter() - start
