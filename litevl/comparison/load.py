"""The model of a run folder, rebuilt from its config to measure what it costs.

For the cost only the architecture matters: the weights are the backbone's and fresh adapters', not the trained ones.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Union

import dacite
import torch
from torch import nn

from litevl.adapters import FAMILIES, PoolingConfig, adapter_config
from litevl.blip import enable_gradient_checkpointing
from litevl.evilm import EViLMQuestionAnswering, load_evilm
from litevl.evilm.files import CONFIG_NAME as EVILM_RECORD
from litevl.losses import (
    CaptioningLossConfig,
    CaptioningObjective,
    QuestionLossConfig,
    QuestionObjective,
    RetrievalLossConfig,
    RetrievalObjective,
)
from litevl.models import VideoQuestionAnswering
from litevl.tasks.evilm import EViLMModelConfig
from litevl.tasks.question_answering import PLAIN
from litevl.training import RetrievalModelConfig, adapt, frame_average, frame_by_frame, load_backbone
from litevl.training.captioning_model import CaptioningModelConfig
from litevl.training.captioning_model import wrap as wrap_captioning
from litevl.training.question_model import QuestionModelConfig
from litevl.training.question_model import wrap as wrap_questions
from litevl.training.retrieval_model import wrap as wrap_retrieval

from .analytic import blip_flops, evilm_flops
from .entries import Entry
from .metrics import QUESTIONS
from .subject import CaptioningSubject, QuestionSubject, RetrievalSubject, Subject


@dataclass(frozen=True)
class Source:
    """What a subject is built from; it can be sent to another process."""

    config: Mapping[str, Any]
    """A run's config.json."""
    protocol: Mapping[str, Any]
    """A run's protocol."""
    frozen: bool
    """Build the frozen backbone, frame by frame, in place of what the run trained."""
    task: str
    """What it does, where the same config stands for models of several tasks."""
    folder: Path
    """The run's."""

    def __call__(self, device: torch.device) -> Subject:
        """The model on a device.

        Raises:
            ValueError: the config is of none of the known models, or the backbone can't be loaded.
        """
        settings = self.config.get("model", {})
        for kind, build in kinds().items():
            if (config := _as(kind, settings)) is not None:
                return build(config, self, device)
        known = ", ".join(kind.__name__ for kind in kinds())
        raise ValueError(f"{self.folder}: expected a config of one of {known}; its model is none of these")


def source_of(entry: Entry) -> Source:
    """What an entry's model is built from."""
    return Source(entry.run.config, entry.run.protocol, entry.frozen, entry.run.task.name, entry.run.folder)


def kinds() -> dict[type, Callable[[Any, Source, torch.device], Subject]]:
    """The models that are known, by the class of config.json's `model`, each with what builds it."""
    return {
        RetrievalModelConfig: _retrieval,
        QuestionModelConfig: _questions,
        CaptioningModelConfig: _captioning,
        EViLMModelConfig: _evilm,
    }


def _as(kind: type, settings: Mapping[str, Any]) -> Any:
    """The settings as that dataclass; None where they hold what it does not."""
    hooks: Any = {Union[tuple(FAMILIES.values())]: adapter_config}  # noqa: UP007 - made from a tuple
    try:
        return dacite.from_dict(kind, settings, dacite.Config(cast=[tuple], strict=True, type_hooks=hooks))
    except (dacite.DaciteError, ValueError):
        return None


def _retrieval(config: RetrievalModelConfig, source: Source, device: torch.device) -> Subject:
    blip, frames = load_backbone(config, device), config.adapter.num_frames
    if source.frozen:
        model = frame_average(blip, config.max_text_length)
        return _made(RetrievalSubject, model, frames, source, analytic=blip_flops(model, frames))
    model = wrap_retrieval(adapt(blip, config), config).to(device)
    objective = RetrievalObjective(model, _loss(RetrievalLossConfig, source))
    return _made(RetrievalSubject, model, frames, source, objective, analytic=blip_flops(model, frames))


def _questions(config: QuestionModelConfig, source: Source, device: torch.device) -> Subject:
    blip, asked = load_backbone(config, device), _asked(source)
    if source.frozen:
        model = VideoQuestionAnswering(frame_by_frame(blip), PLAIN, max_question_length=config.max_question_length)
        return _made(QuestionSubject, model, config.adapter.num_frames, source, **asked)
    model = wrap_questions(adapt(blip, config), config, asked["answers"]).to(device)
    objective = QuestionObjective(model, _loss(QuestionLossConfig, source))
    return _made(QuestionSubject, model, config.adapter.num_frames, source, objective, **asked)


def _captioning(config: CaptioningModelConfig, source: Source, device: torch.device) -> Subject:
    blip = load_backbone(config, device)
    if source.frozen:
        plain = replace(config, pooling=PoolingConfig("none"))
        model = wrap_captioning(frame_by_frame(blip), plain)
        return _made(CaptioningSubject, model, config.adapter.num_frames, source)
    model = wrap_captioning(adapt(blip, config), config).to(device)
    objective = CaptioningObjective(model, _loss(CaptioningLossConfig, source))
    return _made(CaptioningSubject, model, config.adapter.num_frames, source, objective)


def _evilm(config: EViLMModelConfig, source: Source, device: torch.device) -> Subject:
    """Its sizes stand in the run's folder; where nothing was trained, with what it started from."""
    trained = (source.folder / EVILM_RECORD).is_file()
    start = load_evilm(source.folder if trained else config.given(), num_frames=config.num_frames).to(device)
    frames = start.config.num_frames
    if source.task == QUESTIONS.name:
        asked = _asked(source)
        model = EViLMQuestionAnswering(start, asked["answers"])
        objective = QuestionObjective(model, _loss(QuestionLossConfig, source))
        return _made(QuestionSubject, model, frames, source, objective, **asked)
    matching = RetrievalObjective(start, _loss(RetrievalLossConfig, source))
    return _made(RetrievalSubject, start, frames, source, matching, analytic=evilm_flops(start.config))


def _asked(source: Source) -> dict[str, Any]:
    evaluation = source.config.get("evaluation", {})
    return {
        "answers": source.protocol.get("answers", 1),
        "k": evaluation.get("k", 128),
        "chooses": evaluation.get("inference", "rank") == "rank",
        "questions": source.config.get("data", {}).get("questions", 1),
    }


def _loss(kind: type[Any], source: Source) -> Any:
    """The objective's settings; its defaults where those of the run are of another version."""
    return _as(kind, source.config.get("loss", {})) or kind()


def _made(
    kind: type[Any], model: Any, frames: int, source: Source, objective: nn.Module | None = None, **more: Any
) -> Subject:
    """A subject with what all tasks have in common; a frozen one has nothing to train."""
    training = source.config.get("training", {})
    if source.frozen:
        model.requires_grad_(False)
    elif training.get("gradient_checkpointing"):
        _checkpoint(model)
    return kind(
        model.eval(),
        frames,
        model.image_size,
        objective=None if source.frozen else objective,
        batch_size=training.get("batch_size", 1),
        accumulation=training.get("accumulation", 1),
        **more,
    )


def _checkpoint(model: Any) -> None:
    """Recomputes activations as the run did, which a step's operations count."""
    if hasattr(model, "blip"):
        enable_gradient_checkpointing(model.blip)
    else:
        getattr(model, "model", model).enable_checkpointing()
