"""Task models around a plugged BLIP."""

from .features import TextFeatures, TokenBatch, VideoFeatures
from .retrieval import VideoTextRetrieval

__all__ = ["TextFeatures", "TokenBatch", "VideoFeatures", "VideoTextRetrieval"]
