"""Adapters on disk: `adapter_config.json` and `adapter_model.safetensors`, the shape of artifact that PEFT users know.

Only what adapters hold is saved, with the fingerprint of the backbone they were trained on and a model card.
"""

import json
import logging
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from .adapter import CONTAINER, adapter_parameter_names, peft_parameter_names
from .aside import folder_aside
from .fingerprint import fingerprint
from .model_card import CARD_NAME, card
from .plugged import require_plugged
from .vision_encoder import portable_names

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1
CONFIG_NAME, WEIGHTS_NAME = "adapter_config.json", "adapter_model.safetensors"
OWN = ("format_version", "peft_type", "adapter", "backbone_fingerprint", "vision_encoder_fingerprint")
"""The entries of the config that are the format's own; all others are details."""
BESIDE_STOCK = "litevl"
"""The folder inside a saved stock model that keeps its adapters, one folder each."""


def save_adapters(model: nn.Module, folder: str | Path, name: str | None = None, **details: Any) -> Path:
    """Writes one adapter of `model` into `folder`, with a task model's heads and a model card (`README.md`).

    If anything fails on the way, what the folder held before is still there, whole.

    Args:
        model: a plugged BLIP, or a task model around one.
        folder: made if it is not there. A `README.md` in it that is no such card is left as it is.
        name: which adapter; by default the active one.
        details: anything JSON can hold, kept under its name in `adapter_config.json` (preprocessing, evaluation...).
            `backbone` (its `source`, `revision`, `image_size`) is by default what transformers' config knows of it;
            the card shows some of them, see `model_card.card`.

    Returns:
        The folder.

    Raises:
        ValueError: if the model is not plugged, was merged, holds no such adapter, peft has wrapped parts of it, or a
            detail has a name that the format itself uses.
        TypeError: for a detail that JSON cannot hold.
        OSError: if the files cannot be written.
    """
    state = require_plugged(model)
    name = name or state.active
    if name is None:
        raise ValueError("no adapter is active within disable_adapters; say which one to save: name=...")
    if name not in state.adapters:
        raise ValueError(f"name: expected one of the adapters {', '.join(map(repr, state.adapters))}; got {name!r}")
    if wrapped := adapter_parameter_names(model) & peft_parameter_names(model):
        raise ValueError(
            f"peft has wrapped parts of the adapter itself ({sorted(wrapped)[0]}, ...); give its config "
            f"exclude_modules=r'.*\\.{CONTAINER}\\..*', or wrap with peft before plug"
        )
    tensors = adapter_tensors(model, name)
    if any(key.endswith("temporal_attention.fc_bias") for key in tensors):
        raise ValueError("this model was merged for inference and no longer holds its adapters; save before merge()")
    _require_free(details)
    config = {
        "format_version": FORMAT_VERSION,
        "peft_type": "LITEVL",
        "adapter": asdict(state.adapters[name]),
        "backbone_fingerprint": fingerprint(model),
        "vision_encoder_fingerprint": fingerprint(model, "vision encoder"),
    }
    config |= {"litevl_version": version("litevl"), "backbone": _backbone(model)} | details
    with folder_aside(Path(folder)) as aside:
        _write_config(aside, config)
        save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, aside / WEIGHTS_NAME)
    return Path(folder)


def add_details(folder: str | Path, **details: Any) -> None:
    """Adds what became known after saving, such as `metrics` and `command`, to a saved adapter and its card.

    Raises:
        ValueError: if a detail has a name that the format itself uses.
        TypeError: for a detail that JSON cannot hold.
        OSError: if there is no adapter, or its files cannot be written.
    """
    _require_free(details)
    config = json.loads((Path(folder) / CONFIG_NAME).read_text(encoding="utf-8"))
    with folder_aside(Path(folder)) as aside:
        _write_config(aside, {**config, **details})


def _require_free(details: dict[str, Any]) -> None:
    if taken := sorted(details.keys() & set(OWN)):
        raise ValueError(f"details: expected names that the format does not use itself, got {', '.join(taken)}")


def _write_config(folder: Path, config: dict[str, Any]) -> None:
    (folder / CONFIG_NAME).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (folder / CARD_NAME).write_text(card(config), encoding="utf-8")


def _backbone(model: nn.Module) -> dict[str, Any]:
    """Where the backbone came from, as transformers and `load_blip` note it in its config."""
    configs = (getattr(module, "config", None) for module in model.modules())
    sources = (getattr(config, "_name_or_path", None) for config in configs)
    source = next(filter(None, sources), None)
    return {"source": source} if source else {}


def adapter_tensors(model: nn.Module, name: str) -> dict[str, Tensor]:
    """The parameters of the adapter `name` and of a task model's own adapters, by their names in the file."""
    added, portable = adapter_parameter_names(model), portable_names(model)
    own = f".{CONTAINER}.{name}."
    return {
        portable[key]: value
        for key, value in model.named_parameters()
        if key in added and key in portable and (own in f".{key}" or f".{CONTAINER}." not in f".{key}")
    }


def stock_state_dict(model: nn.Module, state_dict: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
    """A state dict (by default that of `model`) without what adapters hold: the stock model's."""
    added = adapter_parameter_names(model)
    return {name: value for name, value in (state_dict or held_by(model)).items() if name not in added}


def held_by(model: nn.Module) -> dict[str, Tensor]:
    """What `model.state_dict()` gives, read without its hooks: those of sharded training (FSDP2) would shard again."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    buffers = {
        f"{path}.{name}" if path else name: buffer
        for path, module in model.named_modules(remove_duplicate=False)
        for name, buffer in module._buffers.items()
        if buffer is not None and name not in module._non_persistent_buffers_set
    }
    return {name: value.detach() for name, value in (parameters | buffers).items()}


def save_stock_pretrained(blip: Any) -> None:
    """Makes `blip.save_pretrained` write the stock model, and its adapters in a folder of their own inside.

    So what it writes loads into an unplugged model as ever, also where another library calls it (transformers'
    `Trainer`, `push_to_hub`), and no training is lost.
    """
    blip.save_pretrained = partial(_save_pretrained, blip)


def _save_pretrained(
    blip: Any, save_directory: str | Path, *args: Any, state_dict: dict[str, Tensor] | None = None, **kwargs: Any
) -> Any:
    result = type(blip).save_pretrained(
        blip, save_directory, *args, state_dict=stock_state_dict(blip, state_dict), **kwargs
    )
    if not kwargs.get("is_main_process", True):
        return result
    for name in require_plugged(blip).adapters:
        try:
            save_adapters(blip, Path(save_directory) / BESIDE_STOCK / name, name)
        except ValueError as error:
            logger.warning("%s: the adapter %r was not saved beside the stock model; %s", save_directory, name, error)
    return result
