"""Training objectives."""

from .captioning import CaptioningLossConfig, CaptioningObjective
from .contrastive import contrastive_loss
from .language import language_loss
from .matching import hard_negatives, matching_loss
from .momentum import MomentumCopy
from .question_answering import QuestionLossConfig, QuestionObjective
from .queue import FeatureQueue
from .retrieval import RetrievalLossConfig, RetrievalObjective

__all__ = [
    "CaptioningLossConfig",
    "CaptioningObjective",
    "FeatureQueue",
    "MomentumCopy",
    "QuestionLossConfig",
    "QuestionObjective",
    "RetrievalLossConfig",
    "RetrievalObjective",
    "contrastive_loss",
    "hard_negatives",
    "language_loss",
    "matching_loss",
]
