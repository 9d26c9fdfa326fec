"""Adapters on disk: `adapter_config.json` and `adapter_model.safetensors`, the shape of artifact that PEFT users know.

Only what adapters hold is saved, with the fingerprint of the backbone they were trained on. Loading onto another
backbone is refused, and a load that fails leaves the model as it was.
"""

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .adapter import adapter_parameter_names
from .fingerprint import fingerprint
from .plug import LiteVLConfig, plug, plugged_state, require_plugged, unplug
from .vision_encoder import find_vision_encoder, portable_names

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1
CONFIG_NAME, WEIGHTS_NAME = "adapter_config.json", "adapter_model.safetensors"


class AdapterLoadError(ValueError):
    """An adapter folder cannot be loaded onto this model; the message says why and what to do."""


def save_adapters(model: nn.Module, folder: str | Path, **details: Any) -> Path:
    """Writes every adapter of `model` into `folder`.

    Args:
        model: a plugged BLIP, or a task model around one.
        folder: made if it is not there.
        details: anything JSON can hold, kept under its name in `adapter_config.json` (preprocessing, evaluation...).

    Returns:
        The folder.

    Raises:
        ValueError: if the model is not plugged, or was merged.
    """
    state = require_plugged(model)
    tensors = _adapter_tensors(model)
    if any(name.endswith("temporal_attention.fc_bias") for name in tensors):
        raise ValueError("this model was merged for inference and no longer holds its adapters; save before merge()")
    config = {
        "format_version": FORMAT_VERSION,
        "peft_type": "LITEVL",
        "adapter": asdict(state.config),
        "backbone_fingerprint": fingerprint(model),
        **details,
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, folder / WEIGHTS_NAME)
    (folder / CONFIG_NAME).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return folder


def load_adapters(model: nn.Module, folder: str | Path, *, verbose: bool = True) -> dict[str, Any]:
    """Plugs `model` as the folder says (unless it is plugged that way already) and loads the adapters' values.

    What a task model adds beside the encoder (heads, temperature) is loaded where `model` has it; onto a bare BLIP
    those tensors are left in the file.

    Returns:
        The folder's `adapter_config.json`.

    Raises:
        AdapterLoadError: for a missing or truncated file, a newer format, another backbone, unknown or missing tensors,
            other shapes or NaN. The model is then unchanged.
    """
    config, tensors = _read(Path(folder))
    adapter = _adapter_config(config["adapter"], Path(folder))
    if config.get("lora") and not any(hasattr(module, "base_layer") for module in model.modules()):
        raise AdapterLoadError(
            f"{folder}: was trained beside LoRA, which lies in its lora/ folder, and this model has none; load that "
            "first (litevl.training.load_lora, or peft)"
        )
    state = plugged_state(model)
    found = fingerprint(model)
    if found != config["backbone_fingerprint"]:
        raise AdapterLoadError(
            f"{folder}: these adapters were trained on the backbone {config['backbone_fingerprint']}, this model is "
            f"{found}; load the backbone that adapter_config.json names, in the same dtype (after --train all that is "
            "the run folder's own backbone/)"
        )
    if state and state.config != adapter:
        raise AdapterLoadError(f"{folder}: holds {adapter}, the model is plugged with {state.config}; unplug it first")
    if state is None:
        plug(model, adapter, verbose=verbose)
    try:
        _copy_tensors(model, tensors, Path(folder))
    except AdapterLoadError:
        if state is None:
            unplug(model)
        raise
    return config


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        config = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
        tensors = load_file(folder / WEIGHTS_NAME)
    except FileNotFoundError as error:
        raise AdapterLoadError(f"{error.filename or folder}: not there; an adapter folder holds both files") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise AdapterLoadError(f"{folder / CONFIG_NAME}: not valid JSON ({error})") from error
    except SafetensorError as error:
        raise AdapterLoadError(f"{folder / WEIGHTS_NAME}: truncated or not safetensors ({error})") from error
    missing = [key for key in ("format_version", "adapter", "backbone_fingerprint") if key not in config]
    if missing:
        raise AdapterLoadError(f"{folder / CONFIG_NAME}: no {missing}; this is not a litevl adapter")
    if config["format_version"] > FORMAT_VERSION:
        raise AdapterLoadError(
            f"{folder}: format {config['format_version']}, newer than this litevl reads ({FORMAT_VERSION}); upgrade it"
        )
    return config, tensors


def _adapter_config(stored: dict[str, Any], folder: Path) -> LiteVLConfig:
    try:
        layers = stored["layers"]
        return LiteVLConfig(**{**stored, "layers": tuple(layers) if isinstance(layers, list) else layers})
    except (TypeError, KeyError, ValueError) as error:
        raise AdapterLoadError(
            f"{folder / CONFIG_NAME}: `adapter` is not a configuration of this litevl; {error}"
        ) from error


def _copy_tensors(model: nn.Module, tensors: dict[str, Tensor], folder: Path) -> None:
    own = _adapter_tensors(model)
    encoder = find_vision_encoder(model).path.rpartition(".")[2]
    bare = all(name.startswith(encoder) for name in own)
    wanted = {name: value for name, value in tensors.items() if not bare or name.startswith(encoder)}
    if left := sorted(tensors.keys() - wanted.keys()):
        logger.warning("%s: these belong to a task model and stay in the file: %s", folder, ", ".join(left))
    problems = [f"unknown {name}" for name in sorted(wanted.keys() - own.keys())]
    problems += [f"missing {name}" for name in sorted(own.keys() - wanted.keys())]
    problems += [
        f"{name}: expected {tuple(own[name].shape)}, got {tuple(value.shape)}"
        for name, value in sorted(wanted.items())
        if name in own and own[name].shape != value.shape
    ]
    problems += [
        f"{name}: holds NaN or infinity" for name, value in sorted(wanted.items()) if not value.isfinite().all()
    ]
    if problems:
        raise AdapterLoadError(f"{folder}: does not fit this model: " + "; ".join(problems[:8]))
    with torch.no_grad():
        for name, value in wanted.items():
            own[name].copy_(value)


def _adapter_tensors(model: nn.Module) -> dict[str, Tensor]:
    names, portable = adapter_parameter_names(model), portable_names(model)
    return {portable[name]: value for name, value in model.named_parameters() if name in names}
