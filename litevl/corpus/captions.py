"""Wording: several paraphrases for every meaning, and the vocabulary they are made of.

The same templates word the still pictures of the pre-training and the clips, as a web-trained image-language
model has read words for motion and time without having seen a clip. What differs is the picture: a still shows an
arrow where a clip shows a movement (`stills`).
"""

import random
import re
import string

from litevl.corpus.meaning import COLOURS, SHAPES, Meaning

TEMPLATES: dict[str, tuple[str, ...]] = {
    "left": (
        "{a} to the left of {b}",
        "{b} to the right of {a}",
        "{a} on the left and {b} on the right",
        "from left to right {a} and {b}",
    ),
    "above": (
        "{a} above {b}",
        "{b} below {a}",
        "{a} at the top and {b} at the bottom",
        "from top to bottom {a} and {b}",
    ),
    "size": (
        "{a} and {b}",
        "{b} and {a}",
        "{a} next to {b}",
        "{b} with {a}",
    ),
    "move right": (
        "{a} moves from left to right {r} {b}",
        "{a} moves to the right {r} {b}",
        "{r} {b} {a} moves left to right",
        "{a} slides right {r} {b}",
    ),
    "move left": (
        "{a} moves from right to left {r} {b}",
        "{a} moves to the left {r} {b}",
        "{r} {b} {a} moves right to left",
        "{a} slides left {r} {b}",
    ),
    "move up": (
        "{a} moves up {r} {b}",
        "{a} moves from bottom to top {r} {b}",
        "{r} {b} {a} moves up",
        "{a} rises {r} {b}",
    ),
    "move down": (
        "{a} moves down {r} {b}",
        "{a} moves from top to bottom {r} {b}",
        "{r} {b} {a} moves down",
        "{a} falls {r} {b}",
    ),
    "grow": (
        "{a} grows {r} {b}",
        "{a} gets bigger {r} {b}",
        "{a} grows from small to big {r} {b}",
        "{r} {b} {a} grows",
    ),
    "shrink": (
        "{a} shrinks {r} {b}",
        "{a} gets smaller {r} {b}",
        "{a} shrinks from big to small {r} {b}",
        "{r} {b} {a} shrinks",
    ),
    "before": (
        "{a} appears before {b}",
        "{b} appears after {a}",
        "first {a} then {b}",
        "{a} is followed by {b}",
    ),
    "turn": (
        "{a} turns {cc} {r} {b}",
        "{a} becomes {cc} {r} {b}",
        "a {s} turns from {ac} to {cc} {r} {b}",
        "{r} {b} a {s} is first {ac} then {cc}",
    ),
    "flash": (
        "{a} flashes {w}",
        "{a} lights up {w}",
        "{w} {a} flashes",
        "there is a flash around {a} {w}",
    ),
    "frame": (
        "{a} is framed {w}",
        "a frame appears around {a} {w}",
        "{w} {a} is framed",
        "there is a frame around {a} {w}",
    ),
}

OTHER_WORDS = """
the an its this that one four five many some no not of on in at by for up out off into it he she they who what
which where when how are was is be has have picture image photo video clip frame scene shape shapes object objects
color colour thing things arrow arrows points pointing person man woman people dog cat car ball box line dot
moving going appearing growing shrinking turning flashing rising falling shows showing seen show large little tiny
huge grey dark light bright stays still slowly quickly again later earlier during end start stops starts middle
center side corner near far
"""
"""Words that no template uses: they keep a user's own caption from falling apart into letters."""

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def captions(meaning: Meaning, rng: random.Random, count: int) -> list[str]:
    """Word a meaning in up to `count` different ways, in random order.

    Args:
        meaning: what is shown.
        rng: chooses among the templates.
        count: how many captions at most; there are four templates for each kind.
    """
    templates = rng.sample(TEMPLATES[meaning.kind], min(count, len(TEMPLATES[meaning.kind])))
    return [_fill(template, meaning) for template in templates]


def _fill(template: str, meaning: Meaning) -> str:
    second = meaning.second.phrase()
    return template.format(
        a=meaning.first.phrase(),
        b=second,
        r=meaning.relation,
        s=meaning.first.shape,
        ac=meaning.first.colour,
        cc=meaning.third.colour if meaning.third else "",
        w=f"while {second} moves" if meaning.moving else f"next to {second}",
    )


def vocabulary() -> list[str]:
    """List the tokens of `vocab.txt`: BERT's specials, the grammar's words, single characters and their pieces.

    The characters and `##` pieces let WordPiece spell a word that the grammar does not know, so that it does not
    become `[UNK]`. `[DEC]` and `[ENC]` are not in the file: BLIP's tokenizer appends them.
    """
    words = {*COLOURS, *SHAPES, "big", "small"}
    words |= {"above", "below", "next", "to", "while", "moves", *OTHER_WORDS.split()}
    for templates in TEMPLATES.values():
        for template in templates:
            words |= set(re.findall(r"[a-z]+", re.sub(r"\{\w+\}", " ", template)))
    characters = string.ascii_lowercase + string.digits
    whole = sorted(word for word in words if len(word) > 1)
    return [*SPECIAL_TOKENS, *whole, *characters, *".,;:!?'\"-()", *(f"##{c}" for c in characters)]
