"""What is trained: the adapters, LoRA beside them, or the whole model."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file, save_file
from torch import nn

from litevl.adapters import freeze_backbone
from litevl.adapters.artifact import held_by

Train = Literal["adapters", "adapters+lora", "all"]
LORA_NAME = "default"


@dataclass(frozen=True)
class LoraSettings:
    """LoRA (arXiv 2106.09685) on the frozen attention of both encoders, through peft."""

    r: int = 8
    """Rank."""
    alpha: int = 16
    """Scale; the update is multiplied by alpha / r."""
    targets: str = r".*(self_attn\.qkv|attention\.self\.(query|value))"
    """Full names of the layers that get it, as a regular expression."""


def select_trainable(blip: nn.Module, train: Train, lora: LoraSettings) -> None:
    """Sets `requires_grad` of a plugged BLIP, and puts LoRA in where it is asked for.

    Raises:
        ValueError: if no layer's name fits `lora.targets`.
    """
    if train == "adapters+lora":
        add_lora(blip, lora)
    freeze_backbone(blip)
    if train == "all":
        blip.requires_grad_(True)
    for module in blip.modules():
        if isinstance(module, BaseTunerLayer):
            for names in module.adapter_layer_names:
                getattr(module, names).requires_grad_(True)


def add_lora(blip: nn.Module, lora: LoraSettings) -> None:
    """Wraps the target layers with LoRA, in place; a fresh LoRA changes nothing.

    Raises:
        ValueError: if no layer's name fits `lora.targets`.
    """
    names = [name for name, module in blip.named_modules() if isinstance(module, nn.Linear)]
    chosen = [name for name in names if re.fullmatch(lora.targets, name)]
    if not chosen:
        raise ValueError(f"lora.targets: expected to fit the names of linear layers such as {names[0]}; fits none")
    config = LoraConfig(r=lora.r, lora_alpha=lora.alpha, target_modules=chosen, lora_dropout=0.0)
    inject_adapter_in_model(config, blip, adapter_name=LORA_NAME)


def save_lora(blip: nn.Module, lora: LoraSettings, folder: Path) -> None:
    """Writes LoRA as peft writes it: `adapter_config.json` and `adapter_model.safetensors`."""
    folder.mkdir(parents=True, exist_ok=True)
    targets = [name for name, module in blip.named_modules() if isinstance(module, BaseTunerLayer)]
    LoraConfig(r=lora.r, lora_alpha=lora.alpha, target_modules=targets, lora_dropout=0.0).save_pretrained(str(folder))
    save_file(
        {f"base_model.model.{name}": value.detach().cpu().contiguous() for name, value in _lora_tensors(blip).items()},
        folder / "adapter_model.safetensors",
    )


def load_lora(blip: nn.Module, lora: LoraSettings, folder: Path) -> None:
    """Puts LoRA in and loads its values.

    Raises:
        ValueError: if the file's tensors are not those of the model.
    """
    add_lora(blip, lora)
    tensors = load_file(folder / "adapter_model.safetensors")
    tensors = {name.removeprefix("base_model.model."): value for name, value in tensors.items()}
    if differing := sorted(tensors.keys() ^ _lora_tensors(blip).keys()):
        raise ValueError(f"{folder}: its LoRA does not fit this model: {', '.join(differing[:5])}")
    set_peft_model_state_dict(blip, tensors, adapter_name=LORA_NAME)


def _lora_tensors(blip: nn.Module) -> dict:
    return get_peft_model_state_dict(blip, state_dict=held_by(blip), adapter_name=LORA_NAME)
