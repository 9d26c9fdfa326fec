"""Loading adapters from disk or the hub; onto another backbone it is refused, and a failed load changes nothing."""

import json
import logging
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from .artifact import CONFIG_NAME, FORMAT_VERSION, WEIGHTS_NAME, adapter_tensors
from .config import AdapterConfig
from .families import adapter_config
from .fingerprint import fingerprint
from .hub import download, is_hub_id
from .plug import plug, set_adapter, start_momentum, unplug
from .plugged import plugged_state

logger = logging.getLogger(__name__)


class AdapterLoadError(ValueError):
    """An adapter folder cannot be loaded onto this model; the message says why and what to do."""


def load_adapters(
    model: nn.Module, source: str | Path, name: str = "default", *, revision: str | None = None, verbose: bool = True
) -> dict[str, Any]:
    """Plugs `model` as the source says (unless it is plugged that way already) and loads the adapter's values.

    What a task model adds beside the encoder (heads, temperature) is loaded where `model` has it; onto a bare BLIP
    those tensors are left in the file.

    Args:
        model: a BLIP, stock or plugged, or a task model around one.
        source: a folder that `save_adapters` wrote, or the id of a hub repository that `push_to_hub` made.
        name: what to call the adapter in this model; it becomes the active one.
        revision: of the hub repository: a branch, tag or commit.
        verbose: print how much is trainable.

    Returns:
        The source's `adapter_config.json`.

    Raises:
        AdapterLoadError: for a missing or truncated file, a newer format, another backbone, unknown or missing tensors,
            other shapes or NaN. The model is then unchanged.
    """
    folder = Path(source)
    if not folder.is_dir() and is_hub_id(str(source)):
        try:
            folder = download(str(source), revision)
        except (OSError, ValueError) as error:
            raise AdapterLoadError(
                f"{source}: no folder of that name, and not to be had from the hub; {error}"
            ) from error
    config, tensors = _read(folder)
    adapter = _adapter_config(config["adapter"], folder)
    if config.get("lora") and not any(hasattr(module, "base_layer") for module in model.modules()):
        raise AdapterLoadError(
            f"{folder}: was trained beside LoRA, which lies in its lora/ folder, and this model has none; load that "
            "first (litevl.training.load_lora, or peft)"
        )
    _check_backbone(model, config, folder)
    state = plugged_state(model)
    before = state.active if state else None
    held = state.adapters.get(name) if state else None
    if held is not None and held != adapter:
        raise AdapterLoadError(
            f"{folder}: holds {adapter}, the model's adapter {name!r} is {held}; unplug it first, or load under "
            "another name"
        )
    if held is None:
        plug(model, adapter, name, verbose=False)
    try:
        _copy_tensors(model, name, tensors, folder)
    except AdapterLoadError:
        if held is None:
            unplug(model, name)
            if before is not None:
                set_adapter(model, before)
        raise
    set_adapter(model, name)
    return config


def _check_backbone(model: nn.Module, config: dict[str, Any], folder: Path) -> None:
    found, wanted = fingerprint(model, "vision encoder"), config["vision_encoder_fingerprint"]
    if found != wanted:
        raise AdapterLoadError(
            f"{folder}: these adapters were trained on the vision encoder {wanted}, this model's is {found}; load the "
            "backbone that adapter_config.json names, in the same dtype (after --train all that is the run folder's "
            "own backbone/)"
        )
    found, wanted = fingerprint(model), config["backbone_fingerprint"]
    if found != wanted:
        logger.warning(
            "%s: was trained beside another text side (the whole model then was %s, is now %s); the vision encoder is "
            "the same",
            folder,
            wanted,
            found,
        )


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
    wanted = ("format_version", "adapter", "backbone_fingerprint", "vision_encoder_fingerprint")
    missing = [key for key in wanted if key not in config] if isinstance(config, dict) else list(wanted)
    if missing:
        raise AdapterLoadError(f"{folder / CONFIG_NAME}: no {', '.join(missing)}; this is not a litevl adapter")
    if config["format_version"] > FORMAT_VERSION:
        raise AdapterLoadError(
            f"{folder}: format {config['format_version']}, newer than this litevl reads ({FORMAT_VERSION}); upgrade it"
        )
    return config, tensors


def _adapter_config(stored: dict[str, Any], folder: Path) -> AdapterConfig:
    try:
        return adapter_config(stored)
    except (TypeError, ValueError, AttributeError) as error:
        raise AdapterLoadError(
            f"{folder / CONFIG_NAME}: `adapter` is not a configuration of this litevl; {error}"
        ) from error


def _copy_tensors(model: nn.Module, name: str, tensors: dict[str, Tensor], folder: Path) -> None:
    own = adapter_tensors(model, name)
    bare = all(key.startswith("vision_model.") for key in own)
    wanted = {key: value for key, value in tensors.items() if not bare or key.startswith("vision_model.")}
    if left := sorted(tensors.keys() - wanted.keys()):
        logger.warning("%s: these belong to a task model and stay in the file: %s", folder, ", ".join(left))
    problems = [f"unknown {key}" for key in sorted(wanted.keys() - own.keys())]
    problems += [f"missing {key}" for key in sorted(own.keys() - wanted.keys())]
    problems += [
        f"{key}: expected {tuple(own[key].shape)}, got {tuple(value.shape)}"
        for key, value in sorted(wanted.items())
        if key in own and own[key].shape != value.shape
    ]
    problems += [f"{key}: holds NaN or infinity" for key, value in sorted(wanted.items()) if not value.isfinite().all()]
    if problems:
        raise AdapterLoadError(f"{folder}: does not fit this model: " + "; ".join(problems[:8]))
    with torch.no_grad():
        for key, value in wanted.items():
            own[key].copy_(value)
    start_momentum(model, name)
