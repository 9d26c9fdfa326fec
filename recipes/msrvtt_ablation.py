"""What each part of LiteVL adds, and how the adapter families compare: the main job over seeds, with the spread.

    python recipes/msrvtt_ablation.py                        # one part changed at a time: 11 variants x 3 seeds
    python recipes/msrvtt_ablation.py --study families       # the adapter families: 6 x 3 seeds
    python recipes/msrvtt_ablation.py --markdown recipes/RESULTS.md
    python recipes/msrvtt_ablation.py --data.root /data/msrvtt --backbone Salesforce/blip-itm-base-coco

Each run is a run folder of recipes/msrvtt_retrieval.py under --ablation-dir; finished ones are not run again, so an
interrupted ablation goes on where it stopped. Every flag of the main job is taken and holds for all runs. The last
epoch is evaluated, not a selected one, so that no variant gains by selection. On the embedded corpus and two idle cores
a run takes about four minutes.
"""

import math
import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import msrvtt_retrieval as retrieval
import torch
import tyro

from litevl.adapters import (
    AdapterConfig,
    AIMConfig,
    BottleneckConfig,
    FrameAverageConfig,
    LiteVLConfig,
    STAdapterConfig,
    TemporalShiftConfig,
)
from litevl.comparison import Cost, CostConfig, RetrievalSubject, Subject, measure_costs
from litevl.evaluation.report import rows_markdown, rows_table, show, spread, write_section
from litevl.tasks import RetrievalConfig, absolute
from litevl.tasks.command_line import ANYWHERE
from litevl.tasks.finished import finished_or_run
from litevl.training import build_model, frame_average, load_backbone

Change = Callable[[RetrievalConfig], RetrievalConfig]


def model(config: RetrievalConfig, **changes: Any) -> RetrievalConfig:
    """The config with changes of the model's settings."""
    return replace(config, model=replace(config.model, **changes))


def adapter(**changes: Any) -> Change:
    """A change of the adapters."""
    return lambda config: model(config, adapter=replace(config.model.adapter, **changes))


def pooling(mode: Any) -> Change:
    """A change of the pooling."""
    return lambda config: model(config, pooling=replace(config.model.pooling, mode=mode))


def family(kind: type[AdapterConfig], **options: Any) -> Change:
    """Another adapter family, with trained heads, so that those with little or nothing to learn can learn too."""
    return lambda config: model(
        config, adapter=kind(num_frames=config.model.adapter.num_frames, **options), heads="copied"
    )


PARTS: dict[str, Change] = {
    "LiteVL": lambda config: config,
    "no temporal attention, heads trained": lambda config: model(
        config,
        adapter=FrameAverageConfig(num_frames=config.model.adapter.num_frames),
        heads="copied",
        pooling=replace(config.model.pooling, mode="none"),
    ),
    "scaling none": adapter(scaling="none"),
    "scaling conditional": adapter(scaling="conditional"),
    "cls frame": adapter(cls="frame"),
    "time embedding learned": adapter(time_embedding="learned"),
    "time embedding none": adapter(time_embedding="none"),
    "heads copied": lambda config: model(config, heads="copied"),
    "batches at random": lambda config: replace(config, data=replace(config.data, similar=1)),
    "pooling mean": pooling("mean"),
    "pooling none": pooling("none"),
}
"""Each differs from LiteVL in what its name says; the second is the control that trains but cannot see order."""

FAMILIES: dict[str, Change] = {
    "LiteVL": family(LiteVLConfig, time_embedding="sinusoidal"),
    "bottlenecked LiteVL": family(BottleneckConfig, time_embedding="sinusoidal"),
    "ST-Adapter": family(STAdapterConfig),
    "AIM": family(AIMConfig, time_embedding="sinusoidal"),
    "temporal shift": family(TemporalShiftConfig),
    "no adapter": PARTS["no temporal attention, heads trained"],
}
"""All with trained heads and one learning rate, that of LiteVL's defaults; the fixed time code where attention reads
time."""

STUDIES = {"parts": PARTS, "families": FAMILIES}
TITLES = {"parts": "What each part of LiteVL adds", "families": "The adapter families"}

COLUMNS: dict[str, Callable[[dict[str, Any]], float]] = {
    "t2v R@1, ITC": lambda result: result["contrastive"]["t2v_r1"],
    "t2v R@1, re-ranked": lambda result: result["reranked"]["t2v_r1"],
    "v2t R@1, ITC": lambda result: result["contrastive"]["v2t_r1"],
    "v2t R@1, re-ranked": lambda result: result["reranked"]["v2t_r1"],
}
CORPUS_COLUMNS: dict[str, Callable[[dict[str, Any]], float]] = {
    "order, ITC": lambda result: result["order_accuracy"]["contrastive"],
    "order, re-ranked": lambda result: result["order_accuracy"]["reranked"],
    "static": lambda result: result["contrastive"]["t2v_r1_by_category"]["static"],
    "movement": lambda result: result["contrastive"]["t2v_r1_by_category"]["order of movement"],
    "appearance": lambda result: result["contrastive"]["t2v_r1_by_category"]["order of appearance"],
    "event": lambda result: result["contrastive"]["t2v_r1_by_category"]["event"],
}
"""For the embedded corpus, which knows kinds of captions and clips that are each other's reversal."""

