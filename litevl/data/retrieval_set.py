"""What every text-video retrieval data set comes to: its splits, and how a video's captions ask for it."""

import os
from collections.abc import Iterable, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from litevl.data.annotations import LeakError, VideoCaptions

CaptionMode = Literal["one", "many", "paragraph"]
"""How the captions of a test video are queries: `one`, it has but one; `many`, each is a query of its own, and the
video is found if any of its captions finds it; `paragraph`, all of them joined are one query."""


@dataclass(frozen=True)
class RetrievalSet:
    """The videos of each split, and where they come from."""

    dataset: str
    """What the data is called in reports."""
    caption_mode: CaptionMode
    train_split: str | None
    """What the training split is called; None where only the test split was asked for."""
    test_split: str
    train: tuple[VideoCaptions, ...]
    val: tuple[VideoCaptions, ...]
    """Empty where the data set has no validation videos of its own."""
    test: tuple[VideoCaptions, ...]
    schema: str
    """Which form the annotations have, as `clip4clip`; several joined by `+`."""
    files: tuple[Path, ...]
    """The files read."""
    notes: tuple[str, ...]
    """What a reader of results should know: counts that are not the usual ones, and what was passed over."""


REASONS: dict[tuple[CaptionMode, CaptionMode], str] = {
    ("many", "paragraph"): "each of a video's captions says all of it by itself, so that joined they make one far "
    "easier query (MSVD was once reported so, at an R@1 of 72.2 instead of 49.0)",
    ("many", "one"): "a video has several captions, and leaving all but one out makes other numbers than the field's",
    ("paragraph", "many"): "a sentence tells a moment of its video, the paragraph tells the video; the field's numbers "
    "are of paragraphs",
    ("paragraph", "one"): "a sentence tells a moment of its video, the paragraph tells the video; the field's numbers "
    "are of paragraphs",
    ("one", "many"): "its test videos have one caption each",
    ("one", "paragraph"): "its test videos have one caption each",
}


def refuse_other_mode(dataset: str, has: CaptionMode, asked: CaptionMode | None) -> None:
    """Allow a data set to be evaluated in its own caption mode only.

    Raises:
        ValueError: another one is asked for; it says why that would not do.
    """
    if asked is not None and asked != has:
        raise ValueError(
            f"expected caption_mode {has!r}, which belongs to {dataset}, got {asked!r}: {REASONS[has, asked]}; "
            "leave caption_mode out"
        )


def overlap_notes(root: str | os.PathLike[str], train: Set[str], val: Set[str], test: Set[str]) -> list[str]:
    """Refuse videos that are both trained and evaluated on; note those of the test split that select the model.

    Raises:
        LeakError: a video of the training split is in another one.
    """
    for name, other in (("test", test), ("val", val)):
        if shared := sorted(train & other):
            reason = f"{len(shared)} videos are both in train and {name}; use splits that share none"
            raise LeakError(root, ("train", name), shared, reason)
    if both := val & test:
        return [f"{len(both)} of {len(val)} validation videos are test videos: selecting on them is on test"]
    return []


def counts(videos: Iterable[VideoCaptions]) -> tuple[int, int]:
    """Videos and captions."""
    each = [len(video.captions) for video in videos]
    return len(each), sum(each)
