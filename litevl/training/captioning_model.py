"""A captioning model from its settings."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from litevl.adapters import PoolingConfig
from litevl.models import VideoCaptioning

from .adapted import ModelConfig, save_adapted


@dataclass(frozen=True)
class CaptioningModelConfig(ModelConfig):
    """The backbone, what is inserted into it, and what of it is trained."""

    task: ClassVar[str] = "captioning"

    pooling: PoolingConfig = field(default_factory=lambda: PoolingConfig("none"))
    """Rows appended to the video's tokens: none, or the plain means; there is no text yet to pool by."""
    prompt: str = "a picture of"
    """What every caption begins with; BLIP's own."""
    max_text_length: int = 40
    """Tokens that a training caption is cut to, with the prompt; BLIP uses 40."""


def wrap(blip: Any, config: CaptioningModelConfig) -> VideoCaptioning:
    """The model around an adapted BLIP."""
    return VideoCaptioning(blip, config.pooling, prompt=config.prompt, max_text_length=config.max_text_length)


def save(model: VideoCaptioning, config: CaptioningModelConfig, folder: Path, **details: Any) -> None:
    """Writes what was trained; see `save_adapted`."""
    texts = {"prompt": config.prompt, "max_text_length": config.max_text_length}
    save_adapted(model, config, folder, pooling=asdict(config.pooling), **texts, **details)
