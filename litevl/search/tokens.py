"""Videos' tokens on disk, so that a search matches without encoding again: a file a video, read segment by segment."""

import uuid
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from litevl.adapters.aside import put_in_place

DESCRIPTIONS = {"float16": "<f2", "float32": "<f4"}
ENDING, UNFINISHED = ".npy", ".unfinished"


class TokenWriter:
    """The tokens of a video as they come; the file has its name when all of them are on disk.

    Args:
        folder: of the files.
        segments: how many will come.
        precision: of the numbers in the file.
    """

    def __init__(self, folder: Path, segments: int, precision: Literal["float16", "float32"]):
        self.name = f"{uuid.uuid4().hex}{ENDING}"
        self._path, self._aside = folder / self.name, folder / f"{self.name}{UNFINISHED}"
        self._segments, self._precision = segments, precision
        self._file: BinaryIO | None = None

    def write(self, rows: Float[Tensor, "here rows dim"]) -> None:
        """The tokens of the next segments.

        Raises:
            OSError: the disk is full.
        """
        if self._file is None:
            self._file = self._aside.open("wb")
            header = {
                "descr": DESCRIPTIONS[self._precision],
                "fortran_order": False,
                "shape": (self._segments, *rows.shape[1:]),
            }
            np.lib.format.write_array_header_1_0(self._file, header)
        self._file.write(rows.to("cpu", getattr(torch, self._precision)).numpy().tobytes())

    def finish(self) -> str:
        """Gives the file its name, which is returned.

        Raises:
            OSError: the disk is full.
        """
        assert self._file is not None
        self._file.close()
        put_in_place(self._aside, self._path)
        return self.name

    def discard(self) -> None:
        """Removes what was written."""
        if self._file is not None:
            self._file.close()
            self._aside.unlink(missing_ok=True)


def read_tokens(folder: Path, name: str, number: int) -> Float[Tensor, "1 rows dim"]:
    """The tokens of one segment of a video.

    Raises:
        OSError: the file is not there.
        ValueError: it is damaged, or has no such segment.
    """
    stored = np.load(folder / name, mmap_mode="r")
    if stored.ndim != 3 or not 0 <= number < len(stored):
        raise ValueError(
            f"{folder / name}: expected the tokens of segment {number}, got a file of shape {stored.shape}"
        )
    return torch.from_numpy(np.array(stored[number : number + 1]))


def clean(folder: Path, used: Collection[str]) -> None:
    """Removes the files that no video has any more, and those that were never finished."""
    for path in folder.glob(f"*{ENDING}*"):
        if path.name not in used:
            path.unlink(missing_ok=True)
