"""A retrieval model from its settings: built around a backbone, saved as what was trained, and loaded again."""

from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from tyro.conf import subcommand

from litevl.adapters import (
    AIMConfig,
    BottleneckConfig,
    FrameAverageConfig,
    LiteVLConfig,
    PoolingConfig,
    STAdapterConfig,
    TemporalShiftConfig,
    load_adapters,
    plug,
    save_adapters,
)
from litevl.blip import load_blip, save_blip
from litevl.data.preprocess import PreprocessConfig
from litevl.models import VideoTextRetrieval

from .trainable import LoraSettings, Train, load_lora, save_lora, select_trainable

AnyAdapter = (
    Annotated[LiteVLConfig, subcommand("litevl")]
    | Annotated[BottleneckConfig, subcommand("bottleneck")]
    | Annotated[STAdapterConfig, subcommand("st-adapter")]
    | Annotated[AIMConfig, subcommand("aim")]
    | Annotated[TemporalShiftConfig, subcommand("shift")]
    | Annotated[FrameAverageConfig, subcommand("none")]
)
"""The adapter families; on a command line `adapter:aim` chooses one, and `--adapter.` leads its options."""


@dataclass(frozen=True)
class RetrievalModelConfig:
    """The backbone, what is inserted into it, and what of it is trained."""

    backbone: str = "embedded"
    """A hub id, a transformers folder, an original or LAVIS .pth file, or `embedded`, the small BLIP that ships."""
    vocab: str | None = None
    """For a .pth file without a vocab.txt beside it: BERT's vocabulary file, or a hub id that has it."""
    image_size: int | None = None
    """Side of the frames in pixels; by default what the backbone was trained with."""
    adapter: AnyAdapter = field(default_factory=LiteVLConfig)
    """What is inserted into the vision encoder."""
    pooling: PoolingConfig = field(default_factory=PoolingConfig)
    """How a video's tokens are pooled for matching."""
    train: Train = "adapters"
    """Train the adapters alone, LoRA beside them, or the whole model."""
    heads: Literal["frozen", "copied"] = "frozen"
    """Use BLIP's heads as they are, or train copies of them for video."""
    train_temperature: bool = True
    """Train the contrastive temperature."""
    max_text_length: int = 35
    """Tokens that a text is cut to; BLIP's retrieval uses 35, paragraphs want more."""
    lora: LoraSettings = field(default_factory=LoraSettings)
    """LoRA, for --train adapters+lora."""


def load_backbone(config: RetrievalModelConfig, device: torch.device, source: str | Path | None = None) -> Any:
    """The stock BLIP, from `source` where it is not the config's own, on its device."""
    blip: Any = load_blip(source or config.backbone, task="retrieval", image_size=config.image_size, vocab=config.vocab)
    return blip.to(device)


def build_model(blip: Any, config: RetrievalModelConfig) -> VideoTextRetrieval:
    """The model around a stock BLIP, with `requires_grad` set on what is trained."""
    plug(blip, config.adapter, verbose=False)
    select_trainable(blip, config.train, config.lora)
    model = VideoTextRetrieval(blip, config.pooling, heads=config.heads, max_text_length=config.max_text_length)
    model.heads.temperature.requires_grad_(config.train_temperature)
    if config.heads == "copied":
        for name in ("vision_proj", "text_proj", "itm_head"):
            getattr(blip, name).requires_grad_(False)
    return model


def frame_average(blip: Any, max_text_length: int = 35) -> VideoTextRetrieval:
    """The unadapted BLIP as its own video evaluation uses it."""
    plug(blip, FrameAverageConfig(), verbose=False)
    return VideoTextRetrieval(blip, PoolingConfig("none"), max_text_length=max_text_length)


def preprocessing(model: VideoTextRetrieval) -> PreprocessConfig:
    """BLIP's preprocessing at the size that the vision encoder takes."""
    return PreprocessConfig(model.blip.config.vision_config.image_size)


def save_model(model: VideoTextRetrieval, config: RetrievalModelConfig, folder: Path, **details: Any) -> None:
    """Writes what was trained: adapters, LoRA as peft writes it, and the backbone where that was trained too.

    Args:
        model: the trained model.
        config: what it was built from.
        folder: for the files.
        details: more for `adapter_config.json`, such as the settings of the evaluation.
    """
    report = model.blip.load_report
    save_adapters(
        model,
        folder,
        task="retrieval",
        train=config.train,
        lora=asdict(config.lora) if config.train == "adapters+lora" else None,
        backbone={
            "source": "backbone" if config.train == "all" else config.backbone,
            "revision": report.revision,
            "image_size": report.image_size,
        },
        pooling=asdict(config.pooling),
        heads=config.heads,
        preprocessing=asdict(preprocessing(model)),
        litevl_version=version("litevl"),
        **details,
    )
    if config.train == "adapters+lora":
        save_lora(model.blip, config.lora, folder / "lora")
    if config.train == "all":
        save_blip(model.blip, folder / "backbone")


def load_model(config: RetrievalModelConfig, folder: Path, device: torch.device) -> VideoTextRetrieval:
    """The trained model, from what `save_model` wrote and the backbone alone.

    Raises:
        AdapterLoadError: the files do not fit the backbone or the settings.
    """
    blip = load_backbone(config, device, folder / "backbone" if config.train == "all" else None)
    if config.train == "adapters+lora":
        load_lora(blip, config.lora, folder / "lora")
    model = build_model(blip, replace(config, train="adapters"))
    load_adapters(model, folder, verbose=False)
    return model
