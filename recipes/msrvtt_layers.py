"""Accuracy against cost where adapters sit in the upper blocks only: the main job over depths and seeds.

    python recipes/msrvtt_layers.py                              # all blocks, the last 3, 2 and 1: 6 variants x 3 seeds
    python recipes/msrvtt_layers.py --markdown recipes/RESULTS.md --plot layers.png
    python recipes/msrvtt_layers.py --last 8 4 2 --data.root /data/msrvtt --backbone Salesforce/blip-itm-base-coco

What the frozen blocks below the first adapter make of frames is kept on disk (`--data.feature-store`), so that a step
costs the upper blocks alone and decodes nothing. Kept is the middle frame of each segment; what that costs is told by
adapters in all blocks trained on the same frames, and what three frames of each segment give, by one variant more.

Each run is a run folder of recipes/msrvtt_retrieval.py under --layers-dir; finished ones are not run again, so an
interrupted study goes on where it stopped, and prints its table. Every flag of the main job is taken and holds for all
runs. The last epoch is evaluated. Costs of a step are counted, and timed in turn, so that what else the machine does
falls on all variants.
"""

import os
import shlex
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import msrvtt_retrieval as retrieval
import torch
import tyro

from litevl.adapters import find_vision_encoder
from litevl.comparison import RetrievalSubject
from litevl.comparison.cost import step_flops
from litevl.comparison.latency import Latency, time_in_turn
from litevl.devices import find_device
from litevl.evaluation.report import rows_markdown, rows_table, show, spread, write_section
from litevl.losses import RetrievalObjective
from litevl.plots.figure import new_figure
from litevl.tasks import RetrievalConfig, absolute
from litevl.tasks.command_line import ANYWHERE
from litevl.tasks.finished import finished_or_run
from litevl.training import build_model, load_backbone, make_optimizer

TITLE = "Adapters in the upper blocks, with stored features"
TIMED_CLIPS = 8
"""Of the step that is timed."""
ACCURACIES = {
    "order, ITC": lambda result: result["order_accuracy"].get("contrastive", float("nan")),
    "t2v R@1, ITC": lambda result: result["contrastive"]["t2v_r1"],
    "t2v R@1, re-ranked": lambda result: result["reranked"]["t2v_r1"],
}
DRAWN = ("t2v R@1, ITC", "order, ITC")
Results = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Config:
    """Depths of the main job's adapters."""

    base: Annotated[RetrievalConfig, tyro.conf.arg(name="")]
    """The main job's own flags, for all variants."""
    last: tuple[int, ...] = (3, 2, 1)
    """Numbers of upper blocks that get adapters; the first of the middle ones is also trained on more frames."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One run of each variant per seed."""
    layers_dir: Path = Path("runs/msrvtt_layers")
    """Holds a run folder per variant and seed, and the feature store."""
    rounds: int = 21
    """Of timing a training step of every variant in turn."""
    markdown: Path | None = None
    """Also write the table into this page, in place of the earlier one."""
    plot: Path | None = None
    """Also draw accuracy against the cost of a step into this file (needs matplotlib)."""


@dataclass(frozen=True)
class StepCost:
    """What a training step costs."""

    gflops: float
    latency: Latency
    trainable: int


