"""A retrieval model from its settings."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch

from litevl.adapters import PoolingConfig
from litevl.models import VideoTextRetrieval

from .adapted import ModelConfig, adapt, frame_by_frame, load_adapted, save_adapted


@dataclass(frozen=True)
class RetrievalModelConfig(ModelConfig):
    """The backbone, what is inserted into it, and what of it is trained."""

    task: ClassVar[str] = "retrieval"

    pooling: PoolingConfig = field(default_factory=PoolingConfig)
    """How a video's tokens are pooled for matching."""
    heads: Literal["frozen", "copied"] = "frozen"
    """Use BLIP's heads as they are, or train copies of them for video."""
    train_temperature: bool = True
    """Train the contrastive temperature."""
    max_text_length: int = 35
    """Tokens that a text is cut to; BLIP's retrieval uses 35, paragraphs want more."""


def build_model(blip: Any, config: RetrievalModelConfig) -> VideoTextRetrieval:
    """The model around a stock BLIP, with `requires_grad` set on what is trained."""
    return wrap(adapt(blip, config), config)


def wrap(blip: Any, config: RetrievalModelConfig) -> VideoTextRetrieval:
    """The model around an adapted BLIP."""
    model = VideoTextRetrieval(blip, config.pooling, heads=config.heads, max_text_length=config.max_text_length)
    model.heads.temperature.requires_grad_(config.train_temperature)
    if config.heads == "copied":
        for name in ("vision_proj", "text_proj", "itm_head"):
            getattr(blip, name).requires_grad_(False)
    return model


def plain(blip: Any, max_text_length: int = 35) -> VideoTextRetrieval:
    """The model around a BLIP without adapters, as BLIP's own video evaluation uses it."""
    return VideoTextRetrieval(blip, PoolingConfig("none"), max_text_length=max_text_length)


def frame_average(blip: Any, max_text_length: int = 35) -> VideoTextRetrieval:
    """The model around a stock BLIP, frame by frame."""
    return plain(frame_by_frame(blip), max_text_length)


def save_model(model: VideoTextRetrieval, config: RetrievalModelConfig, folder: Path, **details: Any) -> None:
    """Writes what was trained; see `save_adapted`."""
    save_adapted(model, config, folder, pooling=asdict(config.pooling), heads=config.heads, **details)


def load_model(config: RetrievalModelConfig, folder: Path, device: torch.device) -> VideoTextRetrieval:
    """The trained model, from what `save_model` wrote and the backbone alone.

    Raises:
        AdapterLoadError: the files do not fit the backbone or the settings.
    """
    return load_adapted(config, folder, device, lambda blip: wrap(blip, config))
