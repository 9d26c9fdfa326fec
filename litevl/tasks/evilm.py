"""E-ViLM's downstream tasks: the data, metrics and protocol of LiteVL's, with another model trained whole."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import tyro

from litevl.adapters.fingerprint import digest_of
from litevl.data.question_answering import QuestionDataConfig
from litevl.data.retrieval import RetrievalDataConfig
from litevl.evaluation.answering import QuestionEvaluationConfig
from litevl.evaluation.retrieval import EvaluationConfig
from litevl.evaluation.stamp import stamp_software
from litevl.evilm.files import (
    CONFIG_NAME,
    add_to_record,
    folder_of,
    is_evilm,
    load_classifier,
    load_evilm,
    read_record,
    save_evilm,
)
from litevl.evilm.model import EViLM
from litevl.evilm.question_answering import EViLMQuestionAnswering
from litevl.losses import QuestionLossConfig, RetrievalLossConfig
from litevl.training import TrainingConfig, read_json
from litevl.training.run_folder import METRICS_NAME

from .question_answering import QuestionAnswering
from .retrieval import Retrieval
from .run import RunConfig, run_task
from .task import Task

TITLE = "E-ViLM"


@dataclass(frozen=True)
class EViLMModelConfig:
    """Which E-ViLM is trained on the task."""

    start: str | None = "embedded"
    """The folder of a pre-trained one, as a run of recipes/evilm_pretrain.py; or `embedded`, the small one that ships:
    here the one that was pre-trained on the embedded corpus. With --data.root it has to be given."""
    num_frames: int | None = None
    """Frames of a clip; by default what it was pre-trained with."""
    max_text_length: int | None = None
    """Tokens that a caption or question is cut to; by default what it was pre-trained with. Paragraphs want 64."""

    def absolute(self) -> "EViLMModelConfig":
        """With an absolute path, so that a run folder means the same from anywhere."""
        if self.start is None or not Path(self.start).exists():
            return self
        return replace(self, start=str(Path(self.start).resolve()))

    def given(self) -> str:
        """The start.

        Raises:
            ValueError: none is given.
        """
        if self.start is None:
            raise ValueError(
                "start: expected the folder of a pre-trained E-ViLM, got none; give that of a run of "
                "recipes/evilm_pretrain.py with --start, or `--start embedded` for the toy model that ships"
            )
        return self.start


@dataclass(frozen=True)
class EViLMRetrievalConfig(RunConfig):
    """Text-video retrieval by E-ViLM, all of it trained."""

    baseline: bool = field(default=True, kw_only=True)
    """Also evaluate what the run starts from: the pre-trained model, not yet trained on the task."""
    model: Annotated[EViLMModelConfig, tyro.conf.arg(name="")]
    """The model."""
    training: Annotated[TrainingConfig, tyro.conf.arg(name="")]
    """How long, how fast and in what batches."""
    evaluation: EvaluationConfig
    """How a split is scored."""
    data: RetrievalDataConfig = field(default_factory=RetrievalDataConfig)
    """The videos and their captions."""
    loss: RetrievalLossConfig = field(default_factory=RetrievalLossConfig)
    """The training objective."""


@dataclass(frozen=True)
class EViLMQuestionAnsweringConfig(RunConfig):
    """Video question answering by E-ViLM with a classifier, all of it trained."""

    baseline: bool = field(default=True, kw_only=True)
    """Changes nothing: what the run starts from has no classifier, and is not evaluated."""
    model: Annotated[EViLMModelConfig, tyro.conf.arg(name="")]
    """The model."""
    training: Annotated[TrainingConfig, tyro.conf.arg(name="")]
    """How long, how fast and in what batches."""
    evaluation: QuestionEvaluationConfig = field(default_factory=QuestionEvaluationConfig)
    """How questions are answered."""
    data: QuestionDataConfig = field(default_factory=QuestionDataConfig)
    """The videos and the questions about them."""
    loss: QuestionLossConfig = field(default_factory=QuestionLossConfig)
    """The training objective."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.training.epochs == 0:
            raise ValueError(
                "epochs: expected at least 1, got 0: E-ViLM's classifier is fresh and answers nothing before it is "
                "trained; a finished run is measured again with --evaluate"
            )
        if self.evaluation.inference == "generate":
            raise ValueError(
                "evaluation.inference: E-ViLM chooses from the list of answers; expected rank, got generate"
            )


