"""Which frames of a video a model sees."""

from typing import Literal, get_args

import numpy as np
from jaxtyping import Int64

Sampling = Literal["midpoint", "random", "legacy_blip"]


def frame_indices(
    total: int,
    num_frames: int,
    mode: Sampling = "midpoint",
    rng: np.random.Generator | None = None,
) -> Int64[np.ndarray, " num_frames"]:
    """Choose `num_frames` of `total` frames, in the order of time.

    The video is cut into `num_frames` segments of equal length (a real number of frames).

    - `midpoint`: the middle frame of each segment. Deterministic; for evaluation.
    - `random`: one frame drawn uniformly inside each segment. For training; needs `rng`.
    - `legacy_blip`: what BLIP's own video loader does, `np.arange(0, total, total / num_frames, dtype=int)`,
      only for reproducing its numbers. The integer dtype truncates the step, so the end of the video is
      not seen (frames 0..7 of 15 for eight frames) and a video shorter than `num_frames` becomes copies
      of frame 0.

    A video with fewer frames than asked for gives every mode's result with repeats: always exactly
    `num_frames` indices, sorted, each in `[0, total)`.

    Args:
        total: frames in the video (or in the part of it that is asked for), at least 1.
        num_frames: frames wanted, at least 1.
        mode: one of the three above.
        rng: source of randomness for `random`; there is no hidden global one.

    Raises:
        ValueError: a count below 1, an unknown mode, or `random` without `rng`.
    """
    if total < 1:
        raise ValueError(f"expected a video with at least one frame, got total={total}")
    if num_frames < 1:
        raise ValueError(f"expected num_frames of at least 1, got {num_frames}")
    segments = np.arange(num_frames, dtype=np.int64)
    if mode == "midpoint":
        return (2 * segments + 1) * total // (2 * num_frames)
    if mode == "random":
        if rng is None:
            raise ValueError("sampling 'random' needs rng, a numpy Generator; got None")
        places = (segments + rng.random(num_frames)) * (total / num_frames)
        return np.minimum(places.astype(np.int64), total - 1)
    if mode == "legacy_blip":
        # A step that rounds down can make arange one element too long; BLIP then had T + 1 frames.
        return np.arange(0, total, total / num_frames, dtype=int)[:num_frames].astype(np.int64)
    raise ValueError(f"expected a sampling mode out of {', '.join(get_args(Sampling))}; got {mode!r}")


def candidate_places(
    num_frames: int, per_segment: int, rng: np.random.Generator | None = None
) -> Int64[np.ndarray, " num_frames"]:
    """Which of a video's candidates a clip takes, where only so many frames of it are at hand.

    The candidates are the mid-points of `num_frames * per_segment` equal segments. With `rng` a clip takes those whose
    parts of the video hold the frames that `random` would draw from the same `rng`; without it the middle one of each
    segment, which is the frame of `midpoint`.

    Args:
        num_frames: segments, one frame of each.
        per_segment: candidates of each; odd, so that there is a middle one.
        rng: source of randomness for training.

    Raises:
        ValueError: a number of candidates that is not odd.
    """
    check_per_segment(per_segment)
    places = np.full(num_frames, 0.5) if rng is None else rng.random(num_frames)
    return np.arange(num_frames) * per_segment + (places * per_segment).astype(np.int64)


def check_per_segment(per_segment: int | None) -> None:
    """Checks a number of candidates per segment.

    Raises:
        ValueError: it is not odd.
    """
    if per_segment is not None and (per_segment < 1 or per_segment % 2 == 0):
        raise ValueError(
            f"frames_per_segment: expected an odd number (1, 3, 5, ...), so that the middle frame, which evaluation "
            f"takes, is among them; got {per_segment}"
        )
