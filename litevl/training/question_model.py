"""A question answering model from its settings."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from litevl.adapters import PoolingConfig
from litevl.models import VideoQuestionAnswering

from .adapted import ModelConfig, save_adapted


@dataclass(frozen=True)
class QuestionModelConfig(ModelConfig):
    """The backbone, what is inserted into it, and what of it is trained."""

    task: ClassVar[str] = "vqa"

    pooling: PoolingConfig = field(default_factory=lambda: PoolingConfig(space="hidden"))
    """How a video's tokens are pooled by the question."""
    head: Literal["decoder", "classifier"] = "decoder"
    """BLIP's answer decoder, or a classifier over the list of answers (ALPRO's protocol), trained from scratch."""
    max_question_length: int = 35
    """Tokens that a question is cut to; BLIP uses 35."""
    max_answer_length: int = 10
    """Tokens that an answer is cut to, and the most that are written; BLIP uses 10."""


def wrap(blip: Any, config: QuestionModelConfig, answers: int) -> VideoQuestionAnswering:
    """The model around an adapted BLIP.

    Args:
        blip: plugged.
        config: the settings.
        answers: size of the list of answers.
    """
    return VideoQuestionAnswering(
        blip,
        config.pooling,
        max_question_length=config.max_question_length,
        max_answer_length=config.max_answer_length,
        classes=answers if config.head == "classifier" else None,
    )


def save(model: VideoQuestionAnswering, config: QuestionModelConfig, folder: Path, **details: Any) -> None:
    """Writes what was trained; see `save_adapted`."""
    lengths = {"max_question_length": config.max_question_length, "max_answer_length": config.max_answer_length}
    save_adapted(model, config, folder, pooling=asdict(config.pooling), head=config.head, **lengths, **details)
