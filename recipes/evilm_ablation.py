"""What E-ViLM's masked video modelling adds: targets, number of codes and mask ratio, over seeds, with the spread.

    python recipes/evilm_ablation.py                            # 8 variants x 3 seeds, 4 tokenizers
    python recipes/evilm_ablation.py --variants 'no MVM' 'semantic VQ' --seeds 0 1
    python recipes/evilm_ablation.py --markdown recipes/RESULTS.md
    python recipes/evilm_ablation.py --data-root /data/msrvtt --teacher-source Salesforce/blip-itm-base-coco

A variant is pre-trained (recipes/evilm_pretrain.py) and then trained on retrieval (recipes/evilm_retrieval.py), both
with their own defaults and the seed; the last epoch of each counts, so that no variant gains by selection. A tokenizer
(recipes/evilm_tokenizer.py) is trained once for each kind and number of codes, with seed 0. Each of these is a run
folder under --ablation-dir; finished ones are not run again, so an interrupted ablation goes on where it stopped.
"""

import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import evilm_pretrain
import evilm_retrieval
import evilm_tokenizer
import torch
import tyro

from litevl.comparison.intervals import FEWEST, estimate
from litevl.evaluation.report import rows_markdown, rows_table, show, spread, write_section
from litevl.tasks import absolute
from litevl.tasks.evilm import TITLE
from litevl.tasks.evilm_pretraining import EViLMPretrainingConfig
from litevl.tasks.finished import finished_or_run
from litevl.tasks.vq_tokenizer import TITLE as TOKENIZER_TITLE
from litevl.tasks.vq_tokenizer import TokenizerTrainingConfig


@dataclass(frozen=True)
class Variant:
    """What masked video modelling is told, and how much is hidden."""

    teacher: str | None = "blip"
    """Of the tokenizer: `blip` or `pixels`; None without a tokenizer."""
    codes: int | None = None
    """By default the tokenizer recipe's."""
    loss: dict[str, float] = field(default_factory=dict)
    """Changes of the pre-training's loss."""
    target: str = "codes"
    """`codes`, or `features`: the teacher's, by regression."""


VARIANTS = {
    "no MVM": Variant(None, loss={"mvm_weight": 0.0}),
    "semantic VQ": Variant(),
    "pixel VQ": Variant("pixels"),
    "feature regression": Variant(None, target="features"),
    "semantic VQ, 128 codes": Variant(codes=128),
    "semantic VQ, 2048 codes": Variant(codes=2048),
    "semantic VQ, mask 15%": Variant(loss={"mask_ratio": 0.15}),
    "semantic VQ, mask 75%": Variant(loss={"mask_ratio": 0.75}),
}
USUAL = "semantic VQ"
"""The recipes' default; the others differ from it in what their name says."""

COLUMNS: dict[str, Callable[[dict[str, Any]], float]] = {
    "t2v R@1, ITC": lambda result: result["contrastive"]["t2v_r1"],
    "t2v R@1, re-ranked": lambda result: result["reranked"]["t2v_r1"],
    "v2t R@1, ITC": lambda result: result["contrastive"]["v2t_r1"],
    "v2t R@1, re-ranked": lambda result: result["reranked"]["v2t_r1"],
}
CORPUS_COLUMNS: dict[str, Callable[[dict[str, Any]], float]] = {
    "order, ITC": lambda result: result["order_accuracy"]["contrastive"],
    "order, re-ranked": lambda result: result["order_accuracy"]["reranked"],
}
"""For the embedded corpus, which knows clips that are each other's reversal."""
TITLE_OF_SECTION = "What masked video modelling adds to E-ViLM"


@dataclass(frozen=True)
class Config:
    """An ablation of E-ViLM's pre-training."""

    data_root: Path | None = None
    """MSR-VTT's folder, for the tokenizer, pre-training and retrieval alike; by default the embedded corpus."""
    teacher_source: str | None = None
    """The BLIP whose features are the semantic targets; by default the recipes'."""
    vision_init: str | None = None
    """Of a fresh model; see recipes/evilm_pretrain.py."""
    text_init: str | None = None
    """Likewise."""
    frame_store: Path | None = None
    """A folder to keep decoded frames in; see the recipes' --data.frame-store."""
    variants: tuple[str, ...] = tuple(VARIANTS)
    """Which variants, by name."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One run of each variant per seed."""
    ablation_dir: Path = Path("runs/evilm_ablation")
    """Holds a run folder per tokenizer, pre-training and retrieval run."""
    markdown: Path | None = None
    """Also write the tables into this page, in place of the earlier ones."""

    def __post_init__(self) -> None:
        if unknown := [name for name in self.variants if name not in VARIANTS]:
            raise ValueError(f"variants: expected some of {', '.join(VARIANTS)}; got {', '.join(unknown)}")

    def defaults(self, recipe: Any) -> Any:
        """A recipe's defaults for the data that is asked for."""
        config = recipe.EMBEDDED if self.data_root is None else recipe.REAL
        return absolute(replace(config, data=replace(config.data, root=self.data_root, frame_store=self.frame_store)))


