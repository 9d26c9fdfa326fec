"""What a clip or a picture of the embedded corpus shows, before it is drawn or put into words.

The small world has things (a colour and a shape) and *kinds* of meaning that say what two or three things do.
Drawing (`stills`, `clips`) and wording (`captions`) both start from the same `Meaning`, so that a caption is true
of its clip by construction, and a reversed clip's caption follows from `reverse`.
"""

import random
from dataclasses import dataclass, replace

COLOURS = ("red", "yellow", "green", "blue", "purple", "white")
SHAPES = ("circle", "square", "triangle", "star", "cross")
GROUND_COLOURS = ("gray", "brown")
GROUND_PATTERNS = ("plain", "striped")

STATIC_KINDS = ("left", "above", "size")
MOTION_KINDS = ("move right", "move left", "move up", "move down", "grow", "shrink")
APPEARANCE_KINDS = ("before", "turn")
EVENT_KINDS = ("flash", "frame")
CLUTTER = 0.4
"""How often a clip has a third thing of which no caption speaks, and how often its background is not plain gray."""
CATEGORIES = (STATIC_KINDS, MOTION_KINDS, APPEARANCE_KINDS, EVENT_KINDS)
"""Kinds by the `category` number of the annotation file: static, motion order, appearance order, event."""

_OPPOSITE = {
    "move right": "move left",
    "move left": "move right",
    "move up": "move down",
    "move down": "move up",
    "grow": "shrink",
    "shrink": "grow",
}


@dataclass(frozen=True)
class Thing:
    """A coloured shape."""

    colour: str
    shape: str
    size: str = ""
    """"big", "small", or nothing where the size is not spoken of."""

    def phrase(self) -> str:
        """Name the thing with its article: "a big red square"."""
        return " ".join(word for word in ("a", self.size, self.colour, self.shape) if word)

    def key(self) -> int:
        """Number the pair of colour and shape, 0 to 29."""
        return COLOURS.index(self.colour) * len(SHAPES) + SHAPES.index(self.shape)


@dataclass(frozen=True)
class Meaning:
    """One statement about two things, a third one where the kind needs it, and what else is in view."""

    kind: str
    first: Thing
    second: Thing
    third: Thing | None = None
    """What the first thing turns into; for every other kind a distractor, never spoken of."""
    ground: tuple[str, str] = ("plain", "gray")
    """Pattern and colour of the background."""
    relation: str = "next to"
    """Where the moving thing is, relative to `second`: "above", "below" or "next to"."""
    moving: bool = False
    """For events: `second` moves meanwhile."""

    def category(self) -> int:
        """Give the annotation file's category: 0 static, 1 motion order, 2 appearance order, 3 event."""
        return next(number for number, kinds in enumerate(CATEGORIES) if self.kind in kinds)


def every_thing() -> list[Thing]:
    """List all pairs of colour and shape."""
    return [Thing(colour, shape) for colour in COLOURS for shape in SHAPES]


def held_out(first: Thing, second: Thing) -> bool:
    """Tell whether this pair of things is kept for testing: one pair in nine, in either order.

    Test clips show only such pairs, and neither the still pictures of the pre-training nor the training clips
    state anything about the two, so a test is on new combinations of known things.
    """
    return (first.key() + second.key()) % 9 == 0


def reverse(meaning: Meaning) -> Meaning:
    """Say what the same frames mean when they are shown in reversed order.

    Raises:
        ValueError: for a kind whose meaning does not depend on the order of frames.
    """
    if meaning.kind in _OPPOSITE:
        return replace(meaning, kind=_OPPOSITE[meaning.kind])
    if meaning.kind == "before":
        return replace(meaning, first=meaning.second, second=meaning.first)
    if meaning.kind == "turn" and meaning.third is not None:
        return replace(meaning, first=meaning.third, third=meaning.first)
    raise ValueError(f"expected a kind that depends on the order of frames, got {meaning.kind!r}")


def near_duplicate(meaning: Meaning, rng: random.Random) -> Meaning:
    """Change one detail that only a careful reader notices: who is where, which is big, which of them flashes."""
    if meaning.kind == "size":
        return replace(
            meaning,
            first=replace(meaning.first, size=meaning.second.size),
            second=replace(meaning.second, size=meaning.first.size),
        )
    if meaning.kind in EVENT_KINDS and rng.random() < 0.4:
        return replace(meaning, kind="frame" if meaning.kind == "flash" else "flash")
    if meaning.category() in (0, 3):
        return replace(meaning, first=meaning.second, second=meaning.first)
    return reverse(meaning)


def sample_meaning(kind: str, first: Thing, second: Thing, rng: random.Random, clutter: float = CLUTTER) -> Meaning:
    """Make a statement of one kind about two given things; everything else is drawn at random.

    Args:
        kind: one of the kinds of `CATEGORIES`.
        first: the thing that acts, or stands first.
        second: the other one.
        rng: source of the remaining choices.
        clutter: how often there is a distractor, and how often the background is not plain gray.

    Raises:
        ValueError: for an unknown kind, or two things that the kind cannot tell apart.
    """
    if all(kind not in kinds for kinds in CATEGORIES):
        raise ValueError(f"expected a kind of CATEGORIES, got {kind!r}")
    if first.key() == second.key():
        raise ValueError(f"expected two things that {kind!r} can tell apart, got {first} and {second}")
    ground = ("plain", "gray")
    if rng.random() < clutter:
        ground = (rng.choice(GROUND_PATTERNS), rng.choice(GROUND_COLOURS))
    third: Thing | None = None
    if rng.random() < clutter:
        third = rng.choice([t for t in every_thing() if t not in (first, second)])
    if kind == "size":
        first, second = replace(first, size="big"), replace(second, size="small")
    elif kind == "turn":
        others = [t for t in every_thing() if t.shape == first.shape and t not in (first, second)]
        third = rng.choice(others)
    relation = "next to"
    if kind in ("move right", "move left"):
        relation = rng.choice(("above", "below"))
    return Meaning(kind, first, second, third, ground, relation, kind in EVENT_KINDS and rng.random() < 0.5)
