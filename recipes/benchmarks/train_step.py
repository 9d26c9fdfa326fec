"""A training step: LiteVL on a frozen BLIP, against the whole model trained with a momentum copy of it.

    python recipes/benchmarks/train_step.py
    python recipes/benchmarks/train_step.py --clips 4 --markdown recipes/benchmarks/RESULTS.md

Both sides take the same clips and captions through the same architecture, contrast and match them, and step AdamW.

- *frozen*: the adapters and the temperature are trained; negatives come from the batch.
- *whole*: all weights are trained, as ALBEF and BLIP train them: candidates and soft labels come from a momentum copy
  of the whole model, which encodes the batch too and is moved at each step; each of the three pairs of a clip in the
  matching loss goes through the text encoder with the clip's tokens repeated.

Memory is the most that a second step takes, weights and optimizer counted, each side in a process of its own. How
both ratios depend on the batch: weights, gradients, AdamW's two moments and the momentum copy take the whole model's
parameters five times (4.5 GB of float32), the frozen one's once and the adapters' three times more, whatever the batch.
Activations take a fixed amount a clip on either side, of which the frozen side saves a smaller share than of the rest.
So the smaller the batch, the better for the frozen side; `--clips` takes another. Full-size models, random weights.
"""

import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
import tyro
from rerank import FRAMES, captions
from side_by_side import Config, Row, measure, report, require_equal

from litevl.adapters import LiteVLConfig
from litevl.blip import enable_gradient_checkpointing
from litevl.comparison.full_size import random_blip
from litevl.comparison.peak_memory import measure_peak
from litevl.evaluation.report import rows_markdown, rows_table, show, write_section
from litevl.losses import RetrievalLossConfig, RetrievalObjective
from litevl.training import RetrievalModelConfig, TrainingConfig, build_model, make_optimizer

TITLE, MEMORY = "A training step", "Memory of a training step"
CLIPS = {"cpu": 4, "cuda": 16}
WHOLE = "whole model, momentum copy"
REACH = {"frozen": (0.5, 0.6), "frozen, checkpointing": (0.8, 0.3)}
"""Of time and of memory."""


@dataclass(frozen=True)
class TrainStepConfig(Config):
    """Where and how long."""

    clips: int | None = None
    """Clips of a step; by default 4 on a CPU and 16 on a GPU."""

    @property
    def batch(self) -> int:
        """Clips of a step."""
        return self.clips or CLIPS.get(self.on.type, 4)


@dataclass(frozen=True)
class MemoryRow:
    """The most memory of one work against that of another."""

    work: str
    against: str
    ratio: float
    bytes: int
    reach: float
    how: str


def main(config: TrainStepConfig, command: str = "python recipes/benchmarks/train_step.py") -> list[Row]:
    """Measures, and prints the tables."""
    sides = {name: partial(make_step, name, config) for name in (*REACH, WHOLE)}
    memory = report_memory(config, {name: measure_peak(side, config.on) for name, side in sides.items()}, command)
    steps = {name: side() for name, side in sides.items()}
    # The momentum copy is the model as it starts, so both sides' first losses are the same.
    losses = {name: step() for name, step in steps.items()}
    for name in REACH:
        require_equal(f"first losses, {name}", losses[name], losses[WHOLE], 1e-3)
    rows = measure(config, steps, WHOLE, reach={name: time for name, (time, _) in REACH.items()}, training=True)
    said = (
        f"{config.batch} clips of {FRAMES} frames with captions of the lengths of MSR-VTT 1k-A, VTC and VTM, AdamW, "
        "in float32; the first losses of all are equal to 1e-3."
    )
    report(TITLE, rows, config, command, said)
    if config.json is not None:
        told = json.loads(config.json.read_text(encoding="utf-8"))
        told["memory"] = [asdict(row) for row in memory]
        config.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    return rows


def make_step(name: str, config: TrainStepConfig) -> Callable[[], torch.Tensor]:
    """The training step of one side, which gives the parts of its loss."""
    objective, batch = make_objective(config, config.batch, whole=name == WHOLE)
    if "checkpointing" in name:
        enable_gradient_checkpointing(objective.model.blip)
    optimizer = make_optimizer(objective, TrainingConfig())

    def step() -> torch.Tensor:
        losses = objective(**batch, step=0, epochs_done=0.0)
        losses["loss"].backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return torch.stack([losses["vtc"], losses["vtm"]])

    return step


def make_objective(config: Config, clips: int, *, first: int = 0, whole: bool = False) -> tuple[Any, dict[str, Any]]:
    """The objective in training mode, and a batch for it.

    Args:
        config: where, and the models' size.
        clips: of the batch.
        first: number of the first of them.
        whole: all weights are trained, as BLIP trains them.
    """
    torch.manual_seed(0)
    settings = RetrievalModelConfig(adapter=LiteVLConfig(num_frames=FRAMES), train="all" if whole else "adapters")
    model = build_model(random_blip(**config.size), settings).to(config.on)
    if whole:
        by_pair(model)
    objective = RetrievalObjective(model, RetrievalLossConfig(momentum=0.995 if whole else None)).train()
    generator = torch.Generator().manual_seed(first)
    shape = (clips, FRAMES, 3, model.image_size, model.image_size)
    batch = {
        "pixels": torch.randn(shape, generator=generator).to(config.on),
        "tokens": captions(model, clips).tokens,
        "video_ids": torch.arange(first, first + clips, device=config.on),
    }
    return objective, batch


def by_pair(model: Any) -> None:
    """Lets a model match as BLIP does, each text with a copy of its video's tokens."""
    model.match_among = lambda text, video, which: model.match_pairs(text, video[which])


def report_memory(config: TrainStepConfig, found: dict[str, tuple[int, str]], command: str) -> list[MemoryRow]:
    """Prints the table of memory, and writes it where it is asked for."""
    most, how = found[WHOLE]
    rows = [MemoryRow(name, WHOLE, found[name][0] / most, found[name][0], REACH[name][1], how) for name in REACH]
    cells = [["work", "against", "memory, ratio", "reach", "GB", "GB of the other"]]
    for row in rows:
        figures = [f"{row.ratio:.3f}", f"<= {row.reach:g}", f"{row.bytes / 1e9:.2f}", f"{most / 1e9:.2f}"]
        cells.append([row.work, row.against, *figures])
    text = f"By `{command}`: the most that the second step takes, {how}."
    show(rows_table(MEMORY, cells, words=2))
    print(text)
    if config.markdown is not None:
        write_section(config.markdown, MEMORY, f"{text}\n\n{rows_markdown(cells)}")
    return rows


if __name__ == "__main__":
    torch.set_float32_matmul_precision("highest")
    main(
        tyro.cli(TrainStepConfig, description=__doc__),
        shlex.join(["python", "recipes/benchmarks/train_step.py", *sys.argv[1:]]),
    )
