import random

import numpy as np
import pytest

from litevl.corpus.clips import EVENT_FRAMES, NUM_FRAMES, clip_frames
from litevl.corpus.drawing import COLOUR_VALUES, SIDE, Ground, Mark, draw
from litevl.corpus.meaning import CATEGORIES, SHAPES, Thing, sample_meaning
from litevl.corpus.stills import still_marks, still_pairs

KINDS = [kind for kinds in CATEGORIES for kind in kinds]
SQUARE, CIRCLE = Thing("red", "square"), Thing("white", "circle")
GRAY = Ground("plain", "gray")


def _marks_of(frames, thing):
    return [[m for m in frame if (m.colour, m.shape) == (thing.colour, thing.shape)] for frame in frames]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_thirty_frames_within_the_picture(kind):
    for seed in range(10):
        rng = random.Random(seed)
        frames = clip_frames(sample_meaning(kind, SQUARE, CIRCLE, rng), rng)
        assert len(frames) == NUM_FRAMES
        assert all(0 < m.x < SIDE and 0 < m.y < SIDE for frame in frames for m in frame)


@pytest.mark.parametrize(
    ("kind", "axis", "sign"),
    [("move right", "x", 1), ("move left", "x", -1), ("move down", "y", 1), ("move up", "y", -1)],
)
def test_movement_goes_where_the_kind_says(kind, axis, sign):
    rng = random.Random(1)
    frames = clip_frames(sample_meaning(kind, SQUARE, CIRCLE, rng), rng)
    places = [getattr(each[0], axis) for each in _marks_of(frames, SQUARE)]
    assert sign * (places[-1] - places[0]) > SIDE / 3
    assert len({(m[0].x, m[0].y) for m in _marks_of(frames, CIRCLE)}) == 1


def test_growth_grows():
    rng = random.Random(1)
    sizes = [m[0].radius for m in _marks_of(clip_frames(sample_meaning("grow", SQUARE, CIRCLE, rng), rng), SQUARE)]
    assert sizes == sorted(sizes)
    assert sizes[-1] > 2 * sizes[0]


def test_a_turn_changes_the_colour_in_place():
    rng = random.Random(1)
    meaning = sample_meaning("turn", SQUARE, CIRCLE, rng)
    frames = clip_frames(meaning, rng)
    before, after = (_marks_of(frames, thing) for thing in (meaning.first, meaning.third))
    assert [len(m) for m in before] == [1 - len(m) for m in after]
    assert (before[0][0].x, before[0][0].y) == (after[-1][0].x, after[-1][0].y)


def test_things_appear_one_after_the_other():
    rng = random.Random(1)
    frames = clip_frames(sample_meaning("before", SQUARE, CIRCLE, rng), rng)
    first = [i for i, marks in enumerate(_marks_of(frames, SQUARE)) if marks]
    second = [i for i, marks in enumerate(_marks_of(frames, CIRCLE)) if marks]
    assert max(first) < min(second)
    assert len(first) >= 12
    assert len(second) >= 12


@pytest.mark.parametrize("kind", CATEGORIES[3])
def test_an_event_is_seen_in_one_of_six_sampled_frames(kind):
    for seed in range(20):
        rng = random.Random(seed)
        frames = clip_frames(sample_meaning(kind, SQUARE, CIRCLE, rng), rng)
        shown = [i for i, frame in enumerate(frames) if any(m.shape == kind for m in frame)]
        assert shown == list(range(shown[0], shown[0] + EVENT_FRAMES))
        assert sum(i % 5 == 2 for i in shown) == 1


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_is_drawn_in_its_colour_inside_its_radius(shape):
    picture = draw(GRAY, (Mark(shape, "red", 40, 50, 12),)).astype(int)
    changed = np.argwhere((picture != draw(GRAY, ())).any(-1))
    assert (np.abs(changed - [50, 40]).max(0) <= 13).all()
    assert (picture == COLOUR_VALUES["red"]).all(-1).sum() > 60


def test_no_two_shapes_look_alike():
    pictures = [draw(GRAY, (Mark(shape, "white", 48, 48, 11),)) for shape in SHAPES]
    for i, one in enumerate(pictures):
        for other in pictures[i + 1 :]:
            assert (one != other).any(-1).sum() > 40


def test_a_mark_at_the_edge_is_cut_off_and_an_unknown_shape_refused():
    assert draw(GRAY, (Mark("circle", "red", 0, 95, 12),)).shape == (SIDE, SIDE, 3)
    with pytest.raises(ValueError, match="got 'blob'"):
        draw(GRAY, (Mark("blob", "red", 40, 40, 12),))


def test_stills_are_seeded_and_come_in_pairs_that_differ():
    one, again = (still_pairs(random.Random(5), 40) for _ in range(2))
    for (a, b), (c, _) in zip(one, again, strict=True):
        assert np.array_equal(a.picture, c.picture)
        assert a.caption == c.caption
        assert a.meaning != b.meaning
        assert a.caption != b.caption


def test_arrows_are_in_stills_and_never_in_clips():
    def arrows(marks):
        return sum(mark.shape.startswith("arrow") for mark in marks)

    for kind in (*CATEGORIES[1], *CATEGORIES[2]):
        rng = random.Random(2)
        meaning = sample_meaning(kind, SQUARE, CIRCLE, rng)
        assert arrows(still_marks(meaning, rng)) >= 1
        assert not any(arrows(frame) for frame in clip_frames(meaning, rng))
