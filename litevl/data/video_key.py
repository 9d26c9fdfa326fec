"""A video's key: the path of its file below the folder of the videos, which no annotation may lead out of."""

import re
from pathlib import PurePosixPath, PureWindowsPath

PLAIN = re.compile(r"[A-Za-z0-9_@+-][A-Za-z0-9_@+.-]*")
"""A name with nothing in it that any system takes for more: nearly all are such, and need no closer look."""


def is_video_key(key: str) -> bool:
    """Whether a text can name a file below a folder: not empty, not absolute, no `..`, on no system."""
    if PLAIN.fullmatch(key):
        return True
    path = PurePosixPath(key.strip())
    if not path.name or path.is_absolute() or PureWindowsPath(key).drive or ".." in re.split(r"[/\\]", key):
        return False
    return "\0" not in key and is_text(key)


def is_text(value: str) -> bool:
    """Whether a string can be written: JSON and pickles may hold halves of surrogate pairs, which are no characters."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
