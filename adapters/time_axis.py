"""The time axis of a clip: where its frames lie, and values per frame at another number of frames than trained with."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def resample_frames(values: Float[Tensor, "trained dim"], num_frames: int) -> Float[Tensor, "time dim"]:
    """Interpolates one row per trained frame to one row per frame, linearly.

    Frames are the mid-points of equal segments of a clip, so rows are aligned by segment, not by first and last frame.
    The rows come back untouched where the number of frames is the trained one.
    """
    if values.shape[0] == num_frames:
        return values
    return F.interpolate(values.T[None], size=num_frames, mode="linear", align_corners=False)[0].T


def time_code(num_frames: int, dim: int, like: Tensor) -> Float[Tensor, "time dim"]:
    """A fixed code of each frame's place in its clip: sines, then cosines, of six octaves from a quarter cycle a clip.

    The place is the mid-point of the frame's segment, from 0 to 1, so any number of frames reads the same code. The
    octaves repeat over the width, so every head sees all of them.
    """
    place = (torch.arange(num_frames, device=like.device, dtype=torch.float32) + 0.5) / num_frames
    octave = torch.arange(dim - dim // 2, device=like.device) % 6
    angle = place[:, None] * (0.5 * math.pi * 2.0**octave)
    return torch.cat([angle.sin(), angle.cos()[:, : dim // 2]], dim=1).to(like.dtype)


def add_time_code(
    normed: Float[Tensor, "batch time rows dim"], norm_weight: Float[Tensor, " dim"]
) -> Float[Tensor, "batch time rows dim"]:
    """Adds each frame's code to its rows, as large as the features it joins, whatever scale the backbone's norm has."""
    size = norm_weight.detach().abs().mean()
    return normed + size * time_code(normed.shape[1], normed.shape[-1], normed)[:, None]
