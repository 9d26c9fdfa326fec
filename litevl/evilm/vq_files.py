"""A VQ tokenizer on disk: `vq_tokenizer.json` (sizes, and how it came about) and `vq_tokenizer.safetensors`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import dacite
import torch

from litevl.blip import CheckpointError
from litevl.blip.checkpoint import read_tensors
from litevl.blip.folder import read_json

from .files import EMBEDDED
from .record import require_fit, write_tensors, write_text
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
    write_tensors(folder / WEIGHTS_NAME, model.state_dict())
    write_text(folder / CONFIG_NAME, text)
    return folder


def add_details(folder: str | Path, **details: Any) -> None:
    """Adds what became known after saving, such as `metrics` and `command`, to `vq_tokenizer.json`.

    Raises:
        CheckpointError: no tokenizer is there.
        ValueError: if a detail has a name that the format itself uses.
        TypeError: for a detail that JSON cannot hold.
    """
    path = Path(folder) / CONFIG_NAME
    write_text(path, _written(_read_json(path), details))


def _written(record: dict[str, Any], details: dict[str, Any]) -> str:
    if taken := sorted(details.keys() & set(OWN)):
        raise ValueError(f"details: expected names that the format does not use itself, got {', '.join(taken)}")
    return json.dumps(record | details, indent=2) + "\n"


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
    own = model.state_dict()
    require_fit(tensors, own, path)
    model.load_state_dict({name: value.to(own[name].dtype) for name, value in tensors.items()}, assign=True)
    return model.eval().requires_grad_(False)


def _read_json(path: Path) -> dict[str, Any]:
    record = read_json(path, "the JSON file of a VQ tokenizer", "give the folder of one")
    lacking = [name for name in OWN if name not in record]
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
