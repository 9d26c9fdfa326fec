"""Training objectives."""

from .contrastive import contrastive_loss
from .matching import hard_negatives, matching_loss
from .momentum import MomentumCopy
from .queue import FeatureQueue
from .retrieval import RetrievalLossConfig, RetrievalObjective

__all__ = [
    "FeatureQueue",
    "MomentumCopy",
    "RetrievalLossConfig",
    "RetrievalObjective",
    "contrastive_loss",
    "hard_negatives",
    "matching_loss",
]
