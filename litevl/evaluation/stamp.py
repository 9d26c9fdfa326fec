"""What two results must share to be compared, whatever the task."""

from importlib.metadata import version
from typing import Any

from litevl.adapters import fingerprint
from litevl.data.preprocess import PreprocessConfig


def stamp(blip: Any) -> dict[str, Any]:
    """What of a stock or plugged BLIP, and of the software, belongs to the protocol of a result."""
    size = blip.config.vision_config.image_size
    return {
        "backbone_fingerprint": fingerprint(blip),
        "backbone_revision": blip.load_report.revision,
        "image_size": size,
        "preprocessing": PreprocessConfig(size).fingerprint(),
        "versions": {name: version(name) for name in ("litevl", "torch", "transformers")},
    }
