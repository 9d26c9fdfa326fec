"""Training with Accelerate: what is trained, the loop, the run folder and its resumable state."""

from .caption_batches import CaptionBatches
from .checkpoint import STATE_NAME, Progress, load_state, save_state
from .fit import Batch, Batches, LossNotFinite, TrainingConfig, fit, learning_rate, make_optimizer
from .launch import start_accelerator
from .retrieval_model import (
    RetrievalModelConfig,
    build_model,
    frame_average,
    load_backbone,
    load_model,
    preprocessing,
    save_model,
)
from .run_folder import RunFolder, describe_changes, new_run_name, read_config, read_json
from .trainable import LoraSettings, Train, load_lora, save_lora, select_trainable

__all__ = [
    "STATE_NAME",
    "Batch",
    "Batches",
    "CaptionBatches",
    "LoraSettings",
    "LossNotFinite",
    "Progress",
    "RetrievalModelConfig",
    "RunFolder",
    "Train",
    "TrainingConfig",
    "build_model",
    "describe_changes",
    "fit",
    "frame_average",
    "learning_rate",
    "load_backbone",
    "load_lora",
    "load_model",
    "load_state",
    "make_optimizer",
    "new_run_name",
    "preprocessing",
    "read_config",
    "read_json",
    "save_lora",
    "save_model",
    "save_state",
    "select_trainable",
    "start_accelerator",
]
