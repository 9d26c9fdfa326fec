"""Files that are there whole or not at all: written aside, brought to the disk, then renamed into place.

A process that is killed on the way, or finds the disk full, leaves what was there before.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from .model_card import CARD_NAME, may_write_card

FOLDER_PREFIX, FILE_SUFFIX = ".litevl-", ".writing"
ABANDONED = 3600.0
"""Seconds without a change after which what lies aside is nobody's any more, where several processes write."""


@contextmanager
def file_aside(path: Path) -> Iterator[Path]:
    """A file to write beside `path`, which it replaces at the end of the block; it goes if the block fails.

    Several processes may write the same file: the last one's stays.
    """
    aside = path.with_name(f"{path.name}.{uuid4().hex[:8]}{FILE_SUFFIX}")
    try:
        yield aside
        put_in_place(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def put_in_place(aside: Path, path: Path) -> None:
    """Renames a file that was written aside, once all of it is on the disk."""
    _bring_to_disk(aside)
    os.replace(aside, path)
    _bring_names_to_disk(path.parent)


@contextmanager
def folder_aside(folder: Path) -> Iterator[Path]:
    """A folder inside `folder` (made if it is not there) whose files replace those of the same name at the block's end.

    All of them are on the disk before the first is renamed, in the order of their names. A `README.md` that is no model
    card stays as it is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=FOLDER_PREFIX, dir=folder) as name:
        aside = Path(name)
        yield aside
        files = sorted(path for path in aside.rglob("*") if path.is_file())
        for file in files:
            _bring_to_disk(file)
        for file in files:
            place = folder / file.relative_to(aside)
            if place.name != CARD_NAME or may_write_card(place):
                place.parent.mkdir(parents=True, exist_ok=True)
                file.replace(place)
        for inside in {folder / file.relative_to(aside).parent for file in files}:
            _bring_names_to_disk(inside)


def clear_asides(folder: Path, unchanged: float = 0.0) -> None:
    """Deletes what killed processes left aside in `folder`.

    Args:
        folder: in which files were written.
        unchanged: delete only what has not changed for so many seconds: where others may be writing, `ABANDONED`.
    """
    for path in (*folder.glob(f"{FOLDER_PREFIX}*"), *folder.glob(f"*{FILE_SUFFIX}")):
        with suppress(OSError):
            newest = max(each.stat().st_mtime for each in (path, *path.rglob("*")))
            if unchanged and time.time() - newest < unchanged:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _bring_to_disk(file: Path) -> None:
    # Some file systems report a full disk only here.
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())


def _bring_names_to_disk(folder: Path) -> None:
    # Not every system can; the rename itself holds there too.
    with suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
