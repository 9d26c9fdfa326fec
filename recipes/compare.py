"""BLIP frozen, with adapters, or trained whole, and E-ViLM, on the same data and protocol: accuracy against cost.

    python recipes/compare.py                                   # retrieval: 7 models x 3 seeds
    python recipes/compare.py --task questions                  # question answering: 4 models x 3 seeds
    python recipes/compare.py --models LiteVL 'LiteVL, whole model trained' E-ViLM
    python recipes/compare.py --markdown recipes/RESULTS.md --plot compare.png
    python recipes/compare.py --data-root /data/msrvtt --backbone Salesforce/blip-itm-base-coco --evilm-start FOLDER
    litevl compare runs/compare/retrieval/*                     # the same tables from the folders alone, or from others

The models of retrieval: 'LiteVL', 'bottlenecked LiteVL', 'ST-Adapter', 'AIM', 'temporal shift', 'LiteVL, whole model
trained', 'E-ViLM'; of questions: 'LiteVL', 'LiteVL, classifier', 'LiteVL, whole model trained', 'E-ViLM'. The frozen
BLIP, frame by frame, stands beside them always.

Each model is trained by its own recipe's defaults and the seed, in a folder of its own below --folder. Runs that are
finished there are skipped, and a study that was interrupted goes on where it stopped, by the same command. On two idle
CPU cores a run of retrieval on the embedded corpus took about 5 minutes (21 runs), and E-ViLM's pre-training about 6
minutes a seed.

E-ViLM is pre-trained first, by the variant `semantic VQ` of recipes/evilm_ablation.py with the seed, on the same
training videos, unless --evilm-start names one that is. Its pre-trainings on the embedded corpus are in
runs/evilm_ablation, which that recipe shares; on other data in `pretraining` below --folder.

Shares against the model trained whole stand beside those of E-ViLM's paper, and published figures in a table apart.
What the models cost at their full size, which no run here has, is measured with random weights (--full-size).
"""

import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import evilm_ablation
import evilm_qa
import evilm_retrieval
import msrvtt_ablation
import msrvtt_qa
import msrvtt_retrieval
import torch
import tyro

from litevl.comparison import (
    Comparison,
    Cost,
    CostConfig,
    Subject,
    check_output,
    check_picture,
    compare,
    measure_costs,
    plot_comparison,
    report,
)
from litevl.comparison.full_size import full_size_evilm, full_size_frame_average, full_size_litevl
from litevl.devices import find_device
from litevl.evaluation.report import show, write_section
from litevl.evaluation.stamp import describe_device
from litevl.evilm.files import is_evilm
from litevl.tasks import absolute
from litevl.tasks.finished import finished_or_run

WHOLE = "LiteVL, whole model trained"
EVILM = "E-ViLM"
TITLES = {"retrieval": "E-ViLM and LiteVL: retrieval", "questions": "E-ViLM and LiteVL: question answering"}
FULL_SIZE = "Full size, random weights"


