"""E-ViLM's pre-training as a task: retrieval's data and metrics, with a richer objective and a model from scratch."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from torch import Tensor

from litevl.adapters.fingerprint import digest_of
from litevl.blip import load_tokenizer
from litevl.data.retrieval import RetrievalDataConfig
from litevl.distributed import gather_objects
from litevl.evaluation.retrieval import EvaluationConfig
from litevl.evilm.config import EViLMConfig
from litevl.evilm.files import folder_of, load_evilm, read_architecture, save_evilm
from litevl.evilm.initial import load_text_weights, load_vision_weights
from litevl.evilm.model import EViLM
from litevl.evilm.pretraining import PretrainingLossConfig, PretrainingObjective
from litevl.evilm.teacher import TeacherKind, load_teacher, resample_grid
from litevl.evilm.vq_files import load_vq_tokenizer
from litevl.training import TrainingConfig

from .evilm import TITLE, WholeEViLM, described
from .retrieval import Retrieval
from .run import RunConfig, run_task
from .task import Split


@dataclass(frozen=True)
class PretrainedModelConfig:
    """The model that is pre-trained, and what it is told to predict."""

    start: str | None = None
    """Go on from this E-ViLM, whose sizes and vocabulary then hold: a folder, or `embedded`, the small one that ships
    and knows still pictures. By default a fresh one."""
    architecture: EViLMConfig = field(default_factory=EViLMConfig)
    """How large a fresh one is."""
    vocab: str = "google-bert/bert-base-uncased"
    """BERT's vocabulary for a fresh one: a vocab.txt, a transformers folder, or a hub id."""
    vision_init: str | None = None
    """Start a fresh one's video encoder from an image ViT of its size: a hub id or folder, as
    facebook/deit-tiny-patch16-224."""
    text_init: str | None = None
    """Start a fresh one's text encoder from the first layers of a BERT of its width, as
    microsoft/MiniLM-L12-H384-uncased."""
    target: Literal["codes", "features"] = "codes"
    """What is told of a masked patch: the tokenizer's code, or the teacher's features themselves, by regression."""
    tokenizer: str = "embedded"
    """The folder of a VQ tokenizer, as a run of recipes/evilm_tokenizer.py; or `embedded`, the small one that ships."""
    teacher: TeacherKind = "blip"
    """For --target features: a BLIP's vision encoder, a CLIP's, or the pixels."""
    teacher_source: str = "Salesforce/blip-itm-base-coco"
    """For --target features: which BLIP or CLIP."""

    def absolute(self) -> "PretrainedModelConfig":
        """With absolute paths, so that a run folder means the same from anywhere."""
        named = ("start", "vocab", "vision_init", "text_init", "tokenizer", "teacher_source")
        given = {name: getattr(self, name) for name in named}
        there = [name for name, value in given.items() if value is not None and Path(value).exists()]
        paths: dict[str, Any] = {name: str(Path(given[name]).resolve()) for name in there}
        return replace(self, **paths)


@dataclass(frozen=True)
class EViLMPretrainingConfig(RunConfig):
    """E-ViLM's pre-training on videos with captions."""

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
        if self.training.epochs == 0:
            raise ValueError("epochs: pre-training starts from nothing, so there is nothing to evaluate without it")


class EViLMPretraining(WholeEViLM, Retrieval):
    """Pre-training; what it reaches is measured as zero-shot retrieval, and by what it tells of masked clips."""

    kind = "pre-training"
    config: EViLMPretrainingConfig
    targets: "Targets | None"

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
        clips = self.clips(model, videos)
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


@dataclass(frozen=True)
class Targets:
    """What masked video modelling tells."""

    of: Callable[[Tensor], Tensor]
    """From whole clips to labels or features."""
    outputs: int
    """The number of labels, or the features' width."""
    name: str
    """What it is, in words."""
    labels: str
    """The same by its weights."""


def load_targets(config: PretrainedModelConfig, size: EViLMConfig, device: torch.device) -> Targets:
    """What masked video modelling tells.

    Raises:
        ValueError: the tokenizer takes other frames or patches than the model.
    """
    if config.target == "features":
        teacher = load_teacher(config.teacher, config.teacher_source, size.image_size, size.patch_size).to(device)

        def features(pixels: Tensor) -> Tensor:
            found = resample_grid(teacher(pixels.flatten(0, 1)), size.grid)
            return found.unflatten(0, pixels.shape[:2])

        name = f"the features of {config.teacher} {config.teacher_source}"
        return Targets(features, teacher.dim, name, f"features {digest_of(teacher.state_dict())}")
    tokenizer = load_vq_tokenizer(config.tokenizer).to(device)
    own = tokenizer.config
    if (own.image_size, own.grid) != (size.image_size, size.grid):
        raise ValueError(
            f"tokenizer: expected one of frames of {size.image_size} px and {size.grid} x {size.grid} patches, as the "
            f"model's; {config.tokenizer} is of {own.image_size} px and {own.grid} x {own.grid}"
        )
    name = f"{own.codes} codes of {config.tokenizer} ({own.teacher})"
    return Targets(tokenizer.tokenize, own.codes, name, f"codes {digest_of(tokenizer.state_dict())}")


def run_evilm_pretraining(config: EViLMPretrainingConfig, name: str, command: str | None = None) -> dict[str, Any]:
    """Pre-trains an E-ViLM, or evaluates a finished run again; see `run_task`."""
    return run_task(EViLMPretraining, config, name, command)
