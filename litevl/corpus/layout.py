"""Where things stand: positions for the static kinds, and free room for distractors.

Coordinates are pixels of the 96 x 96 picture, x to the right, y downwards. Radii: a normal thing 11, a big one 16,
a small one 7.
"""

import random
from dataclasses import replace

from litevl.corpus.drawing import SIDE, Mark
from litevl.corpus.meaning import Meaning, Thing

RADIUS = {"": 11.0, "big": 16.0, "small": 7.0}
_MARGIN = 13.0
_GAP = 4.0


def mark(thing: Thing, x: float | int, y: float | int, radius: float | int | None = None) -> Mark:
    """Place a thing; its size word gives the radius unless one is given."""
    return Mark(thing.shape, thing.colour, x, y, RADIUS[thing.size] if radius is None else radius)


def around(rng: random.Random, centre: float | int, spread: float | int) -> float:
    """Draw a coordinate within `spread` of a centre."""
    return centre + rng.uniform(-spread, spread)


def place_free(things: list[Thing], taken: list[Mark], rng: random.Random, radius: float | None = None) -> list[Mark]:
    """Put things where they touch none of the marks already there.

    A thing that finds no room in 200 tries takes the roomiest place tried.

    Args:
        things: what to place, one after the other.
        taken: marks to stay clear of (each keeps its radius free, and `_GAP` around it).
        rng: source of the positions.
        radius: radius for all, instead of the one their size words give.
    """
    marks = list(taken)
    for thing in things:
        best, best_room = None, float("-inf")
        for _ in range(200):
            new = mark(thing, rng.uniform(_MARGIN, SIDE - _MARGIN), rng.uniform(_MARGIN, SIDE - _MARGIN), radius)
            room = min((_room(new, old) for old in marks), default=_GAP)
            if room > best_room:
                best, best_room = new, room
            if room >= _GAP:
                break
        if best is not None:
            marks.append(best)
    return marks[len(taken) :]


def _room(one: Mark, other: Mark) -> float:
    return ((one.x - other.x) ** 2 + (one.y - other.y) ** 2) ** 0.5 - one.radius - other.radius


def distractors(meaning: Meaning, taken: list[Mark], rng: random.Random) -> list[Mark]:
    """Place the third thing where the kind gives it no part to play."""
    if meaning.third is None or meaning.kind in ("row", "sequence", "turn"):
        return []
    return place_free([meaning.third], taken, rng)


def static_marks(meaning: Meaning, rng: random.Random) -> list[Mark]:
    """Lay out a static kind, with its distractor.

    Raises:
        ValueError: for a kind that is not static.
    """
    a, b = meaning.first, meaning.second
    if meaning.kind in ("left", "row"):
        line = around(rng, 48, 22)
        if meaning.kind == "row" and meaning.third is not None:
            row = (a, b, meaning.third)
            return [mark(t, around(rng, x, 3), around(rng, line, 5)) for t, x in zip(row, (17, 48, 79), strict=True)]
        marks = [mark(a, around(rng, 27, 8), around(rng, line, 9)), mark(b, around(rng, 69, 8), around(rng, line, 9))]
    elif meaning.kind == "above":
        line = around(rng, 48, 22)
        marks = [mark(a, around(rng, line, 9), around(rng, 27, 8)), mark(b, around(rng, line, 9), around(rng, 69, 8))]
    elif meaning.kind in ("size", "ground"):
        marks = place_free([a, b], [], rng)
    elif meaning.kind == "count":
        each = [replace(t, number=1) for t in (a, b) for _ in range(t.number)]
        return place_free(each, [], rng, radius=10.0)
    else:
        raise ValueError(f"expected a static kind, got {meaning.kind!r}")
    return marks + distractors(meaning, marks, rng)
