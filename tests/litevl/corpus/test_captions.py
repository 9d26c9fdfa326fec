import random
import re

import pytest

from litevl.corpus.captions import TEMPLATES, captions, vocabulary
from litevl.corpus.meaning import CATEGORIES, Thing, reverse, sample_meaning

KINDS = [kind for kinds in CATEGORIES for kind in kinds]
SQUARE, CIRCLE = Thing("red", "square"), Thing("white", "circle")


def test_every_kind_has_templates():
    assert set(TEMPLATES) == set(KINDS)
    assert all(len(set(templates)) >= 4 for templates in TEMPLATES.values())


@pytest.mark.parametrize("kind", KINDS)
def test_every_word_of_every_caption_is_in_the_vocabulary(kind):
    words = set(vocabulary())
    for seed in range(20):
        rng = random.Random(seed)
        for caption in captions(sample_meaning(kind, SQUARE, CIRCLE, rng), rng, 10):
            assert set(re.findall(r"[a-z]+|[^a-z\s]", caption)) <= words, caption


@pytest.mark.parametrize("kind", [*CATEGORIES[1], *CATEGORIES[2]])
def test_no_wording_of_a_meaning_is_a_wording_of_its_reverse(kind):
    meaning = sample_meaning(kind, SQUARE, CIRCLE, random.Random(3))
    forwards = captions(meaning, random.Random(0), 100)
    backwards = captions(reverse(meaning), random.Random(0), 100)
    assert len(set(forwards)) == len(forwards) == len(TEMPLATES[kind])
    assert not set(forwards) & set(backwards)


def test_vocabulary_is_berts_specials_then_words_each_once():
    tokens = vocabulary()
    assert tokens[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert len(set(tokens)) == len(tokens) < 400
    assert {"a", "##z", "q", "left", "flashes", "."} <= set(tokens)
