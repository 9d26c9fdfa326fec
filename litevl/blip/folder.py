"""A transformers folder: a config.json beside weights, in one file or in shards; local or fetched from the hub."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from litevl.blip.checkpoint import CheckpointError, in_one_line, name_some, read_tensors
from litevl.blip.conversion import mend_heads
from litevl.blip.source import Source, fetch_hub_files
from litevl.blip.tokenizer import TOKENIZER_FILES

WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


def folder_of(found: Source) -> tuple[Path | None, str | None]:
    """Give the folder that holds config and weights, fetched first where it is on the hub.

    Returns:
        The folder, or None for a lone file of weights; the commit, for a model from the hub.

    Raises:
        CheckpointError: The hub's files cannot be had.
    """
    if found.kind == "file":
        return None, None
    if found.kind == "hub":
        folder = fetch_hub_files(found.label, wanted=(("config.json",), WEIGHT_FILES), optional=TOKENIZER_FILES)
        index = next((folder / name for name in WEIGHT_FILES if (folder / name).is_file()), None)
        if index is not None and index.suffix == ".json":
            fetch_hub_files(found.label, wanted=[(shard,) for shard in _shards(index)], revision=folder.name)
        return folder, folder.name
    return found.path, None


def read_json(path: Path, what: str = "a JSON file", cure: str = "copy it again") -> dict[str, Any]:
    """Read a JSON file of a model's folder.

    Args:
        path: Of the file.
        what: It is, for the error.
        cure: What to do where it is not, for the error.

    Raises:
        CheckpointError: It cannot be read, or does not hold an object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: expected {what}, reading it failed ({error}); {cure}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: expected a JSON object, got {type(content).__name__}; {cure}")
    return content


def read_folder(folder: Path, label: str) -> dict[str, Tensor]:
    """Read all weights of a transformers folder.

    Args:
        folder: As from `folder_of`.
        label: What the user called it, for the errors.

    Raises:
        CheckpointError: There are no weights in it, or one of its files cannot be read.
    """
    weights = next((folder / name for name in WEIGHT_FILES if (folder / name).is_file()), None)
    if weights is None:
        files = sorted(path.name for path in folder.iterdir()) or ["nothing"]
        raise CheckpointError(
            f"{label}: expected a transformers folder with one of {', '.join(WEIGHT_FILES)}, found "
            f"{name_some(files)}; for an original or LAVIS checkpoint pass the .pth file itself"
        )
    if weights.suffix != ".json":
        return read_tensors(weights)
    tensors: dict[str, Tensor] = {}
    for shard in _shards(weights):
        part = read_tensors(folder / shard)
        if twice := sorted(tensors.keys() & part.keys()):
            raise CheckpointError(f"{folder / shard}: expected each weight once, other shards hold {name_some(twice)}")
        tensors |= part
    return tensors


def _shards(index: Path) -> list[str]:
    """The files that an index names, which must lie beside it."""
    named = read_json(index).get("weight_map")
    shards = set(named.values()) if isinstance(named, dict) and all(map(_is_name, named.values())) else set()
    if not shards:
        raise CheckpointError(
            f"{index}: expected weight_map with the names of files beside it, got {named!r:.80}; copy it again"
        )
    return sorted(shards)


def _is_name(shard: Any) -> bool:
    return isinstance(shard, str) and not set(shard) & set("/\\\0") and shard not in ("", ".", "..")


def read_config(folder: Path, label: str) -> tuple[dict[str, Any], list[str]]:
    """Read a folder's config.json, its gaps filled by transformers' defaults, its head counts mended.

    Returns:
        The arguments of `BlipConfig`; a sentence for each thing that was changed.

    Raises:
        CheckpointError: There is no config.json of a BLIP.
    """
    from transformers import BlipConfig
    from transformers.utils import logging

    content = read_json(folder / "config.json")
    if content.get("model_type") != "blip":
        raise CheckpointError(
            f'{label}: expected "model_type": "blip" in config.json, got {content.get("model_type")!r}; '
            "only transformers' BLIP can be loaded"
        )
    verbosity = logging.get_verbosity()
    # It warns of token ids beyond the vocabulary; load_blip puts the tokenizer's ids there, and says so.
    logging.set_verbosity_error()
    try:
        config = BlipConfig.from_dict(content).to_dict()
    except Exception as error:  # whatever transformers makes of a damaged file
        raise CheckpointError(
            f"{folder / 'config.json'}: expected the sizes of a BLIP, transformers cannot read them "
            f"({in_one_line(error)}); copy it again"
        ) from error
    finally:
        logging.set_verbosity(verbosity)
    parts = ("vision_config", "text_config")
    for part in parts:
        for name in ("hidden_size", "num_attention_heads"):
            if not isinstance(config[part][name], int):  # transformers looks at types from 5.1 on
                raise CheckpointError(
                    f"{folder / 'config.json'}: expected a whole number for {part}.{name}, got {config[part][name]!r}; "
                    "copy it again"
                )
    mended = [mend_heads(config[part], part) for part in parts]
    return config, [note for note in mended if note is not None]
