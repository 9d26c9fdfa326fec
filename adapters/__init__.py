"""What is inserted into a backbone. Installed as `litevl.adapters`; knows nothing of datasets, training or tasks."""

from .adapter import Adapter, count_parameters, describe_trainable, freeze_backbone, named_adapters
from .artifact import AdapterLoadError, load_adapters, save_adapters
from .fingerprint import fingerprint
from .plug import LiteVLConfig, merge, pack_video, plug, plugged_state, unplug
from .text_pooling import PoolingConfig, pool_by_text, text_weights
from .vision_encoder import find_vision_encoder

__all__ = [
    "Adapter",
    "AdapterLoadError",
    "LiteVLConfig",
    "PoolingConfig",
    "count_parameters",
    "describe_trainable",
    "find_vision_encoder",
    "fingerprint",
    "freeze_backbone",
    "load_adapters",
    "merge",
    "named_adapters",
    "pack_video",
    "plug",
    "plugged_state",
    "pool_by_text",
    "save_adapters",
    "text_weights",
    "unplug",
]
