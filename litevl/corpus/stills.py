"""Still pictures with captions: what the small BLIP is pre-trained on.

No clip and no frame of one is used. Words for time are drawn as people draw them in a still: an arrow beside a
thing that moves, a small and a big copy joined by an arrow for growth, a flow diagram for "first ... and then ...",
rays around a thing that flashes. Clips never contain an arrow, so what an arrow says in a picture, an adapter has to
learn to read from the order of frames.
"""

import random
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import UInt8

from litevl.corpus.captions import captions
from litevl.corpus.drawing import Ground, Mark, draw
from litevl.corpus.layout import around, distractors, mark, place_free, static_marks
from litevl.corpus.meaning import (
    CATEGORIES,
    CLUTTER,
    STATIC_KINDS,
    Meaning,
    Thing,
    every_thing,
    held_out,
    near_duplicate,
    sample_meaning,
)

_STEPS = {"right": (1, 0), "left": (-1, 0), "up": (0, -1), "down": (0, 1)}
EVERY_KIND = tuple(kind for kinds in CATEGORIES for kind in kinds)


@dataclass(frozen=True)
class Still:
    """A picture, its caption, and the meaning both come from."""

    picture: UInt8[np.ndarray, "side side 3"]
    caption: str
    meaning: Meaning


def still_pairs(
    rng: random.Random, count: int, test: bool = False, kinds: tuple[str, ...] = EVERY_KIND, clutter: float = CLUTTER
) -> list[tuple[Still, Still]]:
    """Draw pairs of near-duplicate stills: the second differs from the first in one detail.

    Both captions of a pair use the same template where possible, so that only the picture tells them apart.

    Args:
        rng: source of all choices; the same state gives the same pairs.
        count: number of pairs.
        test: take the held-out pairs of things (`meaning.held_out`) instead of the others.
        kinds: what the pictures are about.
        clutter: share of pictures with a distractor, and with another background than plain gray.
    """
    pairs: list[tuple[Still, Still]] = []
    while len(pairs) < count:
        first, second = rng.sample(every_thing(), 2)
        kind = rng.choice(kinds)
        if held_out(first, second) != test:
            continue
        one = sample_meaning(kind, first, second, rng, clutter)
        other = near_duplicate(one, rng) if rng.random() < 0.75 else _with_another_thing(one, rng)
        wording = rng.random()
        pairs.append((_still(one, wording, rng), _still(other, wording, rng)))
    return pairs


def _with_another_thing(meaning: Meaning, rng: random.Random) -> Meaning:
    """Change the colour or the shape of the first thing."""
    others = [
        t
        for t in every_thing()
        if (t.colour == meaning.first.colour) != (t.shape == meaning.first.shape)
        and t.key() != meaning.second.key()
        and not (meaning.kind == "turn" and (t == meaning.third or t.shape != meaning.first.shape))
        and held_out(t, meaning.second) == held_out(meaning.first, meaning.second)
    ]
    if not others:
        return near_duplicate(meaning, rng)
    other = rng.choice(others)
    return replace(meaning, first=replace(meaning.first, colour=other.colour, shape=other.shape))


def _still(meaning: Meaning, wording: float, rng: random.Random) -> Still:
    ground = Ground(*meaning.ground, shift=rng.randrange(24))
    picture = draw(ground, tuple(still_marks(meaning, rng)))
    return Still(picture, captions(meaning, random.Random(wording), 1)[0], meaning)


def still_marks(meaning: Meaning, rng: random.Random) -> list[Mark]:
    """Lay out a still picture of any meaning."""
    if meaning.kind in STATIC_KINDS:
        return static_marks(meaning, rng)
    if meaning.kind.startswith("move"):
        marks = _with_arrow(meaning, rng)
    elif meaning.kind in ("grow", "shrink"):
        sizes = (8.0, 18.0) if meaning.kind == "grow" else (18.0, 8.0)
        marks = _flow((meaning.first, meaning.first), rng, radii=sizes)
        marks += place_free([meaning.second], marks, rng)
    elif meaning.kind == "turn" and meaning.third is not None:
        marks = _flow((meaning.first, meaning.third), rng)
        marks += place_free([meaning.second], marks, rng)
    elif meaning.kind == "before":
        marks = _flow((meaning.first, meaning.second), rng)
    else:
        marks = _event(meaning, rng)
    return marks + distractors(meaning, marks, rng)


def _arrow(direction: str, x: float | int, y: float | int, rng: random.Random, radius: float = 11.0) -> Mark:
    return Mark(f"arrow {direction}", rng.choice(("white", "black")), x, y, radius)


def _arrowed(thing: Thing, direction: str, x: float | int, y: float | int, rng: random.Random) -> list[Mark]:
    """Put an arrow ahead of a thing, pointing where it moves."""
    dx, dy = _STEPS[direction]
    return [mark(thing, x, y), _arrow(direction, x + 26 * dx, y + 26 * dy, rng)]


def _with_arrow(meaning: Meaning, rng: random.Random) -> list[Mark]:
    direction = meaning.kind.split()[1]
    if direction in ("right", "left"):
        top = meaning.relation == "above"
        mover = _arrowed(meaning.first, direction, around(rng, 48, 16), around(rng, 27 if top else 69, 7), rng)
        return [*mover, mark(meaning.second, around(rng, 48, 28), around(rng, 69 if top else 27, 7))]
    side = rng.random() < 0.5
    mover = _arrowed(meaning.first, direction, around(rng, 27 if side else 69, 7), around(rng, 48, 16), rng)
    return [*mover, mark(meaning.second, around(rng, 69 if side else 27, 7), around(rng, 48, 28))]


def _flow(things: tuple[Thing, Thing], rng: random.Random, radii: tuple[float, float] = (13.0, 13.0)) -> list[Mark]:
    """Draw a flow diagram in reading order: thing, arrow to the right, thing."""
    line, shift = around(rng, 48, 28), around(rng, 0, 5)
    first, second = (mark(t, x + shift, line, r) for t, x, r in zip(things, (20, 76), radii, strict=True))
    return [first, _arrow("right", 48 + shift + (radii[0] - radii[1]) / 2, line, rng), second]


def _event(meaning: Meaning, rng: random.Random) -> list[Mark]:
    room = replace(meaning.first, size="big")
    (spot,) = place_free([room], [], rng)
    actor = mark(meaning.first, min(max(spot.x, 24), 72), min(max(spot.y, 24), 72))
    event = Mark(meaning.kind, "white", actor.x, actor.y, actor.radius)
    taken = [replace(actor, radius=24.0)]
    (other,) = place_free([meaning.second], taken, rng)
    if not meaning.moving:
        return [actor, event, other]
    direction = rng.choice(tuple(_STEPS))
    dx, dy = _STEPS[direction]
    x, y = other.x + 26 * dx, other.y + 26 * dy
    if not (7 <= x <= 89 and 7 <= y <= 89):
        direction = {"right": "left", "left": "right", "up": "down", "down": "up"}[direction]
        x, y = other.x - 26 * dx, other.y - 26 * dy
    return [actor, event, other, _arrow(direction, x, y, rng)]
