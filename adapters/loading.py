"""Loading adapters from disk or the hub; onto another backbone it is refused, and a failed load changes nothing."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from .adapter import describe_trainable
from .artifact import CONFIG_NAME, FORMAT_VERSION, WEIGHTS_NAME, adapter_tensors
from .config import AdapterConfig
from .families import adapter_config
from .fingerprint import fingerprint
from .hub import download
from .model_card import BACKBONE, is_hub_id
from .plug import activate, plug, set_adapter, start_momentum, unplug
from .plugged import plugged_state

logger = logging.getLogger(__name__)

NOT_OURS = "this is not an adapter that litevl saved"


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
            other shapes or types, or NaN. The model is then unchanged.
    """
    folder = _folder(source, revision)
    config = _read_config(folder / CONFIG_NAME)
    adapter = _adapter_config(config, folder / CONFIG_NAME)
    tensors = _read_tensors(folder / WEIGHTS_NAME)
    if config.get("lora") and not any(hasattr(module, "base_layer") for module in model.modules()):
        raise AdapterLoadError(
            f"{folder}: was trained beside LoRA, which lies in its lora/ folder, and this model has none; load that "
            "first (litevl.training.load_lora, or peft)"
        )
    _check_backbone(model, config, folder)
    state = plugged_state(model)
    held = state.adapters.get(name) if state else None
    if held is not None and held != adapter:
        raise AdapterLoadError(
            f"{folder}: holds {adapter}, the model's adapter {name!r} is {held}; unplug it first, or load under "
            "another name"
        )
    with _unchanged_by_errors(model, name):
        if held is None:
            _insert(model, adapter, name, folder)
        _copy_tensors(model, name, tensors, folder)
    set_adapter(model, name)
    if verbose:
        print(describe_trainable(model))
    return config


def _insert(model: nn.Module, adapter: AdapterConfig, name: str, folder: Path) -> None:
    try:
        plug(model, adapter, name, verbose=False)
    except (TypeError, ValueError, RuntimeError) as error:
        raise AdapterLoadError(f"{folder}: {adapter} cannot be inserted as {name!r}; {error}") from error


@contextmanager
def _unchanged_by_errors(model: nn.Module, name: str) -> Iterator[None]:
    """Where what happens within it fails: unplugs the adapter `name` if it is new, and makes all as it was."""
    state = plugged_state(model)
    names, active = (set(state.adapters), state.active) if state else (set(), None)
    flags = {key: parameter.requires_grad for key, parameter in model.named_parameters()}
    try:
        yield
    except Exception:
        after = plugged_state(model)
        if after is not None and name in after.adapters and name not in names:
            unplug(model, name)
        if names:
            activate(model, active)
        for key, parameter in model.named_parameters():
            parameter.requires_grad_(flags[key])
        raise


def _folder(source: str | Path, revision: str | None) -> Path:
    if Path(source).is_dir() or not isinstance(source, str) or not is_hub_id(source):
        return Path(source)
    try:
        return download(source, revision)
    except OSError as error:
        raise AdapterLoadError(f"{source}: no folder of that name, and not to be had from the hub; {error}") from error


def _check_backbone(model: nn.Module, config: dict[str, Any], folder: Path) -> None:
    encoder, trained_on = fingerprint(model, "vision encoder"), config["vision_encoder_fingerprint"]
    if encoder != trained_on:
        source = (config.get("backbone") or {}).get("source")
        raise AdapterLoadError(
            f"{folder}: these adapters were trained on the vision encoder {trained_on}, this model's is {encoder}; "
            f"load {source or 'their own backbone'}, in the same dtype"
            + (" (the folder backbone/ of the run, which was trained too)" if source == BACKBONE else "")
        )
    whole, was = fingerprint(model), config["backbone_fingerprint"]
    # Saved from a vision encoder alone, or loaded onto one, there is one text side at most.
    if whole != was and was != trained_on and whole != encoder:
        logger.warning(
            "%s: was trained beside another text side (the whole model then was %s, is now %s); the vision encoder is "
            "the same",
            folder,
            was,
            whole,
        )


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise AdapterLoadError(f"{path}: not valid JSON ({error}); fetch or save the adapter again") from error
    except OSError as error:
        raise _unreadable(path, error) from error
    if not isinstance(config, dict):
        raise AdapterLoadError(f"{path}: expected a JSON object, got {type(config).__name__}; {NOT_OURS}")
    number = config.get("format_version")
    if number is None:
        made = f"peft's {config['peft_type']}, load it with peft" if "peft_type" in config else NOT_OURS
        raise AdapterLoadError(f"{path}: no format_version; {made}")
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise AdapterLoadError(f"{path}: format_version: expected a whole number from 1, got {number!r}; {NOT_OURS}")
    if number > FORMAT_VERSION:
        wrote = f" (litevl {config['litevl_version']} wrote it)" if "litevl_version" in config else ""
        raise AdapterLoadError(
            f"{path}: format {number}, newer than this litevl reads ({FORMAT_VERSION}); upgrade litevl{wrote}"
        )
    wanted = ("adapter", "backbone_fingerprint", "vision_encoder_fingerprint")
    if missing := [key for key in wanted if key not in config]:
        raise AdapterLoadError(f"{path}: no {', '.join(missing)}; {NOT_OURS}")
    return config


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise AdapterLoadError(
            f"{path}: truncated or not safetensors ({error}); fetch or save the adapter again"
        ) from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> AdapterLoadError:
    if isinstance(error, FileNotFoundError):
        return AdapterLoadError(f"{path}: not there; expected a folder with {CONFIG_NAME} and {WEIGHTS_NAME}")
    return AdapterLoadError(f"{path}: cannot be read ({error})")


def _adapter_config(config: dict[str, Any], path: Path) -> AdapterConfig:
    stored = config["adapter"]
    try:
        if not isinstance(stored, dict):
            raise TypeError(f"expected an object with a family and its options, got {type(stored).__name__}")
        return adapter_config(stored)
    except (TypeError, ValueError) as error:
        raise AdapterLoadError(f"{path}: `adapter` is not a configuration of this litevl; {error}") from error


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
    problems += [
        f"{key}: expected floating-point numbers, got {str(value.dtype).removeprefix('torch.')}"
        for key, value in sorted(wanted.items())
        if not value.is_floating_point()
    ]
    problems += [f"{key}: holds NaN or infinity" for key, value in sorted(wanted.items()) if not value.isfinite().all()]
    if problems:
        raise AdapterLoadError(f"{folder}: does not fit this model: " + "; ".join(problems[:8]))
    with torch.no_grad():
        for key, value in wanted.items():
            own[key].copy_(value)
    start_momentum(model, name)
