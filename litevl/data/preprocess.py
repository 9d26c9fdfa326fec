"""BLIP's evaluation preprocessing: frames straight to a square, then its mean and deviation."""

import hashlib
import json
from dataclasses import asdict, dataclass

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from litevl.data.resizing import square_frames


@dataclass(frozen=True)
class PreprocessConfig:
    """How a frame becomes the vision encoder's input.

    The defaults are BLIP's (those of CLIP). A mirrored copy, common for images, is not offered as an augmentation:
    it makes "left" and "right" in a caption wrong, and with them the direction of every movement.
    """

    image_size: int = 384
    """Side of the square input in pixels."""
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    """Mean of red, green and blue, of values in [0, 1]."""
    std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)
    """Standard deviation of red, green and blue."""

    def __post_init__(self) -> None:
        if self.image_size < 1:
            raise ValueError(f"expected image_size of at least 1 pixel, got {self.image_size}")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ValueError(f"expected three means and three positive deviations, got {self.mean} and {self.std}")

    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that stand for these settings and for the method (bicubic, to a square)."""
        record = {"method": "pillow-bicubic-square", **asdict(self)}
        return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:12]


def resize_frames(
    frames: UInt8[np.ndarray, "time height width 3"] | UInt8[Tensor, "time height width 3"], size: int
) -> UInt8[Tensor, "time 3 size size"]:
    """Resize frames to `size` x `size`, bicubic with antialiasing, not keeping the aspect ratio.

    This is `Resize((size, size), bicubic)` of BLIP's image transform, bit for bit: Pillow does both. (torch's uint8
    kernel is ten times faster, 3 against 27 ms for eight frames of 320 x 240 to 384, but up to two grey levels off.)
    BLIP's own video loader left the resizing to decord, whose filter is another one.

    Raises:
        ValueError: no frames, or a size below 1.
    """
    return torch.from_numpy(square_frames(frames.numpy() if isinstance(frames, Tensor) else frames, size))


def normalize(
    frames: UInt8[Tensor, "*batch 3 height width"], config: PreprocessConfig | None = None
) -> Float32[Tensor, "*batch 3 height width"]:
    """Turn pixels in 0..255 into the encoder's input, on whatever device they are.

    Done after the transfer to the device: bytes are a quarter of the traffic.

    Args:
        frames: RGB pixels.
        config: whose mean and deviation; BLIP's by default.
    """
    config = config or PreprocessConfig()
    mean = torch.tensor(config.mean, device=frames.device).view(3, 1, 1)
    std = torch.tensor(config.std, device=frames.device).view(3, 1, 1)
    return (frames.float() / 255 - mean) / std
