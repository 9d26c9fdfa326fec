"""Parameters with a value per frame, used at another number of frames than they were trained with."""

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
