"""Training with Accelerate: what is trained, the loop, the run folder and its resumable state."""

from .adapted import ModelConfig, adapt, frame_by_frame, load_adapted, load_backbone, preprocessing, save_adapted
from .caption_batches import CaptionBatches
from .checkpoint import STATE_NAME, Progress, load_state, save_state
from .config import TrainingConfig
from .failures import DiskFull, OutOfMemory, ProcessLost, RunFailed
from .fit import Batches, fit, learning_rate, make_optimizer
from .interruption import Interrupted, Interruption
from .launch import start_accelerator
from .question_batches import QuestionBatches
from .retrieval_model import RetrievalModelConfig, build_model, frame_average, load_model, save_model
from .run_folder import RunFolder, describe_changes, new_run_name, read_config, read_json
from .step import Batch, LossNotFinite
from .trainable import LoraSettings, Train, load_lora, save_lora, select_trainable

__all__ = [
    "STATE_NAME",
    "Batch",
    "Batches",
    "CaptionBatches",
    "DiskFull",
    "Interrupted",
    "Interruption",
    "LoraSettings",
    "LossNotFinite",
    "ModelConfig",
    "OutOfMemory",
    "ProcessLost",
    "Progress",
    "QuestionBatches",
    "RetrievalModelConfig",
    "RunFailed",
    "RunFolder",
    "Train",
    "TrainingConfig",
    "adapt",
    "build_model",
    "describe_changes",
    "fit",
    "frame_average",
    "frame_by_frame",
    "learning_rate",
    "load_adapted",
    "load_backbone",
    "load_lora",
    "load_model",
    "load_state",
    "make_optimizer",
    "new_run_name",
    "preprocessing",
    "read_config",
    "read_json",
    "save_adapted",
    "save_lora",
    "save_model",
    "save_state",
    "select_trainable",
    "start_accelerator",
]
