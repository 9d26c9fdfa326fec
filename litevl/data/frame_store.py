"""Decoded frames kept on disk, resized: what an epoch has decoded, the next ones read.

One file for each video and size, of all its frames, so that any sampling and any segment finds its own and gives what
decoding gives, bit for bit. A frame of 224 pixels is 150 kB, ten seconds at 30 frames a second are 45 MB.
"""

import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from litevl.data.decoders import FrameReader
from litevl.data.preprocess import resize_frames
from litevl.data.sampling import Sampling
from litevl.data.video import Decoder, choose, with_reader
from litevl.data.video_index import index_video

CHUNK = 32
"""Frames decoded at a time while a video is stored."""


class FrameStore:
    """A folder of decoded videos, filled as they are asked for; any number of processes may share it.

    A video is known by its path, size and time of change: one that is replaced is decoded again.

    Args:
        folder: made if it is not there.
        image_size: side of the stored frames in pixels.
        decoder: see `read_frames`.
    """

    def __init__(self, folder: str | os.PathLike[str], image_size: int, decoder: Decoder = "auto"):
        self.folder, self._size, self._decoder = Path(folder), image_size, decoder
        self.folder.mkdir(parents=True, exist_ok=True)

    def read(
        self,
        path: Path,
        num_frames: int,
        sampling: Sampling = "midpoint",
        rng: np.random.Generator | None = None,
        start: float | None = None,
        end: float | None = None,
    ) -> UInt8[Tensor, "time 3 size size"]:
        """As `resize_frames(read_frames(...))`, from the store.

        Raises:
            VideoError: as `read_frames`.
            OSError: the store can't be written.
        """
        index = index_video(path)
        stored = self.folder / f"{self._key(path)}.npy"
        if not stored.is_file():
            with_reader(index, self._decoder, lambda reader, again: self._store(reader, stored))
        frames = np.load(stored, mmap_mode="r")
        chosen = choose(index.timestamps, num_frames, sampling, rng, start, end, index)
        return torch.from_numpy(frames[chosen])

    def _key(self, path: Path) -> str:
        about = path.stat()
        text = f"{path.resolve()}|{about.st_size}|{about.st_mtime_ns}|{self._size}|{self._decoder}"
        return hashlib.sha256(text.encode()).hexdigest()[:24]

    def _store(self, reader: FrameReader, stored: Path) -> None:
        total = len(reader.timestamps)
        handle, aside = tempfile.mkstemp(prefix=f".{stored.stem}-", suffix=".npy", dir=self.folder)
        os.close(handle)
        try:
            shape = (total, 3, self._size, self._size)
            frames = np.lib.format.open_memmap(aside, mode="w+", dtype=np.uint8, shape=shape)
            for first in range(0, total, CHUNK):
                some = np.arange(first, min(first + CHUNK, total), dtype=np.int64)
                frames[some] = resize_frames(reader.get(some), self._size).numpy()
            frames.flush()
            del frames
            os.chmod(aside, 0o644)
            os.replace(aside, stored)
        finally:
            Path(aside).unlink(missing_ok=True)
