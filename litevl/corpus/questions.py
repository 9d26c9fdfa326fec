"""Questions about the clips of the embedded corpus, each with an answer of one word that follows from the meaning.

The two clips of a reversed pair hold the same frames and are asked the same about order, with different answers: what
averages frames, or reads the question alone, answers at most one of the two. `ORDER_KINDS` are made of such questions;
the others can be answered without order.

In the default corpus's test split, with the percentage that is answered by the most frequent training answer to the
question's text (to its wording, where the text is new), and what can be answered from the frames without their order:

| kind | questions | text | frames | as |
|---|---|---|---|---|
| color | 156 | 14 | 100 | what color is the square? |
| shape | 146 | 26 | 100 | what shape is the red thing? |
| count | 118 | 50 | 100 | how many things are red? |
| position | 34 | 26 | 100 | where is the red square, seen from the blue star? |
| size | 48 | 40 | 100 | which shape is big? |
| event | 100 | 24 | 100 | what appears around the red square? |
| action | 88 | 25 | 100 | how is the red square seen? (moving, flashing, still) |
| direction | 76 | 18 | 50 | where is the red square moving? |
| growth | 24 | 29 | 50 | how big is the red square at the end? |
| order | 100 | 35 | 50 | which shape appears first? |
| all | 890 | 28 | 89 | |

The words are those of the captions' vocabulary, which has no "two" and no "or": numbers are digits.
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from litevl.corpus.meaning import COLOURS, EVENT_KINDS, Meaning, Thing
from litevl.corpus.plan import PlannedClip

ORDER_KINDS = ("direction", "growth", "order")
QUESTION_KINDS = ("color", "shape", "count", "position", "size", "event", "action", *ORDER_KINDS)

_PLACES = {"left": ("left", "right"), "above": ("above", "below")}
_SIDES = {"left": ("on the left", "on the right"), "above": ("at the top", "at the bottom")}
_FROM = {"right": "left", "left": "right", "up": "bottom", "down": "top"}


@dataclass(frozen=True)
class Asked:
    """A question before it is about a clip: a wording, what fills it, and the answer."""

    kind: str
    """One of `QUESTION_KINDS`."""
    wording: str
    answer: str
    filling: tuple[str, ...] = ()

    @property
    def question(self) -> str:
        """The text of the question."""
        return self.wording.format(*self.filling)


@dataclass(frozen=True)
class ClipQuestion:
    """A question about a clip of the corpus."""

    clip: PlannedClip
    asked: Asked


def clip_questions(clips: Sequence[PlannedClip], seed: int = 0) -> list[ClipQuestion]:
    """Questions about the clips of one split, three to five about most, in the clips' order.

    Args:
        clips: the clips.
        seed: decides which of the possible questions are asked.
    """
    found: dict[str, list[ClipQuestion]] = {}
    for clip in clips:
        # The same numbers for both of a pair, and for near-duplicates: they are asked the same.
        rng = random.Random(f"questions {seed} {'/'.join(clip.layout.split('/')[:2])}")
        # Sorted first: their order in the meaning tells the answer.
        one, other = rng.sample(sorted(_pair(clip.meaning), key=Thing.key), 2)
        drawn = _draw(_about_kind(clip.meaning, one, other), 2, rng)
        drawn += _draw(_about_looks(clip.meaning, one, other), 2, rng)
        found[clip.video_id] = [ClipQuestion(clip, asked) for asked in drawn]
    counts = (ClipQuestion(clip, asked) for clip in clips for asked in _about_number(clip.meaning))
    for question in _evened(counts, max(1, len(clips) // 8), random.Random(f"counts {seed}")):
        found[question.clip.video_id].append(question)
    return [question for clip in clips for question in found[clip.video_id]]


def picture_questions(meaning: Meaning, rng: random.Random, count: int) -> list[Asked]:
    """Questions about a still picture of a meaning, in the words in which clips are asked about.

    Things are not counted where the picture shows one of them twice, before and after.
    """
    one, other = rng.sample(sorted(_pair(meaning), key=Thing.key), 2)
    asked = [*_about_kind(meaning, one, other), *_about_looks(meaning, one, other)]
    if meaning.kind not in ("grow", "shrink", "turn"):
        numbers = _about_number(meaning)
        asked += _draw(numbers, 2, rng)
    return _draw(asked, count, rng)


def _pair(meaning: Meaning) -> tuple[Thing, Thing]:
    """The two things that a reversal or a near-duplicate exchanges, without their sizes."""
    other = meaning.third if meaning.kind == "turn" and meaning.third else meaning.second
    return Thing(meaning.first.colour, meaning.first.shape), Thing(other.colour, other.shape)


def _name(thing: Thing) -> str:
    return f"{thing.colour} {thing.shape}"


def _draw(asked: list[Asked], count: int, rng: random.Random) -> list[Asked]:
    return rng.sample(asked, min(count, len(asked)))


def _about_kind(meaning: Meaning, one: Thing, other: Thing) -> list[Asked]:
    """What this kind of clip is about, and nothing else is."""
    if meaning.kind in _PLACES:
        return _positions(meaning, one, other)
    if meaning.kind == "size":
        sizes = {thing.key(): thing.size for thing in (meaning.first, meaning.second)}
        asked = [Asked("size", "how big is the {}?", sizes[each.key()], (_name(each),)) for each in (one, other)]
        if meaning.third is None:
            # A near-duplicate has the small one first.
            small, big = sorted((meaning.first, meaning.second), key=lambda thing: thing.size == "big")
            asked += _which("size", "is big", big, small) + _which("size", "is small", small, big)
        return asked
    if meaning.kind in EVENT_KINDS:
        does = "flashes" if meaning.kind == "flash" else "is framed"
        around = Asked("event", "what appears around the {}?", meaning.kind, (_name(meaning.first),))
        return [around, *_which("event", does, meaning.first, meaning.second)]
    mover = (_name(meaning.first),)
    if meaning.kind.startswith("move"):
        to = meaning.kind.split()[1]
        return [
            Asked("direction", "where is the {} moving?", to, mover),
            Asked("direction", "where is the {} moving from?", _FROM[to], mover),
        ]
    if meaning.kind in ("grow", "shrink"):
        grows = meaning.kind == "grow"
        return [
            Asked("growth", "how big is the {} at the start?", "small" if grows else "big", mover),
            Asked("growth", "how big is the {} at the end?", "big" if grows else "small", mover),
            Asked("growth", "how is the {} seen?", "growing" if grows else "shrinking", mover),
        ]
    return _orders(meaning, one, other)


def _positions(meaning: Meaning, one: Thing, other: Thing) -> list[Asked]:
    place = _PLACES[meaning.kind][one.key() != meaning.first.key()]
    asked = [Asked("position", "where is the {}, seen from the {}?", place, (_name(one), _name(other)))]
    if meaning.third is None:
        near, far = _SIDES[meaning.kind]
        asked += _which("position", f"is {near}", meaning.first, meaning.second)
        asked += _which("position", f"is {far}", meaning.second, meaning.first)
    return asked


def _orders(meaning: Meaning, one: Thing, other: Thing) -> list[Asked]:
    """Questions about what comes first, of things that appear one after the other or of a thing that turns."""
    begins = meaning.first.key()
    asked = [
        Asked("order", "when is the {} seen?", "start" if each.key() == begins else "end", (_name(each),))
        for each in (one, other)
    ]
    if meaning.kind == "turn" and meaning.third is not None:
        asked += [
            Asked("order", "what color is the turning thing at the start?", meaning.first.colour),
            Asked("order", "what color is the turning thing at the end?", meaning.third.colour),
        ]
        return asked
    names = (_name(one), _name(other))
    asked += _which("order", "appears first of the {} and the {}", meaning.first, meaning.second, names)
    if meaning.third is None:  # A third thing is there from the start.
        asked += _which("order", "appears first", meaning.first, meaning.second)
    return asked


def _which(kind: str, does: str, thing: Thing, other: Thing, filling: tuple[str, ...] = ()) -> list[Asked]:
    """Ask for the shape and the colour of a thing by what it does, where they tell it from the other."""
    asked = [
        (f"which shape {does}?", thing.shape, other.shape),
        (f"which color {does}?", thing.colour, other.colour),
    ]
    return [Asked(kind, wording, answer, filling) for wording, answer, else_ in asked if answer != else_]


def _about_looks(meaning: Meaning, one: Thing, other: Thing) -> list[Asked]:
    """What a single frame, or each frame, shows of any clip."""
    seen = [meaning.first, meaning.second, *([meaning.third] if meaning.third else [])]
    asked = []
    # What turns has two colours, and both its looks have one shape.
    for thing in (meaning.second,) if meaning.kind == "turn" else (one, other):
        if sum(each.shape == thing.shape for each in seen) == 1:
            asked.append(Asked("color", "what color is the {}?", thing.colour, (thing.shape,)))
        if sum(each.colour == thing.colour for each in seen) == 1:
            asked.append(Asked("shape", "what shape is the {} thing?", thing.shape, (thing.colour,)))
    return asked + _actions(meaning, one, other)


def _actions(meaning: Meaning, one: Thing, other: Thing) -> list[Asked]:
    """What a thing does, where the order of frames makes no difference to it."""
    if meaning.kind == "turn":
        return [
            each for each in _which("action", "is turning", meaning.first, meaning.second) if "shape" in each.wording
        ]
    moves = meaning.kind.startswith("move")
    if not moves and meaning.kind not in EVENT_KINDS:
        return []
    acts = {"flash": "flashing", "frame": "framed"}.get(meaning.kind, "moving")
    action = acts if one.key() == meaning.first.key() else "moving" if meaning.moving else "still"
    asked = [Asked("action", "how is the {} seen?", action, (_name(one),))]
    if moves:
        asked += _which("action", "is moving", meaning.first, meaning.second)
    elif meaning.moving:
        asked += _which("action", "is moving", meaning.second, meaning.first)
    return asked


def _about_number(meaning: Meaning) -> list[Asked]:
    seen = [meaning.first, meaning.second, *([meaning.third] if meaning.third else [])]
    if meaning.kind == "turn":  # Its third is its first in another colour.
        return [Asked("count", "how many things are seen?", "2")]
    asked = [Asked("count", "how many things are seen?", str(len(seen)))]
    for colour in COLOURS:
        number = sum(thing.colour == colour for thing in seen)
        if number in (1, 2):
            asked.append(Asked("count", "how many things are {}?", str(number), (colour,)))
    return asked


def _evened(questions: Iterable[ClipQuestion], most: int, rng: random.Random) -> list[ClipQuestion]:
    """Keep as many questions of each answer to a text, `most` at most, so that the text does not tell the answer."""
    texts: dict[str, dict[str, list[ClipQuestion]]] = defaultdict(lambda: defaultdict(list))
    for question in questions:
        texts[question.asked.question][question.asked.answer].append(question)
    kept = []
    for answers in texts.values():
        count = min(most, *map(len, answers.values())) if len(answers) > 1 else 0
        kept += [question for each in answers.values() for question in rng.sample(each, count)]
    return kept
