"""LiteVL: BLIP, an image-language model, made into a video-language model on your own data.

from litevl import load_blip, VideoTextRetrieval, VideoQuestionAnswering
from litevl.adapters import LiteVLConfig, plug
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from litevl.blip import load_blip
    from litevl.data.clip import load_clip
    from litevl.models import VideoCaptioning, VideoQuestionAnswering, VideoTextRetrieval

__all__ = ["VideoCaptioning", "VideoQuestionAnswering", "VideoTextRetrieval", "load_blip", "load_clip"]


def __getattr__(name: str) -> Any:
    # Looked up on first use: `litevl.metrics` works alone and must not wait for torch and transformers.
    if name == "load_blip":
        from litevl.blip import load_blip

        return load_blip
    if name == "load_clip":
        from litevl.data.clip import load_clip

        return load_clip
    if name in ("VideoCaptioning", "VideoQuestionAnswering", "VideoTextRetrieval"):
        from litevl import models

        return getattr(models, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
