"""Where the shots of a video begin: at once its colours are others.

PySceneDetect, the usual library, needs OpenCV (60 to 90 MB, decoders of its own) to compare pictures that are decoded
here already. A hard cut, which is nearly all that divides people's own videos, is seen as well by the histogram of
colours, the measure that detectors have started from since Zhang et al. (1993). Dissolves and fades are not found; such
a shot is divided by its length alone.
"""

import numpy as np
from jaxtyping import Float64, UInt8

from litevl.data.decoders import FrameReader
from litevl.data.fresh_process import beat

from .segments import Segment, SegmentConfig, divided, duration_of

LOOKS_A_SECOND = 4
"""Frames compared in a second: a cut's time is known to a quarter of a second."""
AT_ONCE = 32
"""Frames decoded at a time."""
LEVELS = 4
"""Of each of red, green and blue; 64 colours, few enough that noise and movement change little."""
SPREAD = 3.0
"""A cut stands out so many times from the changes around it, so that flicker and fast movement are no cuts."""


def shots(reader: FrameReader, config: SegmentConfig) -> list[Segment]:
    """The shots of an open video.

    Raises:
        VideoError: a frame can't be decoded.
    """
    times = reader.timestamps
    duration = duration_of(times)
    wanted = np.arange(0, times[-1] + 1e-9, 1 / LOOKS_A_SECOND)
    looked = np.unique(np.searchsorted(times, wanted - 1e-3)).astype(np.int64)
    parts = [looked[place : place + AT_ONCE] for place in range(0, len(looked), AT_ONCE)]
    colours = []
    for part in parts:
        colours += [colours_of(frame) for frame in reader.get(part)]
        beat()
    found = cuts(np.stack(colours), config.threshold)
    return divided(times[looked[found]].tolist(), duration, config)


def colours_of(frame: UInt8[np.ndarray, "height width 3"]) -> Float64[np.ndarray, " colours"]:
    """The share of the picture that each colour has; of at most 128 x 128 of its pixels."""
    height, width = frame.shape[:2]
    few = frame[:: max(1, height // 128), :: max(1, width // 128)].astype(np.int64) * LEVELS // 256
    number = (few[..., 0] * LEVELS + few[..., 1]) * LEVELS + few[..., 2]
    return np.bincount(number.ravel(), minlength=LEVELS**3) / number.size


def cuts(colours: Float64[np.ndarray, "looks colours"], threshold: float) -> list[int]:
    """The looks at which a shot begins: much changed, and much more than around them."""
    changed = np.abs(np.diff(colours, axis=0)).sum(axis=1) / 2
    found = []
    for place in np.flatnonzero(changed > threshold).tolist():
        around = np.delete(changed[max(0, place - 2) : place + 3], min(place, 2))
        if changed[place] >= SPREAD * (float(np.median(around)) if len(around) else 0.0):
            found.append(place + 1)
    return found
