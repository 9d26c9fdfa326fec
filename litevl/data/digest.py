"""A short digest of what a split holds, by which two results tell whether they are of the same data."""

import hashlib
import json
from collections.abc import Iterable, Sequence

LENGTH = 12
"""Hex digits: enough to tell the data sets of one comparison apart, few enough to read."""


def digest_of(items: Iterable[tuple[str, Sequence[str]]]) -> str:
    """The digest of ids with their texts.

    The order of items says nothing, nor do capitals and white space, which no tokenizer here reads: the forms that one
    data set comes in differ in these.

    Args:
        items: ids, each with its texts in an order that means something.
    """
    rows = sorted(json.dumps([name, *map(_plain, texts)]) for name, texts in items)
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:LENGTH]


def _plain(text: str) -> str:
    return " ".join(text.lower().split())
