"""Why a segment was found: what the query makes of its frames."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from litevl.models import VideoTextRetrieval
from litevl.models.interfaces import RetrievalModel

from .results import Hit


@dataclass(frozen=True)
class Explanation:
    """What a query makes of a segment."""

    query: str
    hit: Hit
    frames: UInt8[np.ndarray, "time height width 3"]
    """The frames that the model saw, as they are in the video."""
    times: tuple[float, ...]
    """About when they are, in seconds of the video: the middles of equal parts of the segment."""
    similarity: tuple[float, ...]
    """Of the query with each frame alone, as a picture."""
    frame_weights: tuple[float, ...] | None
    """How much more (above 1) or less the query makes of each frame in matching; None where the model does not pool by
    the text."""
    patch_weights: Float[Tensor, "rows columns"] | None
    """The same of each place in the frames."""

    def to_json(self) -> dict[str, Any]:
        """What JSON holds, without the pictures."""
        weights = self.patch_weights
        return {
            "query": self.query,
            "hit": self.hit.to_json(),
            "times": self.times,
            "similarity": self.similarity,
            "frame_weights": self.frame_weights,
            "patch_weights": None if weights is None else weights.tolist(),
        }


@torch.inference_mode()
def explain(
    model: RetrievalModel,
    clip: Float[Tensor, "time 3 side side"],
    frames: UInt8[np.ndarray, "time height width 3"],
    query: str,
    hit: Hit,
) -> Explanation:
    """What a query makes of a clip.

    Args:
        model: in eval mode.
        clip: as the model takes it.
        frames: the same as pictures.
        query: the text.
        hit: what the clip is of.
    """
    text = model.encode_text([query])
    alone = model.similarity(text, model.encode_video(clip))[0]
    of_frames, of_patches = None, None
    if isinstance(model, VideoTextRetrieval) and model.pooling.mode == "text":
        frame_weights, patch_weights = model.pooling_weights(text, model.encode_video(clip[None]))
        of_frames, of_patches = tuple(frame_weights[0].tolist()), _grid(patch_weights[0].float().cpu())
    part = (hit.end - hit.start) / len(frames)
    times = tuple(hit.start + (place + 0.5) * part for place in range(len(frames)))
    return Explanation(query, hit, frames, times, tuple(alone.tolist()), of_frames, of_patches)


def _grid(weights: Float[Tensor, " patches"]) -> Float[Tensor, "rows columns"]:
    side = round(len(weights) ** 0.5)
    return weights.view(side, side)
