"""What two results must share to be compared, whatever the task."""

import platform
from importlib.metadata import version
from typing import Any

import torch

from litevl.adapters import fingerprint
from litevl.data.preprocess import PreprocessConfig


def stamp(blip: Any) -> dict[str, Any]:
    """What of a stock or plugged BLIP, and of the software, belongs to the protocol of a result."""
    return {
        "backbone_fingerprint": fingerprint(blip),
        "backbone_revision": blip.load_report.revision,
        **stamp_software(blip.config.vision_config.image_size),
    }


def stamp_software(image_size: int) -> dict[str, Any]:
    """What of the software, and of the frames it makes, belongs to the protocol of a result."""
    return {
        "image_size": image_size,
        "preprocessing": PreprocessConfig(image_size).fingerprint(),
        "versions": {name: version(name) for name in ("litevl", "torch", "transformers")},
    }


def describe_device(device: torch.device) -> str:
    """The device by its maker's name, a processor with the threads that torch uses of it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads" if device.type == "cpu" else device.type
