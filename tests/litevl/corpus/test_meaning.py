import random

import pytest

from litevl.corpus.meaning import CATEGORIES, Thing, every_thing, held_out, near_duplicate, reverse, sample_meaning

KINDS = [kind for kinds in CATEGORIES for kind in kinds]
SQUARE, CIRCLE = Thing("red", "square"), Thing("white", "circle")


def test_phrase_names_size_colour_and_shape():
    assert CIRCLE.phrase() == "a white circle"
    assert Thing("red", "square", "big").phrase() == "a big red square"


@pytest.mark.parametrize("kind", [*CATEGORIES[1], *CATEGORIES[2]])
def test_reversing_twice_gives_the_meaning_back(kind):
    meaning = sample_meaning(kind, SQUARE, CIRCLE, random.Random(0))
    assert reverse(meaning) != meaning
    assert reverse(reverse(meaning)) == meaning


@pytest.mark.parametrize("kind", [*CATEGORIES[0], *CATEGORIES[3]])
def test_what_has_no_order_is_not_reversed(kind):
    with pytest.raises(ValueError, match="depends on the order"):
        reverse(sample_meaning(kind, SQUARE, CIRCLE, random.Random(0)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_near_duplicate_differs_and_shows_the_same_two_things_or_roles(kind):
    for seed in range(20):
        rng = random.Random(seed)
        meaning = sample_meaning(kind, SQUARE, CIRCLE, rng)
        other = near_duplicate(meaning, rng)
        assert other != meaning
        assert other.category() == meaning.category()


def test_indistinguishable_things_are_refused():
    with pytest.raises(ValueError, match="tell apart"):
        sample_meaning("left", SQUARE, SQUARE, random.Random(0))
    with pytest.raises(ValueError, match="kind of CATEGORIES"):
        sample_meaning("explode", SQUARE, CIRCLE, random.Random(0))


def test_one_pair_in_nine_is_held_out_in_either_order():
    things = every_thing()
    pairs = [(a, b) for a in things for b in things if a != b]
    kept = [pair for pair in pairs if held_out(*pair)]
    assert all(held_out(b, a) for a, b in kept)
    assert 0.08 < len(kept) / len(pairs) < 0.14