TIMED_CLIPS = 8
"""How many are encoded at a time where encoding is timed."""
COST_COLUMNS: dict[str, Callable[[Cost], str]] = {
    "trainable": lambda cost: f"{cost.trainable / 1000:.1f}k",
    "GFLOPs a clip": lambda cost: f"{cost.clip_gflops:.3f}",
    "time": lambda cost: f"{cost.latency[TIMED_CLIPS].ratio:.2f}",
}
FROZEN = "frozen frame average"
Results = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Config:
    """An ablation of the main job, or a comparison of adapter families in it."""

    base: Annotated[RetrievalConfig, tyro.conf.arg(name="")]
    """The main job's own flags, for all variants."""
    study: Literal["parts", "families"] = "parts"
    """Change one part of LiteVL at a time, or the adapter family."""
    variants: tuple[str, ...] | None = None
    """Which variants of the study, by name; by default all."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One run of each variant per seed."""
    rounds: int = 101
    """Rounds in which encoding is timed, each variant once in each."""
    ablation_dir: Path = Path("runs/msrvtt_ablation")
    """Holds a folder per study, and in it a run folder per variant and seed."""
    markdown: Path | None = None
    """Also write the table into this page, in place of the study's earlier one."""

    def __post_init__(self) -> None:
        known = STUDIES[self.study]
        if unknown := [name for name in self.variants or () if name not in known]:
            raise ValueError(f"variants: expected some of {', '.join(known)}; got {', '.join(unknown)}")

    @property
    def chosen(self) -> dict[str, RetrievalConfig]:
        """The main job's config of each variant."""
        study = STUDIES[self.study]
        return {name: study[name](self.base) for name in self.variants or study}


def main(config: Config, command: str = "python recipes/msrvtt_ablation.py") -> Results:
    """Runs what is not finished and prints the table.

    Args:
        config: what to run.
        command: what the page says made it.

    Returns:
        For each variant the test results of its seeds; for `frozen frame average` those of the frozen backbone.

    Raises:
        ValueError: for several processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("the ablation runs in one process; give each process group its own --seeds or --variants")
    folder = config.ablation_dir / config.study
    frozen = replace(config.base, training=replace(config.base.training, epochs=0))
    results: Results = {FROZEN: [finished_or_run(frozen, folder / "frozen", retrieval.main)["frame average"]]}
    for seed in config.seeds:
        for name, variant in config.chosen.items():
            print(f"\n{name}, seed {seed}")
            training = replace(config.base.training, select_on="last")
            wanted = replace(variant, seed=seed, baseline=False, training=training)
            path = folder / f"{name.replace(',', '').replace(' ', '-')}-seed{seed}"
            found = finished_or_run(wanted, path, retrieval.main)
            results.setdefault(name, []).append(found[wanted.model.adapter.title])
    cost = costs(config)
    title = f"{TITLES[config.study]}, test split, mean ± standard deviation over seeds {config.seeds}"
    show(rows_table(title, rows(results, cost)))
    if config.markdown is not None:
        write_section(config.markdown, TITLES[config.study], markdown(results, cost, config, command))
    return results


def costs(config: Config) -> dict[str, Cost]:
    """What each variant costs, beside frozen frame-average BLIP on clips of the same size."""

    def build(device: torch.device, variant: RetrievalConfig | None) -> Subject:
        chosen = (variant or config.base).model
        blip = load_backbone(chosen, device)
        model = frame_average(blip).requires_grad_(False) if variant is None else build_model(blip, chosen)
        return RetrievalSubject(model, chosen.adapter.num_frames, model.image_size)

    builders = {FROZEN: partial(build, variant=None)}
    builders |= {name: partial(build, variant=variant) for name, variant in config.chosen.items()}
    settings = CostConfig(
        batches=(TIMED_CLIPS,), rounds=config.rounds, seconds=math.inf, memory_batch=None, training=False
    )
    return measure_costs(builders, settings)


def rows(results: Results, found: dict[str, Cost]) -> list[list[str]]:
    """The table: a row of column names, then a row per variant, with mean and standard deviation over seeds."""
    shown = CORPUS_COLUMNS | COLUMNS if results[FROZEN][0]["order_accuracy"] else COLUMNS
    made = [["variant", *shown, *COST_COLUMNS]]
    for name, seeds in results.items():
        values = [[column(result) for result in seeds] for column in shown.values()]
        cells = [spread(each) for each in values]
        made.append([name, *cells, *(column(found[name]) for column in COST_COLUMNS.values())])
    return made


def markdown(results: Results, found: dict[str, Cost], config: Config, command: str) -> str:
    """The study as a section of a page: the command, how to read it, the table."""
    training = config.base.training
    data = "the embedded corpus" if config.base.data.root is None else "MSR-VTT"
    text = [
        f"On {data}, by `{command}`: {training.epochs} epochs of batches of {training.batch_size}, "
        f"{config.base.model.adapter.num_frames} frames, backbone {Path(config.base.model.backbone).name}, seeds "
        f"{', '.join(map(str, config.seeds))}, last epoch, test split. Percent, mean ± standard deviation over seeds. "
        "*ITC* compares embeddings, *re-ranked* adds matching for the best candidates. *order*: how often a clip's "
        "caption scores above the caption of the same clip reversed (chance 50). *static* to *event*: t2v R@1, ITC, by "
        "kind of caption. *trainable* parameters, *GFLOPs* to encode a clip (a multiply-add is two), *time* to encode "
        "clips as a ratio to the frozen frame average's (median of pairs taken in turn).",
        "",
        rows_markdown(rows(results, found)),
    ]
    return "\n".join(text)


def parse(arguments: list[str]) -> Config:
    """The config of a command line, with the main job's defaults for the data that is asked for."""
    base = retrieval.MSRVTT if any(word.startswith("--data.root") for word in arguments) else retrieval.EMBEDDED
    config = tyro.cli(Config, default=Config(base), args=arguments, description=__doc__, config=ANYWHERE)
    return replace(config, base=absolute(config.base))


if __name__ == "__main__":
    torch.set_float32_matmul_precision("high")
    main(parse(sys.argv[1:]), shlex.join(["python", "recipes/msrvtt_ablation.py", *sys.argv[1:]]))