Results = dict[str, list[dict[str, Any]]]


def main(config: Config, command: str = "python recipes/evilm_ablation.py") -> tuple[Results, Results, Results]:
    """Runs what is not finished and prints the tables.

    Args:
        config: what to run.
        command: what the page says made it.

    Returns:
        By variant, the results of its seeds: of retrieval, and of pre-training; by tokenizer, those of its one run.

    Raises:
        ValueError: for several processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("the ablation runs in one process; give each process group its own --seeds or --variants")
    tuned: Results = {}
    pretrained: Results = {}
    tokenizers: Results = {}
    for seed in config.seeds:
        for name in config.variants:
            before, start = pretrained_folder(config, name, seed), prepare(config, name, seed)
            if start.tokenizer is not None:
                variant = VARIANTS[name]
                label = f"{variant.teacher}, {tokenizer(config, variant).model.codes} codes"
                tokenizers[label] = [start.tokenizer[TOKENIZER_TITLE]]
            pretrained.setdefault(name, []).append(start.pretrained[TITLE])
            print(f"\nretrieval, {name}, seed {seed}")
            place = before.with_name(before.name.removesuffix("-pretrain"))
            tuning = config.defaults(evilm_retrieval)
            tuning = replace(
                tuning,
                seed=seed,
                baseline=False,
                model=replace(tuning.model, start=str(before.resolve())),
                training=replace(tuning.training, select_on="last"),
            )
            tuned.setdefault(name, []).append(finished_or_run(tuning, place, evilm_retrieval.main)[TITLE])
    tables, said = (rows(tuned, pretrained), tokenizer_rows(tokenizers)), differences(tuned)
    titles = f"{TITLE_OF_SECTION}, test split, mean ± standard deviation over seeds {config.seeds}", "Tokenizers"
    show(*(rows_table(title, table) for title, table in zip(titles, tables, strict=True)))
    print(said)
    if config.markdown is not None:
        variants, codes = tables
        write_section(config.markdown, TITLE_OF_SECTION, markdown(config, command, variants, said, codes))
    return tuned, pretrained, tokenizers


@dataclass(frozen=True)
class Start:
    """What a variant's retrieval starts from: the results of its runs."""

    tokenizer: dict[str, Any] | None
    pretrained: dict[str, Any]


def prepare(config: Config, name: str, seed: int) -> Start:
    """Trains a variant's tokenizer and pre-trains its model, where that is not done."""
    variant, found = VARIANTS[name], None
    if variant.teacher is not None:
        print(f"\ntokenizer for {name}")
        found = finished_or_run(tokenizer(config, variant), tokenizer_folder(config, variant), evilm_tokenizer.main)
    print(f"\npre-training, {name}, seed {seed}")
    folder = pretrained_folder(config, name, seed)
    return Start(found, finished_or_run(pretraining(config, variant, seed), folder, evilm_pretrain.main))


def pretrained_folder(config: Config, name: str, seed: int) -> Path:
    """Where the pre-training's run is, or will be."""
    return config.ablation_dir / f"{folder_name(name)}-seed{seed}-pretrain"


def folder_name(variant: str) -> str:
    """A variant's name as a folder's."""
    return variant.replace(",", "").replace("%", "").replace(" ", "-")


def tokenizer(config: Config, variant: Variant) -> TokenizerTrainingConfig:
    """The tokenizer's run."""
    wanted = config.defaults(evilm_tokenizer)
    codes = wanted.model.codes if variant.codes is None else variant.codes
    source = (config.teacher_source or wanted.model.teacher_source) if variant.teacher == "blip" else "none"
    return replace(
        wanted,
        baseline=False,
        model=replace(wanted.model, teacher=variant.teacher, teacher_source=source, codes=codes),
    )


def tokenizer_folder(config: Config, variant: Variant) -> Path:
    """Where the tokenizer's run is, or will be."""
    return config.ablation_dir / f"tokenizer-{variant.teacher}-{tokenizer(config, variant).model.codes}"


