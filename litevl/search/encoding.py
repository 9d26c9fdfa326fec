"""Encoding decoded segments in batches that go across videos, each video put away when its last segment is done."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from litevl.data.preprocess import PreprocessConfig, normalize
from litevl.models.interfaces import RetrievalModel

from .catalog import BadFile
from .decoding import Piece
from .options import Precision
from .segments import Segment
from .tokens import TokenWriter


@dataclass(frozen=True)
class EncodedVideo:
    """A video that is ready to be searched."""

    path: Path
    seconds: float
    segments: tuple[Segment, ...]
    embeddings: Float32[np.ndarray, "segments dim"]
    tokens: str | None
    """The name of the file of its tokens."""


@dataclass(frozen=True)
class Progress:
    """A share of a video that is done, for whoever shows how far it is."""

    path: Path
    share: float


@dataclass
class _Open:
    """A video of which segments are still to come."""

    writer: TokenWriter | None
    embeddings: list[Float32[np.ndarray, "here dim"]] = field(default_factory=list)


class Encoder:
    """A model that encodes pieces of videos.

    Args:
        model: in eval mode.
        preprocess: of its frames.
        batch_size: segments encoded at a time.
        folder: for the tokens.
        precision: of the tokens; `none` keeps none.
    """

    def __init__(
        self, model: RetrievalModel, preprocess: PreprocessConfig, batch_size: int, folder: Path, precision: Precision
    ):
        self.model, self.preprocess, self.batch_size = model, preprocess, batch_size
        self.folder, self.precision = folder, precision
        self._open: dict[Path, _Open] = {}

    def encode(self, pieces: Iterable[Piece]) -> Iterator[EncodedVideo | BadFile | Progress]:
        """Encodes pieces as they come.

        Raises:
            OSError: tokens can't be written, as on a full disk.
        """
        waiting: list[Piece] = []
        try:
            for piece in pieces:
                if piece.bad is not None:
                    waiting = [other for other in waiting if other.path != piece.path]
                    self._forget(piece.path)
                    yield BadFile(piece.path, piece.bad)
                    continue
                waiting.append(piece)
                if sum(len(each.frames) for each in waiting) >= self.batch_size:
                    yield from self._encode(waiting)
                    waiting = []
            yield from self._encode(waiting)
        finally:
            for path in list(self._open):
                self._forget(path)

    def _encode(self, pieces: list[Piece]) -> Iterator[EncodedVideo | Progress]:
        if not pieces:
            return
        embeddings, rows = self._features(torch.from_numpy(np.concatenate([piece.frames for piece in pieces])))
        place = 0
        for piece in pieces:
            here = slice(place, place + len(piece.frames))
            place = here.stop
            opened = self._open.get(piece.path) or self._start(piece)
            opened.embeddings.append(embeddings[here])
            if opened.writer is not None:
                opened.writer.write(rows[here])
            yield Progress(piece.path, len(piece.frames) / len(piece.segments))
            if piece.last:
                yield self._finish(piece, self._open.pop(piece.path))

    @torch.inference_mode()
    def _features(
        self, frames: UInt8[Tensor, "here time 3 size size"]
    ) -> tuple[Float32[np.ndarray, "here dim"], Float[Tensor, "here rows width"]]:
        parts = [
            self.model.encode_video(normalize(some.to(self.model.device), self.preprocess))
            for some in frames.split(self.batch_size)
        ]
        embeddings = torch.cat([part.embed for part in parts]).float().cpu().numpy()
        return embeddings, torch.cat([part.rows for part in parts])

    def _start(self, piece: Piece) -> _Open:
        writer = None
        if self.precision != "none":
            writer = TokenWriter(self.folder, len(piece.segments), self.precision)
        return self._open.setdefault(piece.path, _Open(writer))

    @staticmethod
    def _finish(piece: Piece, opened: _Open) -> EncodedVideo:
        name = None if opened.writer is None else opened.writer.finish()
        return EncodedVideo(piece.path, piece.seconds, piece.segments, np.concatenate(opened.embeddings), name)

    def _forget(self, path: Path) -> None:
        opened = self._open.pop(path, None)
        if opened is not None and opened.writer is not None:
            opened.writer.discard()
