"""Whole tasks, from a config to metrics: what recipes share. Imports models, data, losses, training and evaluation."""

from .command_line import absolute, parse
from .retrieval import RetrievalConfig, run_retrieval

__all__ = ["RetrievalConfig", "absolute", "parse", "run_retrieval"]
