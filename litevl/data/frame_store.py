"""Decoded frames kept on disk, resized: what an epoch has decoded, the next ones read.

Two files for each video and size, all its frames and the time of each, so that any sampling and any segment finds its
own and gives what decoding gives, bit for bit. A frame of 224 pixels is 150 kB, ten seconds of 30 a second 45 MB. A run
fills the store as it goes, or `litevl prepare` does so beforehand.
"""

import hashlib
import logging
import os
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from litevl.adapters.aside import ABANDONED, clear_asides, folder_aside
from litevl.data.decoders import FrameReader
from litevl.data.preprocess import resize_frames
from litevl.data.sampling import Sampling
from litevl.data.video import Decoder, VideoError, choose, read_indexed_frames, with_reader
from litevl.data.video_index import VideoIndex, check_file, index_video

logger = logging.getLogger(__name__)

VERSION = 2
"""Of how frames are decoded and resized; another one leaves older files unread."""
HEADER = 128
"""Bytes before the data of such a file."""
STORING = 30
"""Times as long may it take to decode all of a video into a frame store as to decode a clip."""


class FrameStore:
    """A folder of decoded videos, filled as they are asked for; any number of processes may share it.

    A video is known by its path, size and time of change: one that is replaced is decoded again. What can't be stored
    is decoded each time, as without a store: a file with damage in frames that nobody asks for, or any file once the
    disk is full, which is said in the log. A stored file that is damaged is said there too, and written anew.

    Args:
        folder: made if it is not there.
        image_size: side of the stored frames in pixels.
        decoder: see `read_frames`.

    Raises:
        ValueError: the folder can't be made.
    """

    def __init__(self, folder: str | os.PathLike[str], image_size: int, decoder: Decoder = "auto"):
        if image_size < 1:
            raise ValueError(f"image_size: expected at least 1 pixel, got {image_size}")
        self.folder, self._size, self._decoder = Path(folder), image_size, decoder
        self._full, self._unstored = False, set[Path]()
        make_store(self.folder)

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
        """
        check_file(path)
        stored = self._file(path)
        kept = _load(stored, self._size)
        if kept is None:
            index = index_video(path)
            kept = _load(stored, self._size) if self._store(index, stored) else None
        if kept is None:
            decoded = read_indexed_frames(index, num_frames, sampling, self._decoder, rng, start, end)
            return resize_frames(decoded, self._size)
        frames, times = kept
        return torch.from_numpy(frames[choose(times, num_frames, sampling, rng, start, end, path)])

    def holds(self, path: Path) -> bool:
        """Whether a video's frames are there, whole."""
        return _load(self._file(path), self._size) is not None

    def bytes_of(self, frames: int) -> int:
        """What a video of so many frames takes on disk."""
        return frames * (3 * self._size**2 + 8) + 2 * HEADER

    def write(self, index: VideoIndex) -> None:
        """Decodes all of a video into the store; its frames come last and in one move, so that they are there or not.

        Raises:
            VideoError: some of it can't be decoded.
            OSError: it can't be written, as on a full disk. What was stored before stays as it is.
        """
        with_reader(index, self._decoder, lambda reader, again: self._write(reader, self._file(index.path)))

    def tidy(self) -> None:
        """Removes what killed processes left half written."""
        clear_asides(self.folder, ABANDONED)

    def _file(self, path: Path) -> Path:
        about = path.stat()
        parts = (path.resolve(), about.st_size, about.st_mtime_ns, self._size, self._decoder, VERSION)
        return self.folder / f"{hashlib.sha256(os.fsencode('|'.join(map(str, parts)))).hexdigest()[:24]}.npy"

    def _store(self, index: VideoIndex, stored: Path) -> bool:
        """Decodes all of a video into the store; whether that could be done."""
        if self._full or stored in self._unstored:
            return False
        try:
            self.write(index)
        except VideoError as error:
            logger.debug("not stored: %s", error)
            self._unstored.add(stored)
            return False
        except OSError as error:
            logger.warning("%s takes no more decoded frames (%s); going on without", self.folder, error)
            self._full = True
            return False
        return True

    def _write(self, reader: FrameReader, stored: Path) -> None:
        times = reader.timestamps
        # The names are such that the times come first.
        with folder_aside(self.folder) as aside:
            # Written and not mapped: a full disk is then an error and not the end of the process.
            with (aside / stored.name).open("wb") as file:
                header = {"descr": "|u1", "fortran_order": False, "shape": (len(times), 3, self._size, self._size)}
                np.lib.format.write_array_header_1_0(file, header)
                for some in reader.every():
                    file.write(resize_frames(some, self._size).numpy().tobytes())
            np.save(aside / _times_of(stored).name, times)


def make_store(folder: Path, setting: str = "frame_store", what: str = "decoded frames") -> None:
    """Makes the folder of a store, where it is not there.

    Args:
        folder: of it.
        setting: that names it.
        what: is kept in it.

    Raises:
        ValueError: it is a file, or can't be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        came = "a file" if folder.is_file() else f"one that can't be made ({error})"
        raise ValueError(
            f"{setting}: expected a folder to keep {what} in, got {folder}, {came}; name another"
        ) from error


def _load(stored: Path, size: int) -> tuple[np.ndarray, np.ndarray] | None:
    """A stored video's frames and times; None where they are not there whole."""
    if not stored.is_file():
        return None
    try:
        frames, times = np.load(stored, mmap_mode="r"), np.load(_times_of(stored))
        if frames.shape != (len(times), 3, size, size):
            raise ValueError(f"frames of shape {frames.shape} at {len(times)} times")
    except (EOFError, OSError, ValueError) as error:
        logger.warning("%s: damaged (%s); its video is decoded again", stored, error)
        return None
    return frames, times


def _times_of(stored: Path) -> Path:
    return stored.with_name(f"{stored.stem}-times.npy")
