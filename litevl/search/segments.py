"""The segments that a video is searched by: fixed windows, shots, or the whole."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float64

from .options import Cut


@dataclass(frozen=True)
class SegmentConfig:
    """How a video is cut into segments.

    Raises:
        ValueError: lengths that leave nothing.
    """

    cut: Cut = "windows"
    """`windows` of equal length; `shots`, cut where the picture changes at once; or the `whole` video as one
    segment."""
    seconds: float = 10.0
    """About how long a window is: the video is divided evenly, so that no short rest is left. Of shots the longest."""
    shortest: float = 1.0
    """Shots are at least so many seconds long; what is shorter belongs to the shot before it."""
    threshold: float = 0.4
    """A shot begins where so large a share of the picture's colours changes from one look to the next, four a
    second."""

    def __post_init__(self) -> None:
        # Here, since a process that only decodes must not wait for torch.
        from litevl.adapters.choices import check_choices

        check_choices(self)
        if not 0 < self.seconds < float("inf"):
            raise ValueError(f"seconds: expected a positive length, got {self.seconds}")
        if self.cut == "shots" and not 0 <= self.shortest <= self.seconds:
            raise ValueError(f"shortest: expected 0 to {self.seconds:g}, the longest, got {self.shortest}")
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold: expected a share above 0 and up to 1, got {self.threshold}")


@dataclass(frozen=True)
class Segment:
    """A part of a video, in seconds after its first frame; its frames are those from `start` to before `end`."""

    start: float
    end: float


def duration_of(timestamps: Float64[np.ndarray, " frames"]) -> float:
    """Seconds that a video lasts: its last frame is shown as long as the others are on average."""
    last = float(timestamps[-1])
    return last + (last / (len(timestamps) - 1) if last > 0 else 0.04)


def windows(start: float, end: float, seconds: float) -> list[Segment]:
    """The stretch from `start` to `end` divided into equal windows of about `seconds`."""
    number = max(1, round((end - start) / seconds))
    edges = np.linspace(start, end, number + 1).tolist()
    return [Segment(*edges[place : place + 2]) for place in range(number)]


def divided(cuts: list[float], duration: float, config: SegmentConfig) -> list[Segment]:
    """Shots from the times at which they begin, none shorter or longer than asked for.

    Args:
        cuts: ascending, between 0 and the duration.
        duration: of the video.
        config: the shortest and the longest.
    """
    edges = [0.0]
    for cut in cuts:
        if cut - edges[-1] >= config.shortest:
            edges.append(cut)
    if len(edges) > 1 and duration - edges[-1] < config.shortest:
        edges.pop()
    edges.append(duration)
    return [part for start, end in pairwise(edges) for part in windows(start, end, min(config.seconds, end - start))]
