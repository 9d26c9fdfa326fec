"""Which clips the corpus holds: families of near-duplicates, split into training, validation and test.

A family is eight clips of the same two things: two static ones, two pairs of clips that are each other's reverse
(movement and appearance), and two with an event. So colours and shapes alone leave eight candidates for a caption, and
half of the captions can be told apart only by the order of frames.
"""

import random
from dataclasses import dataclass

from litevl.corpus.captions import captions
from litevl.corpus.meaning import (
    APPEARANCE_KINDS,
    EVENT_KINDS,
    MOTION_KINDS,
    STATIC_KINDS,
    Meaning,
    Thing,
    every_thing,
    held_out,
    near_duplicate,
    reverse,
    sample_meaning,
)

FAMILY = 8


@dataclass(frozen=True)
class CorpusConfig:
    """How large the corpus is, and its seed."""

    seed: int = 0
    """Decides which clips there are, where things stand and how captions are worded."""
    train_families: int = 125
    """Families of eight training clips."""
    validate_families: int = 12
    """Families of eight validation clips."""
    test_families: int = 25
    """Families of eight test clips."""
    train_captions: int = 4
    """Captions of a training clip, at most; validation and test clips have one."""


@dataclass(frozen=True)
class PlannedClip:
    """One clip to render."""

    video_id: str
    split: str
    meaning: Meaning
    captions: tuple[str, ...]
    layout: str
    """Seed of the layout; the two clips of a reversed pair share it."""
    reverse_of: str | None = None
    """The clip whose frames these are, in reversed order; its meaning is the one to lay out."""

    def laid_out(self) -> Meaning:
        """Give the meaning whose frames are laid out, forwards, for this clip."""
        return reverse(self.meaning) if self.reverse_of else self.meaning


def plan_clips(config: CorpusConfig) -> list[PlannedClip]:
    """Decide on every clip of the corpus, in the order of their ids.

    Raises:
        ValueError: for more families than there are pairs of things.
    """
    rng = random.Random(f"litevl corpus {config.seed}")
    things = every_thing()
    pairs = [(a, b) for i, a in enumerate(things) for b in things[i + 1 :]]
    test = [pair for pair in pairs if held_out(*pair)]
    others = [pair for pair in pairs if not held_out(*pair)]
    known = config.train_families + config.validate_families
    if config.test_families > len(test) or known > len(others):
        raise ValueError(
            f"expected at most {len(test)} test families and {len(others)} others, "
            f"got {config.test_families} and {known}"
        )
    chosen = rng.sample(others, known)
    families = [("train", pair) for pair in chosen[: config.train_families]]
    families += [("validate", pair) for pair in chosen[config.train_families :]]
    families += [("test", pair) for pair in rng.sample(test, config.test_families)]
    clips: list[PlannedClip] = []
    said: set[str] = set()
    for split, pair in families:
        count = config.train_captions if split == "train" else 1
        clips += _family(split, pair, len(clips), count, rng, said)
    return clips


def _family(
    split: str, pair: tuple[Thing, Thing], start: int, count: int, rng: random.Random, said: set[str]
) -> list[PlannedClip]:
    kinds = [rng.choice(choices) for choices in (STATIC_KINDS, MOTION_KINDS, APPEARANCE_KINDS, EVENT_KINDS)]
    clips: list[PlannedClip] = []
    for number, kind in enumerate(kinds):
        first, second = rng.sample(pair, 2)
        meaning = sample_meaning(kind, first, second, rng)
        ordered = number in (1, 2)
        partner = reverse(meaning) if ordered else near_duplicate(meaning, rng)
        for turn, each in enumerate((meaning, partner)):
            this = f"video{start + len(clips)}"
            layout = f"{start}/{kind}" if ordered else f"{start}/{kind}/{turn}"
            previous = clips[-1].video_id if ordered and turn else None
            worded = tuple(_new_captions(each, count, rng, said if count == 1 else None))
            clips.append(PlannedClip(this, split, each, worded, layout, previous))
    return clips


def _new_captions(meaning: Meaning, count: int, rng: random.Random, said: set[str] | None) -> list[str]:
    """Word a meaning; with `said`, prefer a wording that no other evaluated clip has."""
    worded = captions(meaning, rng, count if said is None else 100)
    if said is None:
        return worded
    fresh = [caption for caption in worded if caption not in said] or worded
    said.add(fresh[0])
    return fresh[:1]
