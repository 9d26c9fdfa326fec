"""Training with Accelerate: what is trained, the loop, the run folder and its resumable state."""

from .checkpoint import Progress, load_state, save_state
from .fit import Batch, Batches, LossNotFinite, TrainingConfig, fit, learning_rate, make_optimizer
from .launch import start_accelerator
from .run_folder import RunFolder, new_run_name, read_json
from .trainable import LoraSettings, Train, load_lora, save_lora, select_trainable

__all__ = [
    "Batch",
    "Batches",
    "LoraSettings",
    "LossNotFinite",
    "Progress",
    "RunFolder",
    "Train",
    "TrainingConfig",
    "fit",
    "learning_rate",
    "load_lora",
    "load_state",
    "make_optimizer",
    "new_run_name",
    "read_json",
    "save_lora",
    "save_state",
    "select_trainable",
    "start_accelerator",
]
