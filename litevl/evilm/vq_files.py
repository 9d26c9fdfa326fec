"""A VQ tokenizer on disk: `vq_tokenizer.json` (sizes, and how it came about) and `vq_tokenizer.safetensors`."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import dacite
import torch
from safetensors.torch import save_file
from torch import Tensor

from litevl.blip import CheckpointError
from litevl.blip.checkpoint import name_some, read_tensors, require_finite

from .files import EMBEDDED
from .vq_tokenizer import VQTokenizer, VQTokenizerConfig

CONFIG_NAME, WEIGHTS_NAME = "vq_tokenizer.json", "vq_tokenizer.safetensors"
FORMAT_VERSION = 1
OWN = ("format_version", "config", "teacher_dim")
"""The entries of the JSON file that are the format's own; all others are details."""


def save_vq_tokenizer(model: VQTokenizer, folder: str | Path, **details: Any) -> Path:
    """Writes the tokenizer as `vq_tokenizer.json` and `vq_tokenizer.safetensors`; each replaces an older one whole.

    Args:
        model: the tokenizer.
        folder: made if it is not there.
        details: anything JSON can hold, kept under its name in `vq_tokenizer.json` (metrics, preprocessing...).

    Returns:
        The folder.

    Raises:
        ValueError: if a detail has a name that the format itself uses.
        TypeError: for a detail that JSON cannot hold.
    """
    folder = Path(folder)
    own = {"format_version": FORMAT_VERSION, "config": asdict(model.config), "teacher_dim": model.teacher_dim}
    text = _written(own, details)
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f"{WEIGHTS_NAME}.writing"
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}, aside)
    os.replace(aside, folder / WEIGHTS_NAME)
    _replace_text(folder / CONFIG_NAME, text)
    return folder


def add_details(folder: str | Path, **details: Any) -> None:
    """Adds what became known after saving, such as `metrics` and `command`, to `vq_tokenizer.json`.

    Raises:
        CheckpointError: no tokenizer is there.
        ValueError: if a detail has a name that the format itself uses.
        TypeError: for a detail that JSON cannot hold.
    """
    path = Path(folder) / CONFIG_NAME
    _replace_text(path, _written(_read_json(path), details))


def _written(record: dict[str, Any], details: dict[str, Any]) -> str:
    if taken := sorted(details.keys() & set(OWN)):
        raise ValueError(f"details: expected names that the format does not use itself, got {', '.join(taken)}")
    return json.dumps(record | details, indent=2) + "\n"


def _replace_text(path: Path, text: str) -> None:
    aside = path.with_name(f"{path.name}.writing")
    aside.write_text(text, encoding="utf-8")
    os.replace(aside, path)


def tokenizer_folder(source: str | Path) -> Path:
    """The folder that a source names; "embedded" is the small one that ships."""
    return EMBEDDED / "tokenizer" if str(source) == "embedded" else Path(source)


def load_vq_tokenizer(source: str | Path) -> VQTokenizer:
    """Loads what `save_vq_tokenizer` wrote, or "embedded": in eval mode, frozen, on the CPU.

    Raises:
        CheckpointError: a file is not there or damaged, or the two do not fit each other; names the file and the key.
    """
    folder = tokenizer_folder(source)
    config, teacher_dim = _read_record(folder / CONFIG_NAME)
    path = folder / WEIGHTS_NAME
    tensors = read_tensors(path)
    # Nothing is drawn at random only to be written over, so the caller's random state stays as it is.
    with torch.device("meta"):
        model = VQTokenizer(config, teacher_dim)
    _require_fit(tensors, model.state_dict(), path)
    model.load_state_dict(tensors, assign=True)
    return model.eval().requires_grad_(False)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: expected a saved tokenizer's JSON ({error}); give the folder of one") from error
    lacking = [name for name in OWN if name not in record] if isinstance(record, dict) else OWN
    if lacking:
        raise CheckpointError(f"{path}: expected {', '.join(OWN)}; {', '.join(lacking)} missing: save the model again")
    return record


def _read_record(path: Path) -> tuple[VQTokenizerConfig, int]:
    record = _read_json(path)
    if record["format_version"] != FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: expected format_version {FORMAT_VERSION}, got {record['format_version']!r}; "
            "load it with the litevl that wrote it"
        )
    dim = record["teacher_dim"]
    if type(dim) is not int or dim < 1:
        raise CheckpointError(f"{path}: teacher_dim: expected a whole number of at least 1, got {dim!r}")
    try:
        return dacite.from_dict(VQTokenizerConfig, record["config"], dacite.Config(cast=[float], strict=True)), dim
    except (dacite.DaciteError, AttributeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: config: not that of a tokenizer of this version; {error}") from error


def _require_fit(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path) -> None:
    if missing := [name for name in expected if name not in tensors]:
        raise CheckpointError(f"{path}: {len(missing)} of {len(expected)} tensors are missing: {name_some(missing)}")
    if unknown := [name for name in tensors if name not in expected]:
        raise CheckpointError(f"{path}: expected the tokenizer's tensors alone, got others: {name_some(unknown)}")
    others = [
        f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)} for {own.dtype} {tuple(own.shape)}"
        for name, own in expected.items()
        if (tensors[name].shape, tensors[name].dtype) != (own.shape, own.dtype)
    ]
    if others:
        raise CheckpointError(f"{path}: not the shapes of {CONFIG_NAME} beside it, of one save: {name_some(others)}")
    require_finite(tensors, str(path))
