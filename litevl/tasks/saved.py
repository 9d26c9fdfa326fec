"""A task's model from what lies on disk: a backbone alone, or with what a run trained or `save_adapters` wrote."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch

from litevl.adapters import PoolingConfig, load_adapters, plugged_state
from litevl.blip import load_blip
from litevl.evilm import load_evilm
from litevl.evilm.files import is_evilm
from litevl.models import VideoCaptioning, VideoQuestionAnswering, VideoTextRetrieval
from litevl.models.interfaces import RetrievalModel
from litevl.training import frame_average, frame_by_frame, load_backbone, read_json
from litevl.training.adapted import ModelConfig, load_adapted
from litevl.training.captioning_model import CaptioningModelConfig
from litevl.training.captioning_model import wrap as wrap_captioning
from litevl.training.question_model import QuestionModelConfig
from litevl.training.question_model import wrap as wrap_questions
from litevl.training.retrieval_model import RetrievalModelConfig
from litevl.training.retrieval_model import wrap as wrap_retrieval
from litevl.training.run_folder import from_json

Config = TypeVar("Config")
TaskName = Literal["retrieval", "vqa", "captioning"]
DETAILS = "adapter_config.json"


@dataclass(frozen=True)
class Source:
    """Where a model comes from."""

    backbone: str | None = None
    """A hub id, a transformers folder, an original or LAVIS .pth file, or `embedded`, the small BLIP that ships, which
    is the default. With an adapter, where its backbone is now, if that is not where it was in training."""
    adapter: Path | None = None
    """The folder of a finished run or of saved adapters; without one, BLIP takes a clip frame by frame."""
    vocab: str | None = None
    """For a .pth backbone without a vocab.txt beside it: BERT's vocabulary file, or a hub id that has it."""


def load_retrieval(source: Source, device: torch.device) -> RetrievalModel:
    """The model that compares and matches texts and videos, in eval mode; an E-ViLM where the folder holds one.

    Raises:
        ValueError: the folder is of another task, does not say its backbone, or does not fit it.
    """
    if source.adapter is None:
        blip = load_backbone(_plain(RetrievalModelConfig, source), device)
        return frame_average(blip).eval()
    if is_evilm(source.adapter):
        return load_evilm(source.adapter).to(device).eval()
    details = _details(source.adapter, "retrieval")
    if "pooling" not in details:
        return VideoTextRetrieval(_bare(source, "retrieval", details, device)).eval()
    # As far as texts are read in evaluation; adapters that were saved without a run do not say.
    read = _about(source, details, "protocol").get("max_text_length", 35)
    config = _config(RetrievalModelConfig, source, details, "heads", max_text_length=read)
    return _adapted(config, source, device, lambda blip: wrap_retrieval(blip, config))


def load_answering(source: Source, device: torch.device) -> tuple[VideoQuestionAnswering, tuple[str, ...]]:
    """The model that answers questions, in eval mode, and the list of answers that it was trained with, if any.

    Raises:
        ValueError: as `load_retrieval`.
    """
    if source.adapter is None:
        blip = frame_by_frame(load_backbone(_plain(QuestionModelConfig, source), device))
        return VideoQuestionAnswering(blip, PoolingConfig("none", space="hidden")).eval(), ()
    details = _details(source.adapter, "vqa")
    if "pooling" not in details:
        return VideoQuestionAnswering(_bare(source, "vqa", details, device)).eval(), ()
    config = _config(QuestionModelConfig, source, details, "head", "max_question_length", "max_answer_length")
    answers = _answers(source, details)
    return _adapted(config, source, device, lambda blip: wrap_questions(blip, config, len(answers))), answers


