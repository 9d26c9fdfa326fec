"""Where things stand: positions for the static kinds, and free room for distractors.

Coordinates are pixels of the 96 x 96 picture, x to the right, y downwards. Radii: a normal thing 14, a big one 19,
a small one 9.
"""

import random

from litevl.corpus.drawing import SIDE, Mark
from litevl.corpus.meaning import Meaning, Thing

RADIUS = {"": 14.0, "big": 19.0, "small": 9.0}
_MARGIN = 15.0
_GAP = 3.0


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
    if meaning.third is None or meaning.kind == "turn":
        return []
    return place_free([meaning.third], taken, rng)


def static_marks(meaning: Meaning, rng: random.Random) -> list[Mark]:
    """Lay out a static kind, with its distractor.

    Raises:
        ValueError: for a kind that is not static.
    """
    a, b = meaning.first, meaning.second
    line = around(rng, 48, 24)
    if meaning.kind == "left":
        marks = [mark(a, around(rng, 25, 7), around(rng, line, 8)), mark(b, around(rng, 71, 7), around(rng, line, 8))]
    elif meaning.kind == "above":
        marks = [mark(a, around(rng, line, 8), around(rng, 25, 7)), mark(b, around(rng, line, 8), around(rng, 71, 7))]
    elif meaning.kind == "size":
        marks = place_free([a, b], [], rng)
    else:
        raise ValueError(f"expected a static kind, got {meaning.kind!r}")
    return marks + distractors(meaning, marks, rng)
