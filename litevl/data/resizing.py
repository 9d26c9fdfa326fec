"""Frames made square as BLIP's evaluation has them, in Pillow: whoever decodes needs no torch for it."""

import numpy as np
from jaxtyping import UInt8
from PIL import Image


def square_frames(frames: UInt8[np.ndarray, "time height width 3"], size: int) -> UInt8[np.ndarray, "time 3 size size"]:
    """See `litevl.data.preprocess.resize_frames`.

    Raises:
        ValueError: no frames, or a size below 1.
    """
    if size < 1 or 0 in frames.shape:
        raise ValueError(f"expected frames with pixels and a size of at least 1, got {tuple(frames.shape)} and {size}")
    if frames.shape[1:3] != (size, size):
        pictures = (Image.fromarray(frame).resize((size, size), Image.Resampling.BICUBIC) for frame in frames)
        frames = np.stack([np.asarray(picture) for picture in pictures])
    return np.ascontiguousarray(frames.transpose(0, 3, 1, 2))
