"""One clip of one file, as a model takes it."""

import os
from typing import Any

from jaxtyping import Float32
from torch import Tensor

from litevl.data.preprocess import normalize, resize_frames
from litevl.data.sampling import Sampling
from litevl.data.video import Decoder, read_frames


def load_clip(
    path: str | os.PathLike[str],
    model: Any = None,
    *,
    num_frames: int | None = None,
    image_size: int | None = None,
    start: float | None = None,
    end: float | None = None,
    sampling: Sampling = "midpoint",
    decoder: Decoder = "auto",
) -> Float32[Tensor, "time 3 size size"]:
    """Frames of a video file, resized and normalised as BLIP was trained; `load_clip(...)[None]` is a batch of one.

    Args:
        path: the file.
        model: a plugged BLIP, a task model around one, or an E-ViLM, which says how many frames and how large.
        num_frames: how many, where the model does not say.
        image_size: side in pixels, where the model does not say.
        start: seconds into the file at which the clip begins.
        end: seconds into the file before which it ends.
        sampling: see `read_frames`; by default the middle of equal segments, as in evaluation.
        decoder: see `read_frames`.

    Raises:
        ValueError: neither a plugged model nor num_frames and image_size.
        VideoError: the file can't be read.
    """
    blip = getattr(model, "blip", model)
    if hasattr(model, "num_frames"):
        num_frames, image_size = num_frames or model.num_frames, image_size or model.image_size
    elif blip is not None:
        from litevl.adapters import plugged_state

        state = plugged_state(blip)
        num_frames = num_frames or (state.config.num_frames if state is not None and state.config else None)
        image_size = image_size or blip.config.vision_config.image_size
    if num_frames is None or image_size is None:
        raise ValueError("expected a plugged model, or num_frames and image_size, to know what to read; got neither")
    frames = read_frames(path, num_frames, sampling, decoder, start=start, end=end)
    return normalize(resize_frames(frames, image_size))
