"""E-ViLM, the compact baseline: its encoders, the VQ tokenizer whose codes it is pre-trained on, and its files."""

from .config import FULL, SMALL, EViLMConfig
from .files import load_evilm, save_evilm
from .model import EViLM
from .pretraining import PretrainingLossConfig, PretrainingObjective
from .question_answering import EViLMQuestionAnswering
from .vq_files import load_vq_tokenizer, save_vq_tokenizer
from .vq_tokenizer import VQTokenizer, VQTokenizerConfig

__all__ = [
    "FULL",
    "SMALL",
    "EViLM",
    "EViLMConfig",
    "EViLMQuestionAnswering",
    "PretrainingLossConfig",
    "PretrainingObjective",
    "VQTokenizer",
    "VQTokenizerConfig",
    "load_evilm",
    "load_vq_tokenizer",
    "save_evilm",
    "save_vq_tokenizer",
]
