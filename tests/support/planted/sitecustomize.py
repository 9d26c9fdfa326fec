"""Faults for every Python that is started with this folder in PYTHONPATH.

FFmpeg hangs on `a.mp4` where `a.mp4.hangs` lies beside it, and crashes where `a.mp4.crashes` does.
"""

import ctypes
import os
from pathlib import Path

import av

really_open = av.open


def open_or_not(file, *arguments, **options):
    if Path(f"{file}.hangs").exists():
        ctypes.PyDLL(None).pause()
    if Path(f"{file}.crashes").exists():
        os.abort()
    return really_open(file, *arguments, **options)


av.open = open_or_not
