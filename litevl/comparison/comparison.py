"""Runs compared: accuracy over seeds beside what each model costs, and its shares of a large one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from litevl.devices import find_device
from litevl.evaluation.stamp import describe_device

from .cost import Cost, CostConfig, measure_costs
from .earlier import Stage, earlier_stages
from .entries import Entry, make_entries
from .intervals import Estimate, estimate
from .load import source_of
from .metrics import ComparedTask
from .protocol import check_protocol, require_one_task
from .runs import find_runs


@dataclass(frozen=True)
class TrainingCost:
    """What training took, of one run; evaluation between epochs and earlier stages are not in it."""

    steps: int
    flops: float
    """A step's operations, as counted, times the steps."""
    seconds: float | None
    """By the clock, a mean over the runs that say it."""


@dataclass(frozen=True)
class Shares:
    """What a model keeps of a large one, in percent."""

    accuracy: float | None
    """Of its headline metric's mean; None where that is zero."""
    parameters: float | None
    """Of all its parameters."""
    trainable: float | None
    """Of its trained parameters; None where the large one trains none."""
    clip_gflops_saved: float | None
    """How many fewer operations encoding a clip takes."""
    gflops_saved: float | None
    """The same for everything once: a clip, a text, and what is done with both."""


@dataclass(frozen=True)
class Line:
    """A model of a comparison."""

    entry: Entry
    scores: dict[str, Estimate]
    cost: Cost | None = None
    training: TrainingCost | None = None
    earlier: tuple[Stage, ...] = ()
    """What its first run's model was trained on before the task."""

    @property
    def name(self) -> str:
        """The model's."""
        return self.entry.name


@dataclass(frozen=True)
class Comparison:
    """Models on the same data and protocol."""

    task: ComparedTask
    lines: tuple[Line, ...]
    large: str | None
    """The model that shares are of; None where costs were not measured and none was chosen."""
    notes: tuple[str, ...] = ()
    device: str | None = None
    """Where costs were measured."""

    def line(self, name: str) -> Line:
        """The model of that name."""
        return next(line for line in self.lines if line.name == name)

    @property
    def shares(self) -> dict[str, Shares]:
        """Of every model, by name, against the large one; empty without one."""
        if self.large is None:
            return {}
        large = self.line(self.large)
        return {line.name: _shares(line, large, self.task.headline) for line in self.lines}


def compare(
    runs: Sequence[str | Path],
    *,
    large: str | None = None,
    costs: CostConfig | None = None,
    measure: bool = True,
    tell: Callable[[str], Any] = lambda line: None,
) -> Comparison:
    """Compares finished runs.

    Args:
        runs: run folders, folders of them or patterns; `NAME=` before one names its model (see `find_runs`).
        large: the name of the model that shares are of; by default the trained one with the most parameters.
        costs: how costs are measured.
        measure: False leaves costs out, and loads no model.
        tell: is given a line when a measurement starts.

    Raises:
        ValueError: a run is not there or not finished, runs are not on the same data and protocol, or there is no
            model of the name `large`, or no such device.
    """
    config = costs or CostConfig()
    device = find_device(config.device)
    left: list[str] = []
    found = find_runs(runs, left.append)
    task = require_one_task(found)
    entries = make_entries(found)
    notes = [*left, *check_protocol(entries, task), *_notes(entries, task)]
    names = [entry.name for entry in entries]
    if large is not None and large not in names:
        raise ValueError(f"large: expected one of {', '.join(map(repr, names))}; got {large!r}")
    measured: dict[str, Cost] = {}
    if measure:
        measured = measure_costs({entry.name: source_of(entry) for entry in entries}, config, tell=tell)
    lines = tuple(_line(entry, task, measured.get(entry.name)) for entry in entries)
    if large is None:
        large = _largest(lines)
    return Comparison(task, lines, large, tuple(notes), describe_device(device) if measure else None)


def _line(entry: Entry, task: ComparedTask, cost: Cost | None) -> Line:
    found = [task.scores(results) for results in (entry.results[:1] if entry.frozen else entry.results)]
    shared = [title for title in task.metrics if all(title in scores for scores in found)]
    scores = {title: estimate([each[title] for each in found]) for title in shared}
    earlier = () if cost is None or entry.frozen else tuple(earlier_stages(entry.run))
    return Line(entry, scores, cost, _training(entry, cost), earlier)


def _training(entry: Entry, cost: Cost | None) -> TrainingCost | None:
    steps = entry.run.steps
    if entry.frozen or cost is None or cost.step_flops is None or steps is None:
        return None
    said = [run.seconds for run in entry.runs if run.seconds is not None]
    return TrainingCost(steps, steps * cost.step_flops, sum(said) / len(said) if said else None)


def _notes(entries: Sequence[Entry], task: ComparedTask) -> list[str]:
    """What a reader should know of the numbers."""
    notes = []
    for entry in entries:
        if entry.frozen:
            values = [task.scores(results)[task.headline] for results in entry.results]
            if max(values) - min(values) > 1e-6:
                where = f"{min(values):.1f} to {max(values):.1f}"
                notes.append(f"{entry.name}: {task.headline} differs between runs, {where}; the first is shown")
        elif any(run.protocol.get("selected_on") == "test" for run in entry.runs):
            notes.append(f"{entry.name}: the epoch was selected on the test split, so its figures are optimistic")
    few = [f"{entry.name} ({len(entry.runs)})" for entry in entries if not entry.frozen and len(entry.runs) < 3]
    if few:
        notes.append(f"fewer than three seeds, so no interval: {', '.join(few)}")
    return notes


def _largest(lines: Sequence[Line]) -> str | None:
    """The trained model with the most parameters; of several the one that trains the most."""
    sizes = {line.name: (line.cost.total, line.cost.trainable) for line in lines if line.cost and not line.entry.frozen}
    return max(sizes, key=lambda name: sizes[name]) if sizes else None


def _shares(line: Line, large: Line, headline: str) -> Shares:
    whole = large.scores[headline].mean
    accuracy = 100 * line.scores[headline].mean / whole if whole else None
    mine, its = line.cost, large.cost
    if mine is None or its is None:
        return Shares(accuracy, None, None, None, None)
    return Shares(
        accuracy,
        100 * mine.total / its.total,
        100 * mine.trainable / its.trainable if its.trainable else None,
        100 * (1 - mine.clip_gflops / its.clip_gflops),
        100 * (1 - mine.gflops / its.gflops),
    )
