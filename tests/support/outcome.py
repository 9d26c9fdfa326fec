"""All that a finished run leaves which may not depend on how often it was interrupted."""

import json
from pathlib import Path
from typing import Any

import torch


def outcome(folder: Path) -> dict[str, Any]:
    """The log, the metrics, every trained tensor and the state, to be compared bit for bit; time is left out."""
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["training"].pop("seconds")
    state = torch.load(folder / "state.pt", weights_only=True)
    state["progress"].pop("seconds")
    tensors = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.safetensors")}
    return {
        "log": (folder / "log.jsonl").read_text(),
        "metrics": metrics,
        "files": sorted(str(path.relative_to(folder)) for path in folder.rglob("*")),
        **tensors,
        **flat("state", state),
    }


def flat(name: str, value: Any) -> dict[str, Any]:
    """Nested dicts and lists as one dict, tensors as bytes."""
    if isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {key: leaf for inner, item in items for key, leaf in flat(f"{name}.{inner}", item).items()}
    return {name: value.numpy().tobytes() if isinstance(value, torch.Tensor) else value}


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """What two outcomes differ in, by name."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name, 0) != other.get(name, 0))