class WholeEViLM(Task):
    """A run's model half for E-ViLM: trained whole, from a pre-trained start."""

    config: Any
    start: EViLM
    gone = False
    """Whether what a finished run started from is no longer there."""
    written: dict[str, Any] | None = None
    """The protocol of the run that is evaluated again."""

    @property
    def title(self) -> str:
        """The model's."""
        return TITLE

    @property
    def num_frames(self) -> int:
        """The model's."""
        return self.start.config.num_frames

    def load_start(self, folder: Path | None) -> str:
        """The pre-trained model; of a finished run whose start is gone, the trained one stands for its sizes."""
        config, start = self.config.model, self.config.model.given()
        self.written = None if folder is None else read_json(folder / METRICS_NAME)["protocol"]
        gone = folder is not None and not is_evilm(start)
        if gone and self.config.baseline:
            raise ValueError(f"{start}: expected the E-ViLM the run started from, found none; use --no-baseline")
        source = folder if gone and folder is not None else start
        sizes = {"num_frames": config.num_frames, "max_text_length": config.max_text_length}
        self.start = load_evilm(source, **sizes).to(self.accelerator.device)
        self.gone = gone
        return f"E-ViLM from {source}, {described(self.start)}"

    def finish(self, folder: Path, metrics: Mapping[str, Any], command: str | None) -> None:
        """Into `evilm.json`."""
        kept = {name: metrics[name] for name in ("protocol", "training")}
        add_to_record(folder, metrics=self.for_card(metrics["results"][self.title]), **kept, command=command)

    def stamp(self) -> dict[str, Any]:
        """The start by its weights; all of it is trained."""
        return {
            "backbone_fingerprint": self._fingerprint(),
            "backbone_revision": None,
            "backbone_source": self.config.model.start,
            "trained": "all" if self.config.training.epochs > 0 else "nothing (zero-shot)",
            **stamp_software(self.start.image_size),
        }

    def _fingerprint(self) -> str:
        if self.gone and self.written is not None:
            return self.written["backbone_fingerprint"]
        return digest_of(self.start.state_dict())

    def ready(self, model: EViLM, masked: bool = False) -> EViLM:
        """The model on its device, to be trained; `masked` says whether patches of its videos are."""
        model = model.to(self.accelerator.device).requires_grad_(True)
        model.video_encoder.train_what_is_used(self.num_frames, masked)
        if self.config.training.gradient_checkpointing:
            model.enable_checkpointing()
        return model

    def record(self) -> dict[str, Any]:
        """What is saved beside the weights."""
        return {
            "task": self.kind,
            "evaluation": asdict(self.config.evaluation),
            "start": asdict(self.config.model),
            "litevl_version": version("litevl"),
        }


class EViLMRetrieval(WholeEViLM, Retrieval):
    """Text-video retrieval by E-ViLM."""

    def baseline(self) -> tuple[str, Any]:
        """What pre-training alone gives; a model that was already trained on a task is not called zero-shot."""
        trained_on = read_record(folder_of(self.config.model.given())).get("task")
        tuned = trained_on in (Retrieval.kind, QuestionAnswering.kind)
        return f"{TITLE}, {'as it starts' if tuned else 'zero-shot'}", self.start

    def trainable(self) -> EViLM:
        """The pre-trained model itself."""
        return self.ready(self.start)

    def save(self, model: EViLM, folder: Path) -> None:
        """The whole model."""
        save_evilm(model, folder, **self.record())

    def load_trained(self, folder: Path) -> EViLM:
        """From its folder alone."""
        return load_evilm(folder)

    def protocol(self) -> dict[str, Any]:
        """Also how long texts are."""
        return {"max_text_length": self.start.config.max_text_length, **super().protocol()}


class EViLMAnswering(WholeEViLM, QuestionAnswering):
    """Video question answering by E-ViLM."""

    artifact = CONFIG_NAME

    def baseline(self) -> None:
        """None: an untrained classifier answers nothing."""
        return

    def trainable(self) -> EViLMQuestionAnswering:
        """The pre-trained model with a fresh classifier."""
        return EViLMQuestionAnswering(self.ready(self.start), len(self.data.answers))

    def save(self, model: EViLMQuestionAnswering, folder: Path) -> None:
        """The whole model, its classifier and the list of answers."""
        save_evilm(model.model, folder, classifier=model.classifier, answers=self.listed(), **self.record())

    def load_trained(self, folder: Path) -> EViLMQuestionAnswering:
        """From its folder alone."""
        model = EViLMQuestionAnswering(load_evilm(folder), len(self.data.answers))
        load_classifier(model.classifier, folder)
        return model

    @classmethod
    def leaves_parameters_unused(cls, config: Any) -> bool:
        """The heads of retrieval take no part."""
        return True

    def protocol(self) -> dict[str, Any]:
        """Also the head, and how long texts are."""
        length = self.start.config.max_text_length
        return {"head": "classifier", **super().protocol(), "max_question_length": length}


def described(model: EViLM) -> str:
    """Its size in words."""
    config, count = model.config, sum(parameter.numel() for parameter in model.parameters())
    return (
        f"{count / 1e6:.1f}M parameters; {config.num_frames} frames of {config.image_size} px, patches of "
        f"{config.patch_size}, {config.attention} attention"
    )


def run_evilm_retrieval(config: EViLMRetrievalConfig, name: str, command: str | None = None) -> dict[str, Any]:
    """Trains and evaluates E-ViLM on text-video retrieval, or evaluates a finished run again; see `run_task`."""
    config.model.given()
    return run_task(EViLMRetrieval, config, name, command)


def run_evilm_answering(config: EViLMQuestionAnsweringConfig, name: str, command: str | None = None) -> dict[str, Any]:
    """Trains and evaluates E-ViLM on question answering, or evaluates a finished run again; see `run_task`."""
    config.model.given()
    return run_task(EViLMAnswering, config, name, command)
