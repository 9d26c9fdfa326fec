"""What a decoder may do to the process that it is in, and how it does it."""

import ctypes
import os
import sys
import time
from pathlib import Path

from litevl.data.cores import decoding_threads
from litevl.data.fresh_process import beat

PLANTED = Path(__file__).with_name("planted")
"""In PYTHONPATH it does the same to the real decoder."""


def hang(path):
    """In C, with Python's lock held: nothing of Python runs in that process from here on."""
    ctypes.PyDLL(None).pause()


def read_where_nothing_is(path):
    ctypes.string_at(0)


def leave(path):
    os._exit(3)


def about(path):
    return os.getpid(), decoding_threads(), "torch" in sys.modules


def three_parts(path, seconds):
    for _ in range(3):
        time.sleep(seconds)
        beat()
    return "done"


def hold_more(path, held=[]):  # noqa: B006 - what a leak is
    """Keeps 600 MB with each call."""
    held.append(bytearray(b"x") * (600 << 20))
    return os.getpid()


class UnsendableError(Exception):
    """Can be pickled, and not made again."""

    def __init__(self, path, reason):
        super().__init__(f"{path} {reason}")


def raise_unsendable(path):
    raise UnsendableError(path, "is spoiled")
