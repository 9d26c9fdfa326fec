"""What each part of LiteVL adds: the main job with one part changed at a time, over seeds, with the spread.

    python recipes/msrvtt_ablation.py                          # embedded corpus: 8 variants x 3 seeds
    python recipes/msrvtt_ablation.py --markdown recipes/RESULTS.md
    python recipes/msrvtt_ablation.py --data.root /data/msrvtt --backbone Salesforce/blip-itm-base-coco

Each run is a run folder of recipes/msrvtt_retrieval.py under --ablation-dir; finished ones are not run again, so an
interrupted ablation goes on where it stopped. Every flag of the main job is taken and holds for all runs. The last
epoch is evaluated, not a selected one, so that no variant gains by selection.
"""

import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import msrvtt_retrieval as retrieval
import torch
import tyro
from rich.table import Table

from litevl.evaluation.report import show
from litevl.training import read_config, read_json

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
        adapter=replace(config.model.adapter, layers=(), cls="frame"),
        heads="copied",
        pooling=replace(config.model.pooling, mode="none"),
    ),
    "scaling none": adapter(scaling="none"),
    "scaling conditional": adapter(scaling="conditional"),
    "cls frame": adapter(cls="frame"),
    "no time embedding": adapter(time_embedding=False),
    "pooling mean": pooling("mean"),
    "pooling none": pooling("none"),
}
"""Each differs from LiteVL in what its name says; the second is the control that trains but cannot see order."""

COLUMNS: dict[str, Callable[[dict[str, Any]], float]] = {
    "order, ITC": lambda result: result["order_accuracy"]["contrastive"],
    "order, re-ranked": lambda result: result["order_accuracy"]["reranked"],
    "t2v R@1, ITC": lambda result: result["contrastive"]["t2v_r1"],
    "t2v R@1, re-ranked": lambda result: result["reranked"]["t2v_r1"],
    "v2t R@1, re-ranked": lambda result: result["reranked"]["v2t_r1"],
    "static": lambda result: result["reranked"]["t2v_r1_by_category"]["static"],
    "movement": lambda result: result["reranked"]["t2v_r1_by_category"]["order of movement"],
    "appearance": lambda result: result["reranked"]["t2v_r1_by_category"]["order of appearance"],
    "event": lambda result: result["reranked"]["t2v_r1_by_category"]["event"],
}


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


def main(config: Config) -> dict[str, list[dict[str, Any]]]:
    """Runs what is not finished and prints the table.

    Returns:
        For each variant the test results of its seeds; for `frame average` those of the frozen backbone.

    Raises:
        ValueError: for an unknown variant.
    """
    if unknown := set(config.variants) - VARIANTS.keys():
        raise ValueError(f"variants: expected some of {', '.join(VARIANTS)}; got {', '.join(sorted(unknown))}")
    results: dict[str, list[dict[str, Any]]] = {}
    for seed in config.seeds:
        for name in config.variants:
            found = run(config, name, seed)
            results.setdefault(name, []).append(found["LiteVL"])
            if "frame average" in found:
                results.setdefault("frozen frame average", [found["frame average"]])
    order = ["frozen frame average", *config.variants]
    results = {name: results[name] for name in order if name in results}
    show(table(results, config))
    if config.markdown is not None:
        config.markdown.write_text(markdown(results, config), encoding="utf-8")
    return results


def run(config: Config, name: str, seed: int) -> dict[str, Any]:
    """The results of one variant and seed, from its folder where it is finished."""
    folder = config.ablation_dir / f"{name.replace(',', '').replace(' ', '-')}-seed{seed}"
    wanted = replace(
        VARIANTS[name](config.base),
        seed=seed,
        output_dir=folder,
        # The frozen backbone has no seed: once is enough.
        baseline=name == config.variants[0] and seed == config.seeds[0],
        training=replace(config.base.training, select_on="last"),
    )
    if (folder / "metrics.json").is_file():
        stored = read_config(retrieval.Config, folder)
        if replace(stored, output_dir=folder) != wanted:
            raise ValueError(f"{folder}: holds a run of other settings; choose another --ablation-dir")
        return read_json(folder / "metrics.json")["results"]
    print(f"\n{name}, seed {seed}")
    return retrieval.main(replace(wanted, resume=(folder / "state.pt").is_file()))["results"]


def cells(results: list[dict[str, Any]]) -> list[str]:
    """Mean and standard deviation over seeds of every column."""
    values = [[column(result) for result in results] for column in COLUMNS.values()]
    return [
        f"{statistics.mean(found):.1f} ± {statistics.stdev(found):.1f}" if len(found) > 1 else f"{found[0]:.1f}"
        for found in values
    ]


def table(results: dict[str, list[dict[str, Any]]], config: Config) -> Table:
    """The ablation as a table to read."""
    made = Table(
        title=f"Ablation, test split, mean ± standard deviation over seeds {config.seeds}", title_justify="left"
    )
    for name in ("variant", *COLUMNS):
        made.add_column(name, justify="left" if name == "variant" else "right")
    for name, found in results.items():
        made.add_row(name, *cells(found))
    return made


def markdown(results: dict[str, list[dict[str, Any]]], config: Config) -> str:
    """The ablation as a page: the command, the table, how to read it."""
    training = config.base.training
    lines = [
        "# Ablation on the embedded corpus",
        "",
        f"`{COMMAND}`, {training.epochs} epochs of batches of {training.batch_size}, "
        f"{config.base.model.adapter.num_frames} frames, seeds {', '.join(map(str, config.seeds))}, last epoch, test "
        "split. Percent, mean ± standard deviation over seeds. *order*: how often a clip's caption scores above the "
        "caption of the same clip reversed (chance 50). *static* to *event*: t2v R@1, re-ranked, by kind of caption.",
        "",
        "| variant | " + " | ".join(COLUMNS) + " |",
        "|---" * (len(COLUMNS) + 1) + "|",
        *(f"| {name} | " + " | ".join(cells(found)) + " |" for name, found in results.items()),
        "",
    ]
    return "\n".join(lines)


COMMAND = "python recipes/msrvtt_ablation.py --markdown recipes/RESULTS.md"


def parse(arguments: list[str]) -> Config:
    """The config of a command line, with the main job's defaults for the data that is asked for."""
    config = tyro.cli(Config, default=Config(retrieval.EMBEDDED), args=arguments, description=__doc__)
    if config.base.data.root is None:
        return config
    return tyro.cli(Config, default=Config(retrieval.MSRVTT), args=arguments, description=__doc__)


if __name__ == "__main__":
    torch.set_float32_matmul_precision("high")
    main(parse(sys.argv[1:]))
