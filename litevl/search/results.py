"""What a search found, and how it is shown: times as people write them, a table for 80 columns, JSON with all of it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from .why import Explanation


@dataclass(frozen=True)
class Hit:
    """A segment that was found."""

    path: Path
    start: float
    """Seconds after the video's first frame."""
    end: float
    score: float
    """What hits are ordered by: similarity, plus the matching logit where it was re-ranked."""
    similarity: float
    """Cosine of the embeddings of the query and the segment."""
    match: float | None
    """The probability that query and segment match; None where it was not re-ranked."""
    number: int
    """Of the segment in its video, from 0."""
    id: int
    """Of the segment in the index."""

    def to_json(self) -> dict[str, Any]:
        """What JSON holds."""
        return {**self.__dict__, "path": str(self.path)}


def clock(seconds: float, digits: int = 0) -> str:
    """A time as people write it: 7 is 0:07, 5400 is 1:30:00."""
    unit = 10**digits
    ticks = round(seconds * unit)
    minutes, rest = divmod(ticks, 60 * unit)
    hours, minutes = divmod(minutes, 60)
    shown = f"{rest / unit:0{3 + digits if digits else 2}.{digits}f}"
    return f"{hours}:{minutes:02}:{shown}" if hours else f"{minutes}:{shown}"


def times(start: float, end: float, between: str = " to ") -> str:
    """A stretch of time as people write it: of less than five seconds with their tenths."""
    digits = 1 if end - start < 5 else 0
    return f"{clock(start, digits)}{between}{clock(end, digits)}"


def seconds_of(time: str) -> float:
    """Seconds of a time as people write it: 90, 1:30, 1:02:03.5.

    Raises:
        ValueError: it is none.
    """
    try:
        parts = [float(part) for part in time.split(":")]
        bad = not 1 <= len(parts) <= 3 or not all(0 <= part < float("inf") for part in parts)
        bad = bad or any(part >= 60 for part in parts[1:])
    except ValueError:
        bad = True
    if bad:
        raise ValueError(f"expected a time within the video, as 90, 1:30 or 1:02:03, got {time!r}")
    return sum(part * 60**power for power, part in enumerate(reversed(parts)))


def hits_table(query: str, hits: Sequence[Hit]) -> Group:
    """Hits as a table, files named from the folder that they share."""
    table = Table(box=box.SIMPLE, show_edge=False, pad_edge=False)
    table.add_column("", justify="right")
    for name in ("score", "match", "similar"):
        table.add_column(name, justify="right")
    table.add_column("time", no_wrap=True)
    table.add_column("file", overflow="fold")
    shared = shared_folder([hit.path for hit in hits])
    for place, hit in enumerate(hits, 1):
        match = "" if hit.match is None else f"{100 * hit.match:.0f}%"
        time = times(hit.start, hit.end, "-")
        name = os.path.relpath(hit.path, shared)
        table.add_row(str(place), f"{hit.score:.3f}", match, f"{hit.similarity:.3f}", time, name)
    # Beside the table, whose own title and caption are no wider than it is.
    return Group(Text(f"“{query}”"), table, Text(f"files in {shared}" if hits else "nothing found"))


def why_table(explanation: "Explanation") -> Group:
    """What a query makes of each frame of a segment, as a table."""
    table = Table(box=box.SIMPLE, show_edge=False, pad_edge=False)
    for name in ("time", "similar", *([] if explanation.frame_weights is None else ["weight"])):
        table.add_column(name, justify="right")
    weights = explanation.frame_weights or [None] * len(explanation.times)
    for time, similar, weight in zip(explanation.times, explanation.similarity, weights, strict=True):
        table.add_row(clock(time, 1), f"{similar:.3f}", *([] if weight is None else [f"{weight:.2f}"]))
    return Group(Text(f"why {explanation.hit.path.name}, frame by frame"), table)


def shared_folder(paths: Sequence[Path]) -> Path:
    """The deepest folder that holds all files."""
    return Path(os.path.commonpath([path.parent for path in paths])) if paths else Path.cwd()
