"""Paragraphs: what happens in a clip and what is in view, in two or three sentences, each with its time.

The first sentence is one of the templates that captions are made of, over the time of what happens; those after it
name what is in view before and after, or meanwhile:

    a red star rises next to a blue cross (0.27 to 1.73 s). a blue cross and a red star (0 to 2 s).
    a red star grows next to a blue cross (0.2 to 1.8 s). a small red star (0 to 0.2 s). a big red star (1.8 to 2 s).

The sentence of what happens comes first because the small BLIP's text encoder has read captions of one sentence only,
and follows the one that a text begins with. By its embeddings a paragraph in this order is nearest to the caption of
its own clip for 88 to 89 of 100 test clips, and nearer to it than to that of the reversed clip for all; with what is in
view told before, for 36 and for 66.
"""

import random
from dataclasses import dataclass, replace

from litevl.corpus.captions import TEMPLATES, captions
from litevl.corpus.clips import NUM_FRAMES, Frames
from litevl.corpus.drawing import Mark
from litevl.corpus.meaning import EVENT_KINDS, STATIC_KINDS, Meaning, Thing
from litevl.corpus.video_file import FRAMES_PER_SECOND

VIEWS = tuple(template for template in TEMPLATES["size"] if "next to" not in template)
"""Wordings of two things in view that are true wherever they stand."""


@dataclass(frozen=True)
class Sentence:
    """What a clip shows from one moment to another."""

    text: str
    """A sentence, with its full stop."""
    start: float
    """Seconds."""
    end: float
    """Seconds; after `start`, at most the clip's length."""


def paragraph(meaning: Meaning, frames: Frames, rng: random.Random) -> tuple[Sentence, ...]:
    """Tell a clip in two or three sentences.

    Args:
        meaning: what the clip shows.
        frames: its frames as they are shown; the times are read off them.
        rng: chooses among the wordings.
    """
    (said,) = captions(meaning, rng, 1)
    # Both together are what the first sentence of "size" says already.
    views = ("{a}", "{b}") if meaning.kind == "size" else VIEWS
    view = rng.choice(views).format(a=meaning.first.phrase(), b=meaning.second.phrase())
    kind, whole = meaning.kind, (0, NUM_FRAMES)
    if kind in EVENT_KINDS:
        shown = _seen(frames, kind)
        told = [(said, (min(shown), max(shown) + 1)), (view, whole)]
    elif kind in STATIC_KINDS:
        told = [(said, whole), (view, whole)]
    elif kind in ("before", "turn"):
        other = meaning.third if kind == "turn" and meaning.third else meaning.second
        one, two = (_seen(frames, thing.shape, thing.colour) for thing in (meaning.first, other))
        told = [(said, whole), (meaning.first.phrase(), _span(one)), (other.phrase(), _span(two))]
    else:
        marks = list(_seen(frames, meaning.first.shape, meaning.first.colour).values())
        changes = [i for i in range(1, NUM_FRAMES) if marks[i] != marks[i - 1]]
        start, stop = changes[0], changes[-1]
        told = [(said, (start, stop)), (view, whole)]
        if kind in ("grow", "shrink"):
            before, after = _sized(meaning.first, kind)
            told = [told[0], (before, (0, start)), (after, (stop, NUM_FRAMES))]
    return tuple(Sentence(f"{text}.", *map(_seconds, time)) for text, time in told)


def _seen(frames: Frames, shape: str, colour: str | None = None) -> dict[int, Mark]:
    """The frames in which something is drawn, with its mark."""
    return {
        number: mark
        for number, frame in enumerate(frames)
        for mark in frame
        if mark.shape == shape and colour in (None, mark.colour)
    }


def _span(seen: dict[int, Mark]) -> tuple[int, int]:
    return min(seen), max(seen) + 1


def _sized(thing: Thing, kind: str) -> tuple[str, str]:
    sizes = ("small", "big") if kind == "grow" else ("big", "small")
    before, after = (replace(thing, size=size).phrase() for size in sizes)
    return before, after


def _seconds(frame: int) -> float:
    return round(frame / FRAMES_PER_SECOND, 2)
