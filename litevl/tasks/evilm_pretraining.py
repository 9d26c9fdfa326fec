"""E-ViLM's pre-training as a task: retrieval's data and metrics, with a richer objective and a model from scratch."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from rich.table import Table
from torch import Tensor

from litevl.blip import load_tokenizer
from litevl.data.retrieval import RetrievalDataConfig
from litevl.distributed import gather_objects
from litevl.evaluation.report import show
from litevl.evaluation.retrieval import EvaluationConfig
from litevl.evilm.files import folder_of, load_evilm, read_architecture, save_evilm
from litevl.evilm.initial import load_text_weights, load_vision_weights
from litevl.evilm.model import EViLM
from litevl.evilm.pretraining import PretrainingLossConfig, PretrainingObjective
from litevl.training import TrainingConfig

from .evilm import TITLE, WholeEViLM, described
from .pretrained_model import PretrainedModelConfig, Targets, load_targets
from .retrieval import Retrieval
from .run import RunConfig, run_task
from .task import Split


@dataclass(frozen=True)
class EViLMPretrainingConfig(RunConfig):
    """E-ViLM's pre-training on videos with captions."""

    baseline: bool = field(default=True, kw_only=True)
    """Also evaluate what the run starts from; a fresh model knows nothing and is not evaluated."""
    model: Annotated[PretrainedModelConfig, tyro.conf.arg(name="")]
    """The model, and what it is told to predict."""
    training: Annotated[TrainingConfig, tyro.conf.arg(name="")]
    """How long, how fast and in what batches."""
    evaluation: EvaluationConfig
    """How a split is scored."""
    data: RetrievalDataConfig = field(default_factory=RetrievalDataConfig)
    """The videos and their captions."""
    loss: PretrainingLossConfig = field(default_factory=PretrainingLossConfig)
    """The training objective."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.training.epochs == 0 and self.model.start is None:
            raise ValueError(
                "epochs: expected at least 1 for a fresh model, got 0: it knows nothing, and there is nothing to "
                "evaluate without training; name a --start to evaluate that"
            )


class EViLMPretraining(WholeEViLM, Retrieval):
    """Pre-training; what it reaches is measured as zero-shot retrieval, and by what it tells of masked clips."""

    kind = "pre-training"
    config: EViLMPretrainingConfig
    targets: Targets | None

    def load_start(self, folder: Path | None) -> str:
        """The model that is pre-trained, and what it predicts."""
        config, device = self.config.model, self.accelerator.device
        size = config.architecture if config.start is None else read_architecture(folder_of(config.start, "stills"))
        self.targets = load_targets(config, size, device) if self.config.loss.mvm_weight else None
        lines = [] if self.targets is None else [f"masked patches are told by {self.targets.name}"]
        if config.start is not None:
            self.start = self._load(folder_of(config.start, "stills"))
            return "\n".join([f"E-ViLM from {config.start}, {described(self.start)}", *lines])
        self.start = EViLM(size, load_tokenizer(config.vocab), self._outputs).to(device)
        if config.vision_init is not None:
            lines.append(load_vision_weights(self.start.video_encoder, config.vision_init))
        if config.text_init is not None:
            lines.append(load_text_weights(self.start.text_encoder, config.text_init, self.start.tokenizer))
        return "\n".join([f"E-ViLM, fresh, {described(self.start)}", *lines])

    @property
    def _outputs(self) -> int:
        return 0 if self.targets is None else self.targets.outputs

    @property
    def _of(self) -> Callable[[Tensor], Tensor] | None:
        return None if self.targets is None else self.targets.of

    def _load(self, folder: Path) -> EViLM:
        labels = None if self.targets is None else self.targets.labels
        return load_evilm(folder, vision_targets=self._outputs, labels=labels).to(self.accelerator.device)

    def baseline(self) -> tuple[str, EViLM] | None:
        """What it starts from; a fresh model knows nothing and is not measured."""
        return None if self.config.model.start is None else (f"{TITLE}, before", self.start)

    def trainable(self) -> EViLM:
        """What it starts from."""
        return self.ready(self.start, masked=self.config.loss.mvm_weight > 0)

    def objective(self, model: EViLM) -> PretrainingObjective:
        """MVM, MLM, VTM and VTC."""
        return PretrainingObjective(model, self.config.loss, self._of, self.config.seed)

    @classmethod
    def leaves_parameters_unused(cls, config: EViLMPretrainingConfig) -> bool:
        """A part of the objective that is left out leaves its head out."""
        return 0 in vars(config.loss).values()

    def save(self, model: EViLM, folder: Path) -> None:
        """The whole model with its heads."""
        save_evilm(model, folder, pretraining=asdict(self.config.loss), **self.record())

    def load_trained(self, folder: Path) -> EViLM:
        """From its folder alone, with the heads."""
        return self._load(folder)

    def evaluate(self, model: EViLM, split: Split) -> dict[str, Any]:
        """Zero-shot retrieval, and how much is told of masked clips."""
        metrics = super().evaluate(model, split)
        if self.config.loss.mlm_weight or self.config.loss.mvm_weight:
            metrics["masked"] = self.tell_masked(model, split)
        return metrics

    @torch.no_grad()
    def tell_masked(self, model: EViLM, split: Split) -> dict[str, float]:
        """Percent of masked words and patches told rightly; of features, the mean cosine in percent.

        Each video with its first caption, masked as in training, the same at every evaluation.
        """
        videos = self.data.splits[split]
        captions = {video.video_id: video.captions[0] for video in videos}
        places = {video.video_id: place for place, video in enumerate(videos)}
        objective = PretrainingObjective(model, self.config.loss, self._of, self.config.seed)
        sums: dict[str, list[tuple[float, int]]] = {}
        clips = self.of_split("masked", split, partial(self.clips, model, videos))
        for names, pixels in clips:
            tokens = model.tokenize([captions[name] for name in names])
            hidden = objective.hide_each(tokens, pixels.shape[1], [places[name] for name in names])
            with self.accelerator.autocast():
                told = objective.predict(pixels, tokens, hidden)
            for name, (right, count) in told.right().items():
                sums.setdefault(name, []).append((right, count))
        every: dict[str, list[tuple[float, int]]] = {}
        for part in gather_objects(sums):
            for name, pairs in part.items():
                every.setdefault(name, []).extend(pairs)
        return {
            name: 100 * sum(right for right, _ in pairs) / max(sum(count for _, count in pairs), 1)
            for name, pairs in every.items()
        }

    def show(self, metrics: Mapping[str, Any]) -> None:
        """Also how much is told of masked clips."""
        super().show(metrics)
        codes = None if self.targets is None or self.config.model.target == "features" else self.targets.outputs
        told = {name: values["masked"] for name, values in metrics["results"].items() if "masked" in values}
        if told:
            target = metrics["protocol"]["mvm_target"]
            show(masked_table(told, self.config.loss, len(self.start.tokenizer), codes, target))

    def stamp(self) -> dict[str, Any]:
        """Also what it was told to predict."""
        config = self.config.model
        target = config.tokenizer if config.target == "codes" else f"{config.teacher} {config.teacher_source}"
        return {
            **super().stamp(),
            "backbone_source": config.start or "fresh",
            "mvm_target": f"{config.target} of {target}" if self.config.loss.mvm_weight else "none",
        }

    def record(self) -> dict[str, Any]:
        """What is saved beside the weights."""
        labels = None if self.targets is None else self.targets.labels
        return {**super().record(), "vision_targets": self._outputs, "labels": labels}


def masked_table(
    told: Mapping[str, Mapping[str, float]], loss: PretrainingLossConfig, words: int, codes: int | None, target: str
) -> Table:
    """How much is told of masked clips, a row for each model, with what guessing evenly gives.

    Args:
        told: of each model, `words` and `patches` in percent, as `EViLMPretraining.tell_masked` gives them.
        loss: which says how much is hidden.
        words: in the vocabulary.
        codes: of the tokenizer; None for features, of which the cosine is told.
        target: of masked patches, in words.
    """
    first = next(iter(told.values()))
    said = [f"{100 * loss.word_share:g}% of the words hidden, {words} to guess from"] if "words" in first else []
    if "patches" in first:
        among = "mean cosine to the target's" if codes is None else f"{codes} codes to guess from"
        said.append(f"{100 * loss.mask_ratio:g}% of the patches hidden, {among}; target {target}")
    table = Table(
        title="Told of masked clips, %", caption="; ".join(said), title_justify="left", caption_justify="left"
    )
    table.add_column("model")
    for name in first:
        table.add_column(f"masked {name}", justify="right")
    for model, values in told.items():
        table.add_row(model, *(f"{values[name]:.1f}" for name in first))
    chance = {"words": f"{100 / words:.2g}", "patches": "" if codes is None else f"{100 / codes:.2g}"}
    if any(chance[name] for name in first):
        table.add_row("chance, all equally likely", *(chance[name] for name in first))
    return table


def run_evilm_pretraining(config: EViLMPretrainingConfig, name: str, command: str | None = None) -> dict[str, Any]:
    """Pre-trains an E-ViLM, or evaluates a finished run again; see `run_task`.

    Raises:
        ValueError: settings of a fresh model beside a start, or no targets for masked video modelling.
    """
    if config.evaluate is None:  # what a finished run has, it was made with
        config.model.require_used()
    if config.loss.mvm_weight:
        config.model.require_targets()
    return run_task(EViLMPretraining, config, name, command)
