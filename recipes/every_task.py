"""Every task's recipe with its defaults, over seeds, on the embedded corpus: frozen frame-average BLIP beside LiteVL.

    python recipes/every_task.py                                   # 8 recipes, one of them with both heads, x 3 seeds
    python recipes/every_task.py --tasks msrvtt_qa --seeds 0
    python recipes/every_task.py --markdown recipes/RESULTS.md

Each run is a run folder under --folder; finished ones are not run again, so an interrupted study goes on where it
stopped. On two idle cores a run takes about four minutes. The claim of each: what averages frames cannot tell a clip
from its reversal (50 of 100), and LiteVL can.
"""

import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import activitynet_retrieval
import didemo_retrieval
import msrvtt_captioning
import msrvtt_qa
import msrvtt_retrieval
import msvd_qa
import msvd_retrieval
import own_retrieval
import torch
import tyro

from litevl.evaluation.report import rows_markdown, rows_table, show, spread, write_section
from litevl.tasks.adapted import BASELINE
from litevl.tasks.finished import finished_or_run

Figures = dict[str, Callable[[dict[str, Any]], float]]
RETRIEVAL: Figures = {
    "order, ITC": lambda result: result["order_accuracy"]["contrastive"],
    "order, re-ranked": lambda result: result["order_accuracy"]["reranked"],
    "t2v R@1, ITC": lambda result: result["contrastive"]["t2v_r1"],
    "t2v R@1, re-ranked": lambda result: result["reranked"]["t2v_r1"],
}
ANSWERS: Figures = {
    "accuracy, only order tells": lambda result: result["order_accuracy"],
    "accuracy": lambda result: result["accuracy"],
}
CAPTIONS: Figures = {
    "order": lambda result: result["order_accuracy"],
    "CIDEr": lambda result: result["cider"],
    "equal to a reference": lambda result: result["equal_to_reference"],
}


@dataclass(frozen=True)
class Job:
    """A recipe's run."""

    main: Callable[[Any], dict[str, Any]]
    config: Any
    figures: Figures


def classifier(config: Any) -> Any:
    """The other protocol of question answering."""
    return replace(config, model=replace(config.model, head="classifier"))


JOBS = {
    "msrvtt_retrieval": Job(msrvtt_retrieval.main, msrvtt_retrieval.EMBEDDED, RETRIEVAL),
    "didemo_retrieval": Job(didemo_retrieval.main, didemo_retrieval.EMBEDDED, RETRIEVAL),
    "activitynet_retrieval": Job(activitynet_retrieval.main, activitynet_retrieval.EMBEDDED, RETRIEVAL),
    "msvd_retrieval": Job(msvd_retrieval.main, msvd_retrieval.EMBEDDED, RETRIEVAL),
    "own_retrieval": Job(own_retrieval.main, own_retrieval.EMBEDDED, RETRIEVAL),
    "msrvtt_qa": Job(msrvtt_qa.main, msrvtt_qa.EMBEDDED, ANSWERS),
    "msrvtt_qa --head classifier": Job(msrvtt_qa.main, classifier(msrvtt_qa.EMBEDDED), ANSWERS),
    "msvd_qa": Job(msvd_qa.main, msvd_qa.EMBEDDED, ANSWERS),
    "msrvtt_captioning": Job(msrvtt_captioning.main, msrvtt_captioning.EMBEDDED, CAPTIONS),
}


@dataclass(frozen=True)
class Config:
    """Which recipes, over which seeds."""

    tasks: tuple[str, ...] = tuple(JOBS)
    """Which of them."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One run of each per seed."""
    folder: Path = Path("runs/every_task")
    """Holds a run folder per recipe and seed."""
    markdown: Path | None = None
    """Also write the table into this page."""

    def __post_init__(self) -> None:
        if unknown := [name for name in self.tasks if name not in JOBS]:
            raise ValueError(f"tasks: expected some of {', '.join(JOBS)}; got {', '.join(unknown)}")


def main(config: Config, command: str = "python recipes/every_task.py") -> dict[str, list[dict[str, Any]]]:
    """Runs what is not finished and prints the table.

    Args:
        config: what to run.
        command: what the page says made it.

    Returns:
        For each recipe the results of its seeds.
    """
    results: dict[str, list[dict[str, Any]]] = {}
    for seed in config.seeds:
        for name in config.tasks:
            print(f"\n{name}, seed {seed}")
            wanted = replace(JOBS[name].config, seed=seed)
            folder = config.folder / f"{name.replace(' --head ', '-')}-seed{seed}"
            results.setdefault(name, []).append(finished_or_run(wanted, folder, JOBS[name].main))
    made = rows(results, config)
    show(rows_table("Every task, test split of the embedded corpus", made, words=2))
    if config.markdown is not None:
        write_section(config.markdown, "Every task", markdown(made, command))
    return results


def rows(results: dict[str, list[dict[str, Any]]], config: Config) -> list[list[str]]:
    """The table: a row of column names, then a row for each figure of each recipe."""
    made = [["recipe", "figure", "frozen frame average", *(f"LiteVL, seed {seed}" for seed in config.seeds), "mean"]]
    for name, seeds in results.items():
        title = JOBS[name].config.model.adapter.title
        for figure, of in JOBS[name].figures.items():
            values = [of(result[title]) for result in seeds]
            each = [f"{value:.1f}" for value in values]
            made.append([name, figure, f"{of(seeds[0][BASELINE]):.1f}", *each, spread(values)])
    return made


def markdown(table: list[list[str]], command: str) -> str:
    """The table as a section of a page: the command, how to read it, the table."""
    text = [
        f"By `{command}`: each recipe without arguments, on the embedded corpus with the small BLIP for its task, the "
        "epoch that is best on the validation clips, 200 test clips. Mean ± standard deviation over seeds. *order*: "
        "how often a clip's caption (or paragraph) scores above that of the same clip reversed; chance is 50, where "
        "what averages frames is. *only order tells*: accuracy on the 200 of 890 questions whose answer the frames "
        "without their order do not tell; knowing the two possible answers gives 50.",
        "",
        rows_markdown(table),
    ]
    return "\n".join(text)


if __name__ == "__main__":
    torch.set_float32_matmul_precision("high")
    main(tyro.cli(Config, description=__doc__), shlex.join(["python", "recipes/every_task.py", *sys.argv[1:]]))