@dataclass(frozen=True)
class Config:
    """Models to compare, on which data, over which seeds."""

    task: Literal["retrieval", "questions"] = "retrieval"
    """Text-video retrieval, or question answering."""
    data_root: Path | None = None
    """MSR-VTT's or MSRVTT-QA's folder; by default the embedded corpus."""
    backbone: str | None = None
    """The BLIP; by default the recipes'."""
    evilm_start: str | None = None
    """A pre-trained E-ViLM's folder, or `embedded`, the small one that ships; by default one is pre-trained for each
    seed."""
    vision_init: str | None = None
    """Of an E-ViLM that is pre-trained here; see recipes/evilm_pretrain.py."""
    text_init: str | None = None
    """Likewise."""
    models: tuple[str, ...] | None = None
    """Which models, by name, in quotes since names hold commas and spaces; by default all of the task. Retrieval:
    'LiteVL', 'bottlenecked LiteVL', 'ST-Adapter', 'AIM', 'temporal shift', 'LiteVL, whole model trained', 'E-ViLM'.
    Questions: 'LiteVL', 'LiteVL, classifier', 'LiteVL, whole model trained', 'E-ViLM'."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One run of each model per seed."""
    folder: Path = Path("runs/compare")
    """Holds a folder per task, and in it a run folder per model and seed."""
    frame_store: Path | None = None
    """A folder to keep decoded frames in; see the recipes' --data.frame-store."""
    whole_lr: float | None = None
    """Peak learning rate of the whole model; by default 3e-4 on the embedded corpus and 1e-5 elsewhere."""
    cost: bool = True
    """Also measure what the models cost."""
    full_size: bool = False
    """Also measure what full-size models cost, with random weights; minutes on a GPU, an hour on two CPU cores."""
    device: str | None = None
    """Where costs are measured; by default a GPU where there is one."""
    markdown: Path | None = None
    """Also write the tables into this page."""
    plot: Path | None = None
    """Also draw accuracy against cost."""
    json: Path | None = None
    """Also write everything, unrounded."""

    def __post_init__(self) -> None:
        known = MODELS[self.task]
        if self.task == "questions" and EVILM in self.chosen and self.data_root is not None and not self.evilm_start:
            raise ValueError(
                "evilm_start: questions alone pre-train no E-ViLM; give the folder of one, as "
                "recipes/evilm_pretrain.py writes it, or leave E-ViLM out with --models"
            )
        if unknown := [name for name in self.models or () if name not in known]:
            expected, got = (", ".join(f"'{name}'" for name in names) for names in (known, unknown))
            raise ValueError(f"models: expected some of {expected}; got {got}; put each name in quotes of its own")
        if self.evilm_start is not None and not is_evilm(self.evilm_start):
            raise ValueError(
                f"evilm_start: expected 'embedded' or the folder of a pre-trained E-ViLM, as recipes/evilm_pretrain.py "
                f"writes it, got {self.evilm_start}, which is none; pre-train one, or leave the option out"
            )
        if self.plot is not None and not self.cost:
            raise ValueError("plot: draws accuracy against cost, which --no-cost leaves out; drop one of them")
        find_device(self.device)
        check_output("markdown", self.markdown)
        check_output("json", self.json)
        check_picture("plot", self.plot)

    @property
    def chosen(self) -> tuple[str, ...]:
        """The models' names."""
        return self.models or tuple(MODELS[self.task])

    def base(self, recipe: Any, real: str = "MSRVTT") -> Any:
        """A recipe's defaults for the data that is asked for."""
        config = recipe.EMBEDDED if self.data_root is None else getattr(recipe, real)
        data = replace(config.data, root=self.data_root, frame_store=self.frame_store)
        config = replace(config, data=data)
        if self.backbone is not None and hasattr(config.model, "backbone"):
            config = replace(config, model=replace(config.model, backbone=self.backbone))
        return absolute(config)

    def start(self, seed: int) -> str:
        """The folder of the E-ViLM that is trained on the task; pre-trained where it is not yet."""
        if self.evilm_start is not None:
            return "embedded" if self.evilm_start == "embedded" else str(Path(self.evilm_start).resolve())
        place = Path("runs/evilm_ablation") if self.data_root is None else self.folder / "pretraining"
        first = evilm_ablation.Config(
            self.data_root,
            None if self.task == "questions" else self.backbone,
            self.vision_init,
            self.text_init,
            self.frame_store,
            ablation_dir=place,
        )
        evilm_ablation.prepare(first, "semantic VQ", seed)
        return str(evilm_ablation.pretrained_folder(first, "semantic VQ", seed).resolve())


Wanted = Callable[[Config, int], tuple[Any, Callable[[Any], dict[str, Any]]]]
"""From the comparison's config and a seed: a run's config, and its recipe."""


def retrieval(change: Callable[[Any], Any]) -> Wanted:
    """Retrieval by BLIP, changed."""
    return lambda config, seed: (last(change(config.base(msrvtt_retrieval))), msrvtt_retrieval.main)


def questions(change: Callable[[Any], Any]) -> Wanted:
    """Question answering by BLIP, changed."""
    return lambda config, seed: (last(change(config.base(msrvtt_qa))), msrvtt_qa.main)


def evilm(recipe: Any) -> Wanted:
    """E-ViLM on a task."""

    def wanted(config: Config, seed: int) -> tuple[Any, Callable[[Any], dict[str, Any]]]:
        made = config.base(recipe, "REAL")
        return last(replace(made, model=replace(made.model, start=config.start(seed)))), recipe.main

    return wanted


def whole(task: Callable[[Callable[[Any], Any]], Wanted]) -> Wanted:
    """LiteVL, with all of BLIP trained."""

    def wanted(config: Config, seed: int) -> tuple[Any, Callable[[Any], dict[str, Any]]]:
        lr = config.whole_lr or (3e-4 if config.data_root is None else 1e-5)

        def change(made: Any) -> Any:
            return replace(made, model=replace(made.model, train="all"), training=replace(made.training, lr=lr))

        return task(change)(config, seed)

    return wanted


