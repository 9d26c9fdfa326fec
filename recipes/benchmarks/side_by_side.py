"""What the benchmarks share: works timed in turn in one run, ratios as medians over the rounds, a table of them."""

import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from litevl.comparison.latency import time_in_turn
from litevl.devices import find_device
from litevl.evaluation.report import rows_markdown, rows_table, show, write_section
from litevl.evaluation.stamp import describe_device


@dataclass(frozen=True)
class Config:
    """Where and how long."""

    device: str | None = None
    """By default a GPU where there is one."""
    rounds: int = 21
    """Rounds, each of which times every work of a row."""
    seconds: float = 120.0
    """Start no more rounds of a row after so long, from the third on."""
    small: bool = False
    """Models of a toy's size: shows in seconds that the programs run, and nothing about speed."""
    markdown: Path | None = None
    """Also write the table into this page, in place of an earlier one."""
    json: Path | None = None
    """Also write the figures, unrounded."""

    @property
    def size(self) -> dict[str, int]:
        """Of the models, as `random_blip` takes it."""
        return {"image_size": 32, "layers": 2, "dim": 64} if self.small else {}

    @property
    def on(self) -> torch.device:
        """The device."""
        return find_device(self.device)


@dataclass(frozen=True)
class Row:
    """One work against another."""

    work: str
    against: str
    ratio: float
    """Time of the work to that of the other."""
    quartiles: tuple[float, float]
    milliseconds: float
    """The work's own time; on a shared machine only the ratio means something."""
    rounds: int
    reach: float | None = None
    """What was set out to be reached."""


def measure(
    config: Config,
    works: Mapping[str, Callable[[], Any]],
    against: str,
    *,
    units: Mapping[str, float] | None = None,
    reach: Mapping[str, float] | None = None,
    training: bool = False,
) -> list[Row]:
    """Times works in turn.

    Args:
        config: where and how long.
        works: by name.
        against: the one that the others are set against.
        units: how much each work does, where that is not the same; ratios are per unit.
        reach: what was set out to be reached, by the works' names.
        training: the works are steps of training, which take gradients.
    """
    with torch.inference_mode(not training):
        found = time_in_turn(works, against, config.on, config.rounds, config.seconds)
    units = units or dict.fromkeys(works, 1.0)
    rows = []
    for name, took in found.items():
        if name == against:
            continue
        share = units[against] / units[name]
        lower, upper = (share * value for value in took.quartiles)
        wanted = (reach or {}).get(name)
        rows.append(Row(name, against, share * took.ratio, (lower, upper), took.milliseconds, took.rounds, wanted))
    return rows


def require_equal(what: str, ours: Tensor, theirs: Tensor, tolerance: float) -> None:
    """Checks before the clock starts that both works do the same.

    Raises:
        ValueError: they do not, or the outputs are so small that equality would say nothing.
    """
    size = float(theirs.float().abs().max())
    if not size > 10 * tolerance:
        raise ValueError(f"{what}: outputs of at most {size:g} can't be told apart within {tolerance:g}")
    difference = float((ours.float() - theirs.float()).abs().max())
    if not difference <= tolerance:
        raise ValueError(f"{what}: expected equal outputs, within {tolerance:g}, got a difference of {difference:g}")


def report(title: str, rows: Sequence[Row], config: Config, command: str, said: str = "") -> None:
    """Prints the table, and writes it where it is asked for.

    Args:
        title: of the table and of the page's section.
        rows: what was measured.
        config: where it was.
        command: what made it.
        said: a sentence on what was done.
    """
    cells = [["work", "against", "time, ratio", "quartiles", "reach", "ms", "rounds"]]
    for row in rows:
        low, high = row.quartiles
        reach = "" if row.reach is None else f"<= {row.reach:g}"
        figures = [f"{row.ratio:.3f}", f"{low:.3f} to {high:.3f}", reach, f"{row.milliseconds:.1f}", str(row.rounds)]
        cells.append([row.work, row.against, *figures])
    where = f"{describe_device(config.on)}, torch {torch.__version__}"
    small = " Toy models: the figures mean nothing." if config.small else ""
    text = f"By `{command}` on {date.today():%Y-%m-%d}, on {where}, Python {platform.python_version()}. {said}{small}"
    show(rows_table(title, cells, words=2))
    print(text)
    if config.markdown is not None:
        write_section(config.markdown, title, f"{text}\n\n{rows_markdown(cells)}")
    if config.json is not None:
        told = {"title": title, "command": command, "device": where, "rows": [asdict(row) for row in rows]}
        config.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
