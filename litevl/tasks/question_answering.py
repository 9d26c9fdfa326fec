"""Video question answering: the recipes for MSRVTT-QA and MSVD-QA are this with their own defaults."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro
from torch import nn

from litevl.adapters import PoolingConfig
from litevl.data.answers import AnswerList
from litevl.data.question_answering import QuestionAnsweringData, QuestionDataConfig, load_question_data
from litevl.evaluation.answering import QuestionEvaluationConfig, answer_questions, respell, summarise_answers
from litevl.evaluation.report import show_answers
from litevl.losses import QuestionLossConfig, QuestionObjective
from litevl.models import VideoQuestionAnswering
from litevl.training import (
    QuestionBatches,
    TrainingConfig,
    describe_changes,
    preprocessing,
    read_config,
    read_json,
)
from litevl.training.question_model import QuestionModelConfig, save, wrap

from .adapted import AdaptedBlip
from .run import RunConfig, run_task
from .task import Split, Task

PLAIN = PoolingConfig("none", space="hidden")


@dataclass(frozen=True)
class QuestionAnsweringConfig(RunConfig):
    """Video question answering: LiteVL adapters on a frozen BLIP that answers questions about images."""

    model: Annotated[QuestionModelConfig, tyro.conf.arg(name="")]
    """The backbone, what is inserted into it, and what of it is trained."""
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
        if self.model.head == "classifier" and self.evaluation.inference == "generate":
            raise ValueError("head=classifier chooses from the list of answers; expected inference=rank, got generate")


class QuestionAnswering(Task):
    """Video question answering, whatever the model."""

    kind = "question answering"
    artifact: str
    """The file beside what was trained that holds the list of answers."""
    config: Any
    data: QuestionAnsweringData

    def load_data(self, folder: Path | None) -> QuestionAnsweringData:
        """Of a finished run the test questions, to be answered from the run's own list."""
        answers = None
        if folder is not None and self.config.training.epochs:
            listed = {name: getattr(self.config.data, name) for name in ("answers", "answer_file")}
            before = read_config(type(self.config), folder).data
            if changes := describe_changes({name: getattr(before, name) for name in listed}, listed, "data"):
                raise ValueError(f"the list of answers is the run's own and can't be changed: {'; '.join(changes)}")
            stored = read_json(folder / self.artifact)["answers"]
            answers = AnswerList(tuple(stored["answers"]), stored["source"], tuple(stored["notes"]))
        return load_question_data(self.config.data, answers=answers, progress=self.accelerator.is_main_process)

    def objective(self, model: Any) -> nn.Module:
        """The answers' language-model loss, or the classifier's cross-entropy."""
        return QuestionObjective(model, self.config.loss)

    def batches(self, model: Any) -> QuestionBatches:
        """Clips with a few questions each."""
        training, preprocess, seed = self.config.training, preprocessing(model), self.config.seed
        return QuestionBatches(self.data, model, training, self.num_frames, preprocess, self.accelerator, seed)

    def evaluate(self, model: Any, split: Split) -> dict[str, Any]:
        """Accuracy over all questions of the split and by type, with the ceiling of the list."""
        settings, data = self.config.evaluation, self.data
        videos = data.splits[split]
        clips = self.of_split("clips", split, partial(self.clips, model, videos))
        asked = {video.video_id: video.questions for video in videos}
        said, came = answer_questions(
            model, asked, clips, data.answers, self.accelerator, settings, num_videos=clips.num_videos
        )
        free = settings.inference == "generate" and model.classifier is None
        if free:
            said = respell(said, data.questions[split], model)
        metrics = summarise_answers(
            said,
            data.questions[split],
            None if free else data.answers,
            data.order_kinds,
            settings.bootstrap,
            self.config.seed,
        )
        return {**metrics, "coverage": str(data.coverage_of(split, came))}

    def score(self, metrics: Mapping[str, Any]) -> tuple[str, float]:
        """The accuracy."""
        return "accuracy", metrics["accuracy"]

    def listed(self) -> dict[str, Any]:
        """The list of answers as it is saved, which evaluating again, and a classifier, go by."""
        answers = self.data.answers
        return {"answers": list(answers.answers), "source": answers.source, "notes": list(answers.notes)}

    def protocol(self) -> dict[str, Any]:
        """How questions are answered."""
        settings = self.config.evaluation
        return {
            "inference": settings.inference,
            "k": settings.k,
            "num_beams": settings.num_beams if settings.inference == "generate" else None,
        }

    def show(self, metrics: Mapping[str, Any]) -> None:
        """Accuracy side by side, by type of question, with the ceiling."""
        show_answers(metrics)


class AdaptedQuestionAnswering(AdaptedBlip, QuestionAnswering):
    """Video question answering by a BLIP with adapters."""

    artifact = "adapter_config.json"
    config: QuestionAnsweringConfig

    def wrap(self, blip: Any) -> VideoQuestionAnswering:
        """With the pooling and the head of the config."""
        return wrap(blip, self.config.model, len(self.data.answers))

    def plain(self, blip: Any) -> VideoQuestionAnswering:
        """BLIP's own decoder over the tokens of all frames, without pooling."""
        model = self.config.model
        return VideoQuestionAnswering(
            blip,
            PLAIN,
            max_question_length=model.max_question_length,
            max_answer_length=model.max_answer_length,
        )

    def save(self, model: VideoQuestionAnswering, folder: Path) -> None:
        """With the list of answers."""
        settings, listed = asdict(self.config.evaluation), self.listed()
        classes = len(self.data.answers) if model.classifier is not None else None
        save(model, self.config.model, folder, evaluation=settings, classes=classes, answers=listed)

    @classmethod
    def leaves_parameters_unused(cls, config: QuestionAnsweringConfig) -> bool:
        """A classifier leaves the decoder out."""
        return config.model.head == "classifier"

    def protocol(self) -> dict[str, Any]:
        """Also the head, and how long texts are."""
        model = self.config.model
        lengths = {"max_question_length": model.max_question_length, "max_answer_length": model.max_answer_length}
        return {"head": model.head, **super().protocol(), **lengths}


def run_question_answering(config: QuestionAnsweringConfig, name: str, command: str | None = None) -> dict[str, Any]:
    """Trains and evaluates video question answering, or evaluates a finished run again; see `run_task`."""
    return run_task(AdaptedQuestionAnswering, config, name, command)
