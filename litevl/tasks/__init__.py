"""Whole tasks, from a config to metrics: what recipes share. Imports models, data, losses, training and evaluation."""

from .captioning import CaptioningConfig, run_captioning
from .command_line import absolute, parse, run_recipe
from .question_answering import QuestionAnsweringConfig, run_question_answering
from .retrieval import RetrievalConfig, run_retrieval

__all__ = [
    "CaptioningConfig",
    "QuestionAnsweringConfig",
    "RetrievalConfig",
    "absolute",
    "parse",
    "run_captioning",
    "run_question_answering",
    "run_recipe",
    "run_retrieval",
]
