"""How close written captions come to their references: CIDEr, BLEU and ROUGE-L as the field computes them.

The scorers are those of coco-caption (`pycocoevalcap`): old and unchanged since 2020, which is why papers' numbers are
theirs, and plain Python. Its tokenizer is a Java program,
which is not used: `words` follows its rules as far as captions need them. METEOR and SPICE, Java programs too, are left
out.
"""

import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec

TOKENIZER = "lower case, contractions split, punctuation left out, without Java"

_CONTRACTION = re.compile(r"(?<=\w)(n't|'s|'re|'ve|'ll|'d|'m)\b")
_WORD = re.compile(r"n't\b|'(?:s|re|ve|ll|d|m)\b|\w+(?:[-/.,:']\w+)*|[^\w\s]")
_QUOTES = str.maketrans({0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"'})  # typographic ones
_LEFT_OUT = {"''", "'", "``", "`", "(", ")", "{", "}", "[", "]", ".", "?", "!", ",", ":", "-", "--", "...", ";", '"'}


def words(text: str) -> str:
    """The words of a text with single blanks between them, as the scorers read them."""
    plain = text.lower().translate(_QUOTES)
    spaced = _CONTRACTION.sub(r" \1", plain)
    return " ".join(word for word in _WORD.findall(spaced) if word not in _LEFT_OUT)


def require_scorers() -> None:
    """Checks, before hours of training rather than after them, that captions can be scored.

    Raises:
        ImportError: pycocoevalcap is not installed.
    """
    if find_spec("pycocoevalcap") is None:
        raise ImportError(
            "captions are scored with pycocoevalcap, which is not installed; pip install 'litevl[captioning]'"
        )


def caption_metrics(written: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Scores of captions, times 100 as papers give them.

    Args:
        written: a caption of each video, by its id.
        references: what people said of it; one or more.

    Returns:
        `cider` (CIDEr-D over these videos), `bleu1`, `bleu4`, `rouge_l`, and `equal_to_reference`, the percentage of
        captions that are, word for word, one of their references.

    Raises:
        ImportError: pycocoevalcap is not installed.
        ValueError: no videos, or not the same ones.
    """
    require_scorers()
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    if not written or written.keys() != references.keys():
        raise ValueError(f"expected a caption for each of {len(references)} videos, got {len(written)}")
    said = {video: [words(text)] for video, text in written.items()}
    known = {video: [words(text) for text in references[video]] for video in written}
    bleu, _ = Bleu(4).compute_score(known, said, verbose=0)
    cider, _ = Cider().compute_score(known, said)
    rouge, _ = Rouge().compute_score(known, said)
    equal = sum(said[video][0] in known[video] for video in said) / len(said)
    scores = {"cider": cider, "bleu1": bleu[0], "bleu4": bleu[3], "rouge_l": rouge, "equal_to_reference": equal}
    return {name: 100.0 * float(value) for name, value in scores.items()}