def pretraining(config: Config, variant: Variant, seed: int) -> EViLMPretrainingConfig:
    """The pre-training's run."""
    wanted = config.defaults(evilm_pretrain)
    source = config.teacher_source or wanted.model.teacher_source
    model = replace(wanted.model, target=variant.target, teacher_source=source)
    if model.start is None:
        model = replace(model, vision_init=config.vision_init, text_init=config.text_init)
    if variant.teacher is not None:
        model = replace(model, tokenizer=str(tokenizer_folder(config, variant).resolve()))
    loss = replace(wanted.loss, **variant.loss)
    return replace(wanted, seed=seed, baseline=False, model=model, loss=loss)


def rows(tuned: Results, pretrained: Results) -> list[list[str]]:
    """The table of variants: a row of column names, then a row for each."""
    ordered = bool(next(iter(tuned.values()))[0]["order_accuracy"])
    shown = CORPUS_COLUMNS | COLUMNS if ordered else COLUMNS
    zero_shot = "zero-shot t2v R@1, ITC"
    made = [["variant", *shown, zero_shot, "masked patches told", "masked words told"]]
    for name, seeds in tuned.items():
        cells = [spread([column(result) for result in seeds]) for column in shown.values()]
        before = pretrained[name]
        cells.append(spread([COLUMNS["t2v R@1, ITC"](result) for result in before]))
        for part in ("patches", "words"):
            told = [result["masked"][part] for result in before if part in result.get("masked", {})]
            cells.append(spread(told) if told else "")
        made.append([name, *cells])
    return made


def differences(tuned: Results) -> str:
    """What each variant gains on the recipes' own, seed by seed, and whether that is clear of the spread."""
    if USUAL not in tuned or len(tuned[USUAL]) < FEWEST or len(tuned) < 2:
        return ""
    ordered = bool(tuned[USUAL][0]["order_accuracy"])
    shown = {name: column for name, column in (CORPUS_COLUMNS | COLUMNS).items() if ordered or name in COLUMNS}
    told, clear = [], []
    for column in ("t2v R@1, ITC", "order, ITC") if ordered else ("t2v R@1, ITC",):
        gains = {}
        for name, seeds in tuned.items():
            if name != USUAL:
                pairs = zip(seeds, tuned[USUAL], strict=True)
                gains[name] = estimate([shown[column](own) - shown[column](usual) for own, usual in pairs])
        told.append(
            f"{column}: " + "; ".join(f"{name} {gain.mean:+.1f} ± {gain.margin:.1f}" for name, gain in gains.items())
        )
        clear += [f"{name} ({column})" for name, gain in gains.items() if abs(gain.mean) > (gain.margin or 0.0)]
    verdict = f"Clear of zero: {', '.join(clear)}." if clear else "None of these differences is clear of zero."
    return f"Against *{USUAL}*, seed by seed, mean and 95% interval (Student's t). {'. '.join(told)}. {verdict}"


def tokenizer_rows(tokenizers: Results) -> list[list[str]]:
    """The table of tokenizers."""
    made = [["teacher", "distance", "usage, %", "perplexity"]]
    for name, (result, *_) in tokenizers.items():
        made.append([name, f"{result['distance']:.3f}", f"{result['usage']:.0f}", f"{result['perplexity']:.0f}"])
    return made


def markdown(config: Config, command: str, variants: list[list[str]], said: str, tokenizers: list[list[str]]) -> str:
    """The study as a section of a page: the command, how to read it, the tables."""
    first, then = config.defaults(evilm_pretrain).training, config.defaults(evilm_retrieval).training
    data = "the embedded corpus" if config.data_root is None else "the data of --data-root"
    text = [
        f"On {data}, by `{command}`: {first.epochs} epochs of pre-training in batches of {first.batch_size}, then "
        f"{then.epochs} on retrieval in batches of {then.batch_size}, last epoch, test split, seeds "
        f"{', '.join(map(str, config.seeds))}; one tokenizer of each kind, of seed 0. Percent, mean ± standard "
        "deviation over seeds. *ITC* compares embeddings, *re-ranked* adds matching for the best candidates. *order*: "
        "how often a clip's caption scores above that of the same clip reversed (chance 50). *zero-shot*: after "
        "pre-training alone. *told*: masked patches and words told rightly there; of features, the mean cosine.",
        "",
        rows_markdown(variants),
        "",
        *([said, ""] if said else []),
        "The tokenizers, on the test clips: *distance* is 1 - cosine to the teacher's features (of pixels the squared "
        "error), *usage* the share of codes that occur, *perplexity* how many codes as often used would be as varied.",
        "",
        rows_markdown(tokenizers),
    ]
    return "\n".join(text)


if __name__ == "__main__":
    torch.set_float32_matmul_precision("high")
    main(tyro.cli(Config, description=__doc__), shlex.join(["python", "recipes/evilm_ablation.py", *sys.argv[1:]]))