def variants(config: Config, depth: int) -> dict[str, RetrievalConfig]:
    """The main job's config of each variant, for a vision encoder of `depth` blocks.

    Raises:
        ValueError: fewer blocks than are asked for.
    """
    if not all(0 < number < depth for number in config.last):
        raise ValueError(f"last: expected numbers from 1 to {depth - 1} of {depth} blocks; got {config.last}")
    base = config.base
    made = {
        "all blocks": base,
        "all blocks, middle frames": replace(base, data=replace(base.data, frames_per_segment=1)),
    }

    def stored(number: int, per_segment: int) -> RetrievalConfig:
        adapter = replace(base.model.adapter, layers=tuple(range(depth - number, depth)))
        store = (config.layers_dir / "features").resolve()
        data = replace(base.data, frames_per_segment=per_segment, feature_store=store)
        return replace(base, model=replace(base.model, adapter=adapter), data=data)

    made |= {f"last {number}, stored": stored(number, 1) for number in config.last}
    middle = config.last[len(config.last) // 2]
    return made | {f"last {middle}, stored, 3 frames a segment": stored(middle, 3)}


def main(config: Config, command: str = "python recipes/msrvtt_layers.py") -> Results:
    """Runs what is not finished and prints the table.

    Args:
        config: what to run.
        command: what the page says made it.

    Returns:
        For each variant the test results of its seeds.

    Raises:
        ValueError: for several processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("the study runs in one process; give each process group its own --seeds")
    blip = load_backbone(config.base.model, torch.device("cpu"))
    chosen, results = variants(config, len(find_vision_encoder(blip).blocks)), Results()
    for seed in config.seeds:
        for name, variant in chosen.items():
            print(f"\n{name}, seed {seed}")
            training = replace(config.base.training, select_on="last")
            wanted = replace(variant, seed=seed, baseline=False, training=training)
            path = config.layers_dir / f"{name.replace(',', '').replace(' ', '-')}-seed{seed}"
            found = finished_or_run(wanted, path, retrieval.main)
            results.setdefault(name, []).append(found[wanted.model.adapter.title])
    costs = step_costs(chosen, config.rounds)
    made = rows(results, costs)
    show(rows_table(f"{TITLE}, test split, mean ± standard deviation over seeds {config.seeds}", made))
    if config.markdown is not None:
        write_section(config.markdown, TITLE, markdown(made, config, command))
    if config.plot is not None:
        draw(results, costs).savefig(config.plot, dpi=150)
    return results


def step_costs(chosen: dict[str, RetrievalConfig], rounds: int) -> dict[str, StepCost]:
    """Operations and time of a training step, forward, backward and optimizer, decoding left out."""
    device, subjects, works = find_device(None), {}, {}
    for name, variant in chosen.items():
        model = build_model(load_backbone(variant.model, device), variant.model)
        layers, size = variant.model.adapter.layers, variant.training.batch_size
        layer = layers[0] if variant.data.feature_store is not None and layers != "all" else None
        objective = RetrievalObjective(model, variant.loss)
        subjects[name] = RetrievalSubject(
            model, variant.model.adapter.num_frames, model.image_size, objective, size, layer=layer
        )
        objective.train()
        works[name] = partial(step, subjects[name], make_optimizer(objective, variant.training))
    times = time_in_turn(works, next(iter(works)), device, rounds, seconds=600.0)
    return {
        name: StepCost(
            step_flops(subject) / 1e9,
            times[name],
            sum(p.numel() for p in subject.model.parameters() if p.requires_grad),
        )
        for name, subject in subjects.items()
    }


def step(subject: RetrievalSubject, optimizer: torch.optim.Optimizer) -> None:
    """A training step on made-up clips."""
    subject.loss(TIMED_CLIPS).backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def rows(results: Results, costs: dict[str, StepCost]) -> list[list[str]]:
    """The table: a row of column names, then a row per variant, with mean and standard deviation over seeds."""
    made = [["adapters in", *ACCURACIES, "trainable", "GFLOPs a step", "time a step"]]
    for name, seeds in results.items():
        cost = costs[name]
        accuracies = [spread([column(result) for result in seeds]) for column in ACCURACIES.values()]
        made.append(
            [name, *accuracies, f"{cost.trainable / 1000:.1f}k", f"{cost.gflops:.2f}", f"{cost.latency.ratio:.2f}"]
        )
    return made


def markdown(made: list[list[str]], config: Config, command: str) -> str:
    """The study as a section of a page: the command, how to read it, the table."""
    training = config.base.training
    data = "the embedded corpus" if config.base.data.root is None else "MSR-VTT"
    text = (
        f"On {data}, by `{command}`: {training.epochs} epochs of batches of {training.batch_size}, "
        f"{config.base.model.adapter.num_frames} frames, backbone {Path(config.base.model.backbone).name}, seeds "
        f"{', '.join(map(str, config.seeds))}, last epoch, test split. Percent, mean ± standard deviation over seeds. "
        "*Stored*: what the frozen blocks below make of frames is read from disk, nothing is decoded; kept is the "
        "middle frame of each segment, or three of it. *All blocks* trains on any frame, or on the middle ones alone. "
        f"*GFLOPs* of a training step of a whole batch, forward and backward; *time* of a step of {TIMED_CLIPS} clips "
        "with the optimizer, as a ratio to the first row's (median of steps taken in turn); decoding is in neither."
    )
    return f"{text}\n\n{rows_markdown(made)}"


def draw(results: Results, costs: dict[str, StepCost]) -> Any:
    """Accuracy against the operations of a step, a point for each variant."""
    figure = new_figure(10.0, 4.2)
    for axes, measure in zip(figure.subplots(1, len(DRAWN)), DRAWN, strict=True):
        for name, seeds in results.items():
            values = torch.tensor([ACCURACIES[measure](result) for result in seeds], dtype=torch.float64)
            error = values.std().item() if len(values) > 1 else 0.0
            axes.errorbar(costs[name].gflops, values.mean().item(), yerr=error, fmt="o", capsize=4, label=name)
        axes.set_xlabel("GFLOPs of a training step")
        axes.set_ylabel(f"{measure}, mean ± standard deviation")
        axes.set_xlim(left=0)
        axes.grid(alpha=0.3)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def parse(arguments: list[str]) -> Config:
    """The config of a command line, with the main job's defaults for the data that is asked for."""
    base = retrieval.MSRVTT if any(word.startswith("--data.root") for word in arguments) else retrieval.EMBEDDED
    config = tyro.cli(Config, default=Config(base), args=arguments, description=__doc__, config=ANYWHERE)
    return replace(config, base=absolute(config.base))


if __name__ == "__main__":
    torch.set_float32_matmul_precision("high")
    main(parse(sys.argv[1:]), shlex.join(["python", "recipes/msrvtt_layers.py", *sys.argv[1:]]))