def last(config: Any) -> Any:
    """The last epoch counts, so that no model gains by selection."""
    return replace(config, training=replace(config.training, select_on="last"))


MODELS: dict[str, dict[str, Wanted]] = {
    "retrieval": {
        **{name: retrieval(change) for name, change in msrvtt_ablation.FAMILIES.items() if name != "no adapter"},
        WHOLE: whole(retrieval),
        EVILM: evilm(evilm_retrieval),
    },
    "questions": {
        "LiteVL": questions(lambda config: config),
        "LiteVL, classifier": questions(lambda config: replace(config, model=replace(config.model, head="classifier"))),
        WHOLE: whole(questions),
        EVILM: evilm(evilm_qa),
    },
}
"""Of each task, by name. The adapter families all with trained heads, as recipes/msrvtt_ablation.py has them."""


def main(config: Config, command: str = "python recipes/compare.py") -> Comparison:
    """Runs what is not finished, compares, and prints the tables.

    Args:
        config: what to run.
        command: what the page says made it.

    Returns:
        The comparison.
    """
    place = config.folder / config.task
    frozen, recipe = MODELS[config.task]["LiteVL"](config, config.seeds[0])
    frozen = replace(frozen, training=replace(frozen.training, epochs=0, select_on=None))
    finished_or_run(frozen, place / "frozen", recipe)
    named = [str(place / "frozen")]
    for seed in config.seeds:
        for name in config.chosen:
            print(f"\n{name}, seed {seed}")
            wanted, recipe = MODELS[config.task][name](config, seed)
            folder = place / f"{name.replace(',', '').replace(' ', '-')}-seed{seed}"
            finished_or_run(replace(wanted, seed=seed, baseline=False), folder, recipe)
            named.append(f"{name}={folder}")
    large = WHOLE if WHOLE in config.chosen else None
    tell = lambda line: print(line, file=sys.stderr)  # noqa: E731 - a line
    found = compare(named, large=large, costs=CostConfig(config.device), measure=config.cost, tell=tell)
    sections, told = report.sections(found), report.to_json(found)
    if config.full_size:
        costs = full_size(config.device)
        sections.insert(-1, full_size_section(costs, config.device))
        told["full_size_random_weights"] = {name: asdict(cost) for name, cost in costs.items()}
    show(*report.tables(sections))
    if config.markdown is not None:
        text = "\n\n".join([f"By `{command}`.", *(section.markdown() for section in sections)])
        write_section(config.markdown, TITLES[config.task], text)
    if config.plot is not None:
        plot_comparison(found).savefig(config.plot, dpi=150)
    if config.json is not None:
        config.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    return found


FULL_SIZES: dict[str, Callable[[torch.device], Subject]] = {
    "BLIP-B, frame average, 8 frames": full_size_frame_average,
    "LiteVL on BLIP-B, 8 frames": full_size_litevl,
    "E-ViLM, 4 frames": full_size_evilm,
}


def full_size(device: str | None) -> dict[str, Cost]:
    """What the models cost at their full size: ViT-B and BERT-base at 8 frames, E-ViLM at its own 4."""
    config = CostConfig(device, rounds=11, seconds=60.0)
    return measure_costs(FULL_SIZES, config, tell=lambda line: print(line, file=sys.stderr))


def full_size_section(costs: dict[str, Cost], device: str | None) -> report.Section:
    """The same as a table, with E-ViLM's shares."""
    _, large, small = costs.values()
    shares = (
        f"E-ViLM has {100 * small.total / large.total:.1f}% of LiteVL's parameters and "
        f"{100 * (1 - small.gflops / large.gflops):.1f}% fewer GFLOPs in all "
        f"({100 * (1 - small.clip_gflops / large.clip_gflops):.1f}% fewer a clip)."
    )
    where = describe_device(find_device(device))
    caption = f"Frames of 224 px, random weights: nothing here was trained. Measured on {where}, in float32. {shares}"
    return report.cost_section(costs, FULL_SIZE, caption)


if __name__ == "__main__":
    torch.set_float32_matmul_precision("high")
    main(tyro.cli(Config, description=__doc__), shlex.join(["python", "recipes/compare.py", *sys.argv[1:]]))
