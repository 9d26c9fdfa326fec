"""What each part of LiteVL adds: the main job with one part changed at a time, over seeds, with the spread.

    python recipes/msrvtt_ablation.py                          # embedded corpus: 11 variants x 3 seeds
    python recipes/msrvtt_ablation.py --markdown recipes/RESULTS.md
    python recipes/msrvtt_ablation.py --data.root /data/msrvtt --backbone Salesforce/blip-itm-base-coco

Each run is a run folder of recipes/msrvtt_retrieval.py under --ablation-dir; finished ones are not run again, so an
interrupted ablation goes on where it stopped. Every flag of the main job is taken and holds for all runs. The last
epoch is evaluated, not a selected one, so that no variant gains by selection.
"""

import os
import shlex
import statistics
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import msrvtt_retrieval as retrieval
import torch
import tyro
from rich.table import Table

from litevl.adapters import FrameAverageConfig
from litevl.evaluation.report import show
from litevl.training import describe_changes, read_config, read_json

Change = Callable[[retrieval.Config], retrieval.Config]


def model(config: retrieval.Config, **changes: Any) -> retrieval.Config:
    """The config with changes of the model's settings."""
    return replace(config, model=replace(config.model, **changes))


def adapter(**changes: Any) -> Change:
    """A change of the adapters."""
    return lambda config: model(config, adapter=replace(config.model.adapter, **changes))


def pooling(mode: Any) -> Change:
    """A change of the pooling."""
    return lambda config: model(config, pooling=replace(config.model.pooling, mode=mode))


VARIANTS: dict[str, Change] = {
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

FROZEN = "frozen frame average"


@dataclass(frozen=True)
class Config:
    """An ablation of the main job."""

    base: Annotated[retrieval.Config, tyro.conf.arg(name="")]
    """The main job's own flags, for all variants."""
    variants: tuple[str, ...] = tuple(VARIANTS)
    """Which variants, by name."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One run of each variant per seed."""
    ablation_dir: Path = Path("runs/msrvtt_ablation")
    """Holds a run folder per variant and seed."""
    markdown: Path | None = None
    """Also write the table here."""


def main(config: Config, command: str = "python recipes/msrvtt_ablation.py") -> dict[str, list[dict[str, Any]]]:
    """Runs what is not finished and prints the table.

    Args:
        config: what to run.
        command: what the page says made it.

    Returns:
        For each variant the test results of its seeds; for `frozen frame average` those of the frozen backbone.

    Raises:
        ValueError: for an unknown variant, or several processes.
    """
    if unknown := set(config.variants) - VARIANTS.keys():
        raise ValueError(f"variants: expected some of {', '.join(VARIANTS)}; got {', '.join(sorted(unknown))}")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("the ablation runs in one process; give each process group its own --seeds or --variants")
    frozen = replace(config.base, training=replace(config.base.training, epochs=0))
    results = {FROZEN: [run(frozen, config.ablation_dir / "frozen")["frame average"]]}
    for seed in config.seeds:
        for name in config.variants:
            print(f"\n{name}, seed {seed}")
            training = replace(config.base.training, select_on="last")
            wanted = replace(VARIANTS[name](config.base), seed=seed, baseline=False, training=training)
            folder = config.ablation_dir / f"{name.replace(',', '').replace(' ', '-')}-seed{seed}"
            results.setdefault(name, []).append(run(wanted, folder)[wanted.model.adapter.title])
    show(table(results, config))
    if config.markdown is not None:
        config.markdown.write_text(markdown(results, config, command), encoding="utf-8")
    return results


def run(wanted: retrieval.Config, folder: Path) -> dict[str, Any]:
    """The results of one run, from its folder where it is finished.

    Raises:
        ValueError: the folder holds a run of other settings.
    """
    wanted = replace(wanted, output_dir=folder)
    if (folder / "metrics.json").is_file():
        stored = replace(read_config(retrieval.Config, folder), output_dir=folder, resume=False)
        if changes := describe_changes(asdict(stored), asdict(wanted)):
            raise ValueError(
                f"{folder}: holds a run of other settings ({'; '.join(changes)}); choose another --ablation-dir"
            )
        return read_json(folder / "metrics.json")["results"]
    return retrieval.main(replace(wanted, resume=folder.exists()))["results"]


def columns(results: dict[str, list[dict[str, Any]]]) -> dict[str, Callable[[dict[str, Any]], float]]:
    """The columns that these results have."""
    return CORPUS_COLUMNS | COLUMNS if results[FROZEN][0]["order_accuracy"] else COLUMNS


def cells(found: list[dict[str, Any]], shown: dict[str, Callable[[dict[str, Any]], float]]) -> list[str]:
    """Mean and standard deviation over seeds of every column."""
    values = [[column(result) for result in found] for column in shown.values()]
    return [
        f"{statistics.mean(each):.1f} ± {statistics.stdev(each):.1f}" if len(each) > 1 else f"{each[0]:.1f}"
        for each in values
    ]


def table(results: dict[str, list[dict[str, Any]]], config: Config) -> Table:
    """The ablation as a table to read."""
    title = f"Ablation, test split, mean ± standard deviation over seeds {config.seeds}"
    made, shown = Table(title=title, title_justify="left"), columns(results)
    for name in ("variant", *shown):
        made.add_column(name, justify="left" if name == "variant" else "right")
    for name, found in results.items():
        made.add_row(name, *cells(found, shown))
    return made


def markdown(results: dict[str, list[dict[str, Any]]], config: Config, command: str) -> str:
    """The ablation as a page: the command, the table, how to read it."""
    training, shown = config.base.training, columns(results)
    data = "the embedded corpus" if config.base.data.root is None else "MSR-VTT"
    seeds = ", ".join(map(str, config.seeds))
    lines = [
        f"# What each part adds, on {data}",
        "",
        f"Made by `{command}`: {training.epochs} epochs of batches of {training.batch_size}, "
        f"{config.base.model.adapter.num_frames} frames, backbone {Path(config.base.model.backbone).name}, seeds "
        f"{seeds}, last epoch, test split. Percent, mean ± standard deviation over seeds. *ITC* compares embeddings, "
        "*re-ranked* adds matching for the best candidates. *order*: how often a clip's caption scores above the "
        "caption of the same clip reversed (chance 50). *static* to *event*: t2v R@1, ITC, by kind of caption.",
        "",
        "| variant | " + " | ".join(shown) + " |",
        "|---" * (len(shown) + 1) + "|",
        *(f"| {name} | " + " | ".join(cells(found, shown)) + " |" for name, found in results.items()),
        "",
    ]
    return "\n".join(lines)


def parse(arguments: list[str]) -> Config:
    """The config of a command line, with the main job's defaults for the data that is asked for."""
    base = retrieval.MSRVTT if any(word.startswith("--data.root") for word in arguments) else retrieval.EMBEDDED
    anywhere = (tyro.conf.CascadeSubcommandArgs,)
    config = tyro.cli(Config, default=Config(base), args=arguments, description=__doc__, config=anywhere)
    return replace(config, base=retrieval.absolute(config.base))


if __name__ == "__main__":
    torch.set_float32_matmul_precision("high")
    main(parse(sys.argv[1:]), shlex.join(["python", "recipes/msrvtt_ablation.py", *sys.argv[1:]]))
