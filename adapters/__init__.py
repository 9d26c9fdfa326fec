"""What is inserted into a backbone. Installed as `litevl.adapters`; knows nothing of datasets, training or tasks."""

from .adapter import Adapter, count_parameters, describe_trainable, named_adapters
from .aim import AIMConfig
from .artifact import add_details, save_adapters, stock_state_dict
from .bottleneck_attention import BottleneckConfig
from .compiled import compile_for_inference
from .config import AdapterConfig
from .describe import describe
from .families import FAMILIES, adapter_config
from .fingerprint import fingerprint
from .frame_average import FrameAverageConfig
from .frozen_blocks import (
    FrameFeatures,
    blocks_below,
    encode_above,
    encode_below,
    fingerprint_below,
    require_frozen_below,
)
from .hub import push_to_hub
from .litevl import LiteVLConfig
from .loading import AdapterLoadError, load_adapters
from .plug import disable_adapters, freeze_backbone, merge, plug, set_adapter, unplug
from .plugged import plugged_state
from .st_adapter import STAdapterConfig
from .temporal_shift import TemporalShiftConfig
from .text_pooling import PoolingConfig, pool_by_text, text_weights
from .video_encoder import pack_video
from .vision_encoder import find_vision_encoder

__all__ = [
    "FAMILIES",
    "AIMConfig",
    "Adapter",
    "AdapterConfig",
    "AdapterLoadError",
    "BottleneckConfig",
    "FrameAverageConfig",
    "FrameFeatures",
    "LiteVLConfig",
    "PoolingConfig",
    "STAdapterConfig",
    "TemporalShiftConfig",
    "adapter_config",
    "add_details",
    "blocks_below",
    "compile_for_inference",
    "count_parameters",
    "describe",
    "describe_trainable",
    "disable_adapters",
    "encode_above",
    "encode_below",
    "find_vision_encoder",
    "fingerprint",
    "fingerprint_below",
    "freeze_backbone",
    "load_adapters",
    "merge",
    "named_adapters",
    "pack_video",
    "plug",
    "plugged_state",
    "pool_by_text",
    "push_to_hub",
    "require_frozen_below",
    "save_adapters",
    "set_adapter",
    "stock_state_dict",
    "text_weights",
    "unplug",
]
