"""Training objectives."""

from .captioning import CaptioningLossConfig, CaptioningObjective
from .contrastive import contrastive_loss
from .language import language_loss
from .matching import MatchingPairs, draw_pairs, hard_negatives, matching_loss
from .momentum import MomentumCopy
from .question_answering import QuestionLossConfig, QuestionObjective
from .queue import FeatureQueue
from .retrieval import RetrievalLossConfig, RetrievalObjective

__all__ = [
    "CaptioningLossConfig",
    "CaptioningObjective",
    "FeatureQueue",
    "MatchingPairs",
    "MomentumCopy",
    "QuestionLossConfig",
    "QuestionObjective",
    "RetrievalLossConfig",
    "RetrievalObjective",
    "contrastive_loss",
    "draw_pairs",
    "hard_negatives",
    "language_loss",
    "matching_loss",
]
