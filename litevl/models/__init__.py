"""Task models around a plugged BLIP."""

from .captioning import VideoCaptioning
from .features import TextFeatures, TokenBatch, VideoFeatures
from .question_answering import GroundedQuestions, VideoQuestionAnswering
from .retrieval import VideoTextRetrieval

__all__ = [
    "GroundedQuestions",
    "TextFeatures",
    "TokenBatch",
    "VideoCaptioning",
    "VideoFeatures",
    "VideoQuestionAnswering",
    "VideoTextRetrieval",
]