def load_captioning(source: Source, device: torch.device) -> VideoCaptioning:
    """The model that writes captions, in eval mode.

    Raises:
        ValueError: as `load_retrieval`.
    """
    if source.adapter is None:
        blip = frame_by_frame(load_backbone(_plain(CaptioningModelConfig, source), device))
        return VideoCaptioning(blip).eval()
    details = _details(source.adapter, "captioning")
    if "pooling" not in details:
        return VideoCaptioning(_bare(source, "captioning", details, device)).eval()
    config = _config(CaptioningModelConfig, source, details, "prompt", "max_text_length")
    return _adapted(config, source, device, lambda blip: wrap_captioning(blip, config))


def frames_of(model: Any) -> int:
    """How many frames of a clip a model takes: as many as it was trained with; without adapters `LiteVLConfig`'s 8."""
    if hasattr(model, "num_frames"):
        return model.num_frames
    state = plugged_state(model)
    assert state is not None
    assert state.config is not None
    return state.config.num_frames


def _plain(kind: Callable[..., Any], source: Source) -> Any:
    return kind(source.backbone or "embedded", source.vocab)


def _details(folder: Path, task: TaskName) -> dict[str, Any]:
    if not folder.is_dir():
        raise ValueError(f"adapter: expected the folder of a run or of saved adapters, got {folder}, none")
    details = read_json(folder / DETAILS)
    if not isinstance(details, dict):
        raise ValueError(f"{folder / DETAILS}: expected an object, got {details!r:.80}")
    if (trained := details.get("task") or task) != task:
        raise ValueError(f"{folder}: expected a run of the task {task}, got one of {trained}")
    return details


def _backbone(source: Source, details: dict[str, Any]) -> str:
    found = source.backbone or _about(source, details, "backbone").get("source")
    if found is None:
        raise ValueError(f"{source.adapter}: does not say which backbone it was trained on; name it with --backbone")
    return found


def _bare(source: Source, task: TaskName, details: dict[str, Any], device: torch.device) -> Any:
    """The BLIP with adapters that were saved without a task model; its defaults go around them."""
    size = _about(source, details, "backbone").get("image_size")
    blip: Any = load_blip(_backbone(source, details), task=task, image_size=size, vocab=source.vocab)
    load_adapters(blip, str(source.adapter), verbose=False)
    return blip.to(device)


def _config(kind: type[Config], source: Source, details: dict[str, Any], *names: str, **own: Any) -> Config:
    """The model's config, by what the folder says of it: what all have, what has these names, and `own`."""
    names = ("adapter", "train", "pooling", *names)
    if missing := [name for name in names if name not in details]:
        raise _wrong(source, f"no {', '.join(missing)}")
    stored = {
        "backbone": _backbone(source, details),
        "vocab": source.vocab,
        "image_size": _about(source, details, "backbone").get("image_size"),
        "lora": _about(source, details, "lora"),
        **{name: details[name] for name in names},
    }
    try:
        return from_json(kind, stored | own)
    except ValueError as error:
        raise _wrong(source, str(error)) from error


def _about(source: Source, details: dict[str, Any], name: str) -> dict[str, Any]:
    """What is said of something; nothing by adapters that were saved without a run."""
    found = details.get(name) or {}
    if not isinstance(found, dict):
        raise _wrong(source, f"{name}: expected an object, got {found!r:.80}")
    return found


def _answers(source: Source, details: dict[str, Any]) -> tuple[str, ...]:
    found = details.get("answers")
    if isinstance(found, dict):  # runs of earlier versions hold the list alone
        found = found.get("answers")
    if not isinstance(found, list) or not all(isinstance(answer, str) for answer in found):
        raise _wrong(source, f"answers: expected a list of texts, got {found!r:.80}")
    return tuple(found)


def _wrong(source: Source, why: str) -> ValueError:
    assert source.adapter is not None
    return ValueError(
        f"{source.adapter / DETAILS}: not what a run says of its model ({why}); take the folder of a finished run"
    )


def _adapted(config: ModelConfig, source: Source, device: torch.device, wrap: Callable[[Any], Any]) -> Any:
    assert source.adapter is not None
    return load_adapted(config, source.adapter, device, wrap).eval()
