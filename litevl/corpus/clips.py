"""Clips: what happens in thirty frames, as a list of marks for every frame.

For the kinds that depend on order only one direction is laid out here; its partner is the same list reversed, so
the two clips hold the same frames and their average is the same.
"""

import random
from dataclasses import replace

from litevl.corpus.drawing import Ground, Mark
from litevl.corpus.layout import around, distractors, mark, place_free, static_marks
from litevl.corpus.meaning import EVENT_KINDS, STATIC_KINDS, Meaning
from litevl.corpus.plan import PlannedClip

NUM_FRAMES = 30
"""Six equal segments of five frames have a middle frame: a mid-point sample of 6 (or 10, or 30) frames of a reversed
clip is the reversed sample."""

EVENT_FRAMES = 5
"""How long an event lasts: one of six sampled frames shows it."""

Frames = list[tuple[Mark, ...]]


def planned_frames(clip: PlannedClip, seed: int) -> tuple[Ground, Frames]:
    """The background and the frames of a clip of the corpus, in the order in which they are shown.

    Args:
        clip: the clip.
        seed: the corpus's.
    """
    rng = random.Random(f"{seed} {clip.layout}")
    ground = Ground(*clip.meaning.ground, shift=rng.randrange(24))
    frames = clip_frames(clip.laid_out(), rng)
    return ground, frames[::-1] if clip.reverse_of else frames


def clip_frames(meaning: Meaning, rng: random.Random) -> Frames:
    """Lay out the frames of a clip.

    Args:
        meaning: what the clip shows.
        rng: source of positions, speeds and moments.
    """
    if meaning.kind in STATIC_KINDS:
        return _drifting(static_marks(meaning, rng), rng)
    if meaning.kind in EVENT_KINDS:
        return _event(meaning, rng)
    if meaning.kind in ("before", "turn"):
        return _appearance(meaning, rng)
    if meaning.kind in ("grow", "shrink"):
        return _growth(meaning, rng)
    return _movement(meaning, rng)


def _drifting(marks: list[Mark], rng: random.Random) -> Frames:
    """Let everything drift a little, as a hand-held camera would; nothing changes its place."""
    drift = [(rng.uniform(-2.5, 2.5), rng.uniform(-2.5, 2.5)) for _ in marks]
    return [
        tuple(
            replace(m, x=m.x + dx * (2 * i / (NUM_FRAMES - 1) - 1), y=m.y + dy * (2 * i / (NUM_FRAMES - 1) - 1))
            for m, (dx, dy) in zip(marks, drift, strict=True)
        )
        for i in range(NUM_FRAMES)
    ]


def _progress(rng: random.Random) -> list[float]:
    """Go from 0 to 1 at constant speed, waiting a little at both ends."""
    start, stop = rng.uniform(0, 5), NUM_FRAMES - 1 - rng.uniform(0, 5)
    return [min(max((i - start) / (stop - start), 0.0), 1.0) for i in range(NUM_FRAMES)]


def _path(thing: Mark, axis: str, ends: tuple[float | int, float | int], progress: list[float]) -> list[Mark]:
    along = [ends[0] + p * (ends[1] - ends[0]) for p in progress]
    return [replace(thing, x=place) if axis == "x" else replace(thing, y=place) for place in along]


def _ends(rng: random.Random, forwards: bool) -> tuple[float, float]:
    low, high = around(rng, 18, 5), around(rng, 78, 5)
    return (low, high) if forwards else (high, low)


def _movement(meaning: Meaning, rng: random.Random) -> Frames:
    progress = _progress(rng)
    direction = meaning.kind.split()[1]
    ends = _ends(rng, direction in ("right", "down"))
    near, far = around(rng, 25, 6), around(rng, 71, 6)
    if direction in ("right", "left"):
        lane, other_lane = (near, far) if meaning.relation == "above" else (far, near)
        path = _path(mark(meaning.first, 0, lane), "x", ends, progress)
        still = [mark(meaning.second, around(rng, 48, 30), other_lane)]
    else:
        lane, other_lane = rng.sample((near, far), 2)
        path = _path(mark(meaning.first, lane, 0), "y", ends, progress)
        still = [mark(meaning.second, other_lane, around(rng, 48, 30))]
    still += distractors(meaning, [*path[::3], *still], rng)
    return [(*still, moving) for moving in path]


def _growth(meaning: Meaning, rng: random.Random) -> Frames:
    sizes = (8.0, 19.0) if meaning.kind == "grow" else (19.0, 8.0)
    biggest = mark(meaning.first, around(rng, 48, 26), around(rng, 48, 26), 19.0)
    still = place_free([meaning.second], [biggest], rng)
    still += distractors(meaning, [biggest, *still], rng)
    return [(*still, replace(biggest, radius=sizes[0] + p * (sizes[1] - sizes[0]))) for p in _progress(rng)]


def _appearance(meaning: Meaning, rng: random.Random) -> Frames:
    """Show one thing and then another; or let a thing change its colour."""
    first, second = place_free([meaning.first, meaning.second], [], rng)
    middle = NUM_FRAMES // 2 + rng.randint(-1, 1)
    if meaning.kind == "turn" and meaning.third is not None:
        turned = mark(meaning.third, first.x, first.y)
        return [(second, first if i < middle else turned) for i in range(NUM_FRAMES)]
    still = distractors(meaning, [first, second], rng)
    # Neither is there for two frames in between.
    shown = [first] * (middle - 1) + [None] * 2 + [second] * (NUM_FRAMES - middle - 1)
    return [tuple(still) if thing is None else (*still, thing) for thing in shown]


def _event(meaning: Meaning, rng: random.Random) -> Frames:
    actor = mark(meaning.first, around(rng, 48, 24), around(rng, 48, 24))
    event = Mark(meaning.kind, "white", actor.x, actor.y, actor.radius)
    keep_clear = replace(actor, radius=24.0)
    (other,) = place_free([meaning.second], [keep_clear], rng)
    others = [other] * NUM_FRAMES
    if meaning.moving:
        # Along the side of the picture that the actor leaves free.
        axis = rng.choice(("x", "y"))
        lane = around(rng, 17, 3) if (actor.y if axis == "x" else actor.x) > 48 else around(rng, 79, 3)
        others = _path(replace(other, x=lane, y=lane), axis, _ends(rng, rng.random() < 0.5), _progress(rng))
    still = distractors(meaning, [keep_clear, *others[::3]], rng)
    moment = rng.randint(2, NUM_FRAMES - EVENT_FRAMES - 2)
    return [
        (*still, others[i], actor, event) if moment <= i < moment + EVENT_FRAMES else (*still, others[i], actor)
        for i in range(NUM_FRAMES)
    ]
