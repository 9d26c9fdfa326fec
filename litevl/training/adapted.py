"""A BLIP from its settings: loaded, adapted for training, saved as what was trained, and loaded again."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

import torch
from torch import nn
from tyro.conf import subcommand

from litevl.adapters import (
    AIMConfig,
    BottleneckConfig,
    FrameAverageConfig,
    LiteVLConfig,
    STAdapterConfig,
    TemporalShiftConfig,
    load_adapters,
    plug,
    save_adapters,
)
from litevl.blip import load_blip, save_blip
from litevl.data.preprocess import PreprocessConfig

from .trainable import LoraSettings, Train, load_lora, save_lora, select_trainable

Model = TypeVar("Model", bound=nn.Module)
Config = TypeVar("Config", bound="ModelConfig")

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
class ModelConfig:
    """The backbone, what is inserted into it, and what of it is trained."""

    task: ClassVar[str]
    """Which BLIP it takes: `retrieval`, `vqa` or `captioning`."""

    backbone: str = "embedded"
    """A hub id, a transformers folder, an original or LAVIS .pth file, or `embedded`, the small BLIP that ships."""
    vocab: str | None = None
    """For a .pth file without a vocab.txt beside it: BERT's vocabulary file, or a hub id that has it."""
    image_size: int | None = None
    """Side of the frames in pixels; by default what the backbone was trained with."""
    adapter: AnyAdapter = field(default_factory=LiteVLConfig)
    """What is inserted into the vision encoder."""
    train: Train = "adapters"
    """Train the adapters alone, LoRA beside them, or the whole model."""
    lora: LoraSettings = field(default_factory=LoraSettings)
    """LoRA, for --train adapters+lora."""

    def absolute(self: Config) -> Config:
        """With absolute paths, so that a run folder means the same from anywhere."""
        there = {name: getattr(self, name) for name in ("backbone", "vocab") if getattr(self, name) is not None}
        paths: dict[str, Any] = {
            name: str(Path(value).resolve()) for name, value in there.items() if Path(value).exists()
        }
        return replace(self, **paths)


def load_backbone(config: ModelConfig, device: torch.device, source: str | Path | None = None) -> Any:
    """The stock BLIP, from `source` where it is not the config's own, on its device."""
    blip: Any = load_blip(source or config.backbone, task=config.task, image_size=config.image_size, vocab=config.vocab)
    return blip.to(device)


def adapt(blip: Any, config: ModelConfig) -> Any:
    """The stock BLIP with the adapters in it, `requires_grad` set on what is trained."""
    plug(blip, config.adapter, verbose=False)
    select_trainable(blip, config.train, config.lora)
    return blip


def frame_by_frame(blip: Any) -> Any:
    """The stock BLIP as it takes clips without adapters."""
    plug(blip, FrameAverageConfig(), verbose=False)
    return blip


def preprocessing(model: Any) -> PreprocessConfig:
    """BLIP's preprocessing at the size that a task model takes."""
    return PreprocessConfig(model.image_size)


def save_adapted(model: Any, config: ModelConfig, folder: Path, **details: Any) -> None:
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
        task=config.task,
        train=config.train,
        lora=asdict(config.lora) if config.train == "adapters+lora" else None,
        backbone={
            "source": "backbone" if config.train == "all" else config.backbone,
            "revision": report.revision,
            "image_size": report.image_size,
        },
        preprocessing=asdict(preprocessing(model)),
        litevl_version=version("litevl"),
        **details,
    )
    if config.train == "adapters+lora":
        save_lora(model.blip, config.lora, folder / "lora")
    if config.train == "all":
        save_blip(model.blip, folder / "backbone")


def load_adapted(config: ModelConfig, folder: Path, device: torch.device, wrap: Callable[[Any], Model]) -> Model:
    """The trained model, from what `save_adapted` wrote and the backbone alone.

    Args:
        config: what it was built from.
        folder: of its files.
        device: for the model.
        wrap: makes the task's model around an adapted BLIP.

    Raises:
        AdapterLoadError: the files do not fit the backbone or the settings.
    """
    blip = load_backbone(config, device, folder / "backbone" if config.train == "all" else None)
    if config.train == "adapters+lora":
        load_lora(blip, config.lora, folder / "lora")
    model = wrap(adapt(blip, replace(config, train="adapters")))
    load_adapters(model, folder, verbose=False)
    return model
