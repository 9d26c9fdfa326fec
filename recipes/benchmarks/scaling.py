"""Time per clip and process of a training step: one process on a core, against two on a core each.

    python recipes/benchmarks/scaling.py
    python recipes/benchmarks/scaling.py --cores 0 1 --markdown recipes/benchmarks/RESULTS.md

Every process takes the same number of clips, with one thread, bound to a core of its own; two share their gradients by
DistributedDataParallel over gloo and contrast and match the clips of both, so per clip they have more negatives to tell
apart. Two that know nothing of each other say what the machine itself takes for busy cores: memory and clock are
shared. The launches take turns, round by round, so that what else the machine does falls on all; each round's ratio is
of the median steps of its launches. Full-size LiteVL with random weights, the backbone frozen.
"""

import multiprocessing
import os
import shlex
import statistics
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import tyro
from side_by_side import Config, Row, report
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm
from train_step import make_objective

from litevl.training import TrainingConfig, make_optimizer

TITLE = "From one process to two"
REACH = 1.1
"""Of two together against two apart: what training adds to what the machine takes."""
STUCK = 900.0
"""Seconds after which a process that waits for another gives up."""
ALONE, APART, TOGETHER = "one process", "two processes, each its own model", "two processes together"


@dataclass(frozen=True)
class ScalingConfig(Config):
    """Where and how long."""

    rounds: int = 5
    """Rounds, each of which launches one process, two that know nothing of each other, and two together."""
    clips: int = 2
    """Clips of a step on each process."""
    steps: int = 3
    """Steps timed of each launch, after one that warms up."""
    cores: tuple[int, int] = (0, 1)
    """The processes' cores; one process takes the first."""


def main(config: ScalingConfig, command: str = "python recipes/benchmarks/scaling.py") -> list[Row]:
    """Measures, and prints the table."""
    config = replace(config, device="cpu")
    times: dict[str, list[float]] = {ALONE: [], APART: [], TOGETHER: []}
    for _ in tqdm(range(config.rounds), unit="round", desc="scale"):
        for way, found in times.items():
            found.append(launch(config, 1 if way == ALONE else 2, together=way == TOGETHER))
    rows = [compare(times, TOGETHER, APART, REACH), compare(times, APART, ALONE), compare(times, TOGETHER, ALONE)]
    said = (
        f"A step of {config.clips} clips on each process, one thread and core each (cores {config.cores}); the median "
        f"of {config.steps} steps a launch. Equal times are a ratio of 1."
    )
    report(TITLE, rows, config, command, said)
    return rows


def compare(times: dict[str, list[float]], work: str, against: str, reach: float | None = None) -> Row:
    """The ratio of one way of launching to another, round by round."""
    ratios = [ours / theirs for ours, theirs in zip(times[work], times[against], strict=True)]
    lower, _, upper = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    took = 1000 * statistics.median(times[work])
    return Row(work, against, statistics.median(ratios), (lower, upper), took, len(ratios), reach)


def launch(config: ScalingConfig, processes: int, *, together: bool) -> float:
    """Seconds of a step, the median, with so many processes, which train one model together or each its own."""
    with tempfile.TemporaryDirectory() as folder:
        context: Any = multiprocessing.get_context("spawn")
        told, ready = context.SimpleQueue(), context.Barrier(processes, timeout=STUCK)
        groups = [Path(folder) / str(0 if together else number) for number in range(processes)]
        workers = [
            context.Process(target=work, args=(config, number, groups.count(group), group, told, ready))
            for number, group in enumerate(groups)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if failed := [worker.exitcode for worker in workers if worker.exitcode]:
            raise RuntimeError(
                f"expected {processes} processes to finish, got exit codes {failed}; what they said is above"
            )
        return told.get()


def work(config: ScalingConfig, number: int, processes: int, group: Path, told: Any, ready: Any) -> None:
    """What one process does, with all that train its model; the first tells how long steps took.

    Args:
        config: what is timed.
        number: of the process, which says its core and clips.
        processes: that train its model.
        group: the file by which these meet.
        told: takes the seconds of a step.
        ready: where all processes wait for each other, so that all are busy while steps are timed.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {config.cores[number]})
    torch.set_num_threads(1)
    rank = number % processes
    dist.init_process_group("gloo", init_method=group.as_uri(), rank=rank, world_size=processes)
    objective, batch = make_objective(config, config.clips, first=number * config.clips)
    optimizer = make_optimizer(objective, TrainingConfig())
    with warnings.catch_warnings():
        # As training does it; torch 2.13 has another name for the argument, which earlier ones don't know.
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
        called = DistributedDataParallel(objective, broadcast_buffers=False) if processes > 1 else objective
    times = []
    ready.wait()
    for step in range(config.steps + 1):
        start = time.perf_counter()
        called(**batch, step=step, epochs_done=0.0)["loss"].backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        times.append(time.perf_counter() - start)
        ready.wait()
    if number == 0:
        told.put(statistics.median(times[1:]))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(
        tyro.cli(ScalingConfig, description=__doc__),
        shlex.join(["python", "recipes/benchmarks/scaling.py", *sys.argv[1:]]),
    )
