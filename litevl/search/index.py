"""An index of videos: encoded once, searched by text in two stages.

Stage one asks the vector store for the segments whose embeddings are most like the query's. Stage two matches the best
with the query by cross-attention over their tokens, from disk or made again: logit plus similarity, as in evaluation.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from jaxtyping import Float, UInt8
from torch import Tensor

from litevl.data.cores import decoding_workers
from litevl.data.fresh_process import Call, here
from litevl.data.preprocess import PreprocessConfig, normalize, resize_frames
from litevl.devices import find_device
from litevl.models.interfaces import RetrievalModel
from litevl.tasks.saved import load_retrieval
from litevl.training import describe_changes

from . import record
from .catalog import BadFile, Catalog
from .decoding import Cutter, read_segment
from .encoding import EncodedVideo, Encoder, Progress
from .errors import SearchError
from .options import DECODE_TIMEOUT, OnBad
from .record import IndexConfig, Record
from .rerank import rerank_hits
from .results import Hit
from .segments import Segment
from .similar import similar_hits
from .store import VectorStore
from .tokens import clean
from .update import Update, bring_up_to_date, forget
from .why import Explanation, explain


class VideoIndex:
    """Videos that can be searched. `VideoIndex.create(folder)` makes or opens one, `VideoIndex.open(folder)` opens one.

    Any number of processes may search while one updates.

    Args:
        folder: of the index.
        about: what it was made with.
        config: how to reach the model and the store now.
        model: the model, if it is loaded already.
        device: for the model; by default a GPU where there is one.
    """

    def __init__(
        self,
        folder: Path,
        about: Record,
        config: IndexConfig,
        model: RetrievalModel | None = None,
        device: torch.device | str | None = None,
    ):
        self.folder, self.record, self.config = folder, about, config
        self._device = find_device(device)
        self.catalog = Catalog(folder / "catalog.sqlite")
        self.token_folder = folder / "tokens"
        self.token_folder.mkdir(exist_ok=True)
        if model is not None:
            self._check(model)
            self.__dict__["model"] = model
        self.call: Call = here
        """How files are decoded that were found: here, or in a process apart."""

    @classmethod
    def create(
        cls, folder: str | Path, config: IndexConfig | None = None, device: torch.device | str | None = None
    ) -> "VideoIndex":
        """Makes an index, or opens it where it is there and was made with these settings.

        A model may have another place than it had, which is remembered; it must be the same by its fingerprint.

        Raises:
            SearchError: it was made with other settings, or by another model.
        """
        folder, model = Path(folder), None
        about, config = record.read(folder), None if config is None else config.absolute()
        if about is None:
            config = config or IndexConfig().absolute()
            model = load_retrieval(config.source, find_device(device))
            # Another process may have been faster: its record counts, and this one's settings are held to it.
            about = record.write(folder, config, record.describe(model, config))
        if config is None or config == about.config:
            return cls(folder, about, about.config, model, device)
        if changes := describe_changes(replace(about.config, source=config.source), config):
            raise SearchError(
                f"{folder}: was made with other settings ({'; '.join(changes)}); leave them out, or name another index"
            )
        found = cls(folder, about, config, model or load_retrieval(config.source, find_device(device)), device)
        found.record = record.remember(folder, about, config)
        return found

    @classmethod
    def open(
        cls, folder: str | Path, config: IndexConfig | None = None, device: torch.device | str | None = None
    ) -> "VideoIndex":
        """Opens an index to search it.

        Args:
            folder: of the index.
            config: where the model is now, if it is not where it was; its fingerprint must be that of the index.
            device: for the model.

        Raises:
            SearchError: there is no index.
        """
        about = record.read(Path(folder))
        if about is None:
            raise SearchError(f"{folder}: expected an index, found none; litevl index VIDEOS --index {folder} makes it")
        return cls(Path(folder), about, about.config if config is None else config.absolute(), None, device)

    @cached_property
    def model(self) -> RetrievalModel:
        """The model, loaded when it is needed first.

        Raises:
            SearchError: it is not the one that made the index.
        """
        model = load_retrieval(self.config.source, self._device)
        self._check(model)
        return model

    @cached_property
    def store(self) -> VectorStore:
        """The vector store."""
        place = self.config.store or self.folder / "vectors"
        return VectorStore(place, f"litevl_{self.record.id}", self.record.maker.embed_dim)

    def _check(self, model: RetrievalModel) -> None:
        came = record.describe(model, self.config)
        if came.fingerprint != self.record.maker.fingerprint:
            raise SearchError(
                f"{self.folder}: was made by {self.record.maker}; the queries would come from {came}, whose embeddings "
                "mean something else; search with the model that made it, or make another index"
            )

    def update(
        self,
        *videos: str | Path,
        searchable: bool = True,
        on_bad: OnBad = "skip",
        workers: int | None = None,
        batch_size: int = 16,
        decode_timeout: float = DECODE_TIMEOUT,
        limit: float = math.inf,
        progress: bool = True,
    ) -> Update:
        """Encodes what has come or changed in folders (or files), forgets what is gone, and makes that searchable.

        Each video that is done stays done, whatever happens then; the next call goes on.

        Args:
            videos: folders or files; by default those that the index knows.
            searchable: put what is encoded into the vector store, and take out what is gone; False leaves it to `sync`.
            on_bad: what a video that can't be read does: `skip` names it and goes on, `error` stops.
            workers: processes that decode; by default as many as keep up with the model, see `decoding_workers`. With 0
                this process does, and a file on which a decoder hangs or crashes takes it along.
            batch_size: segments encoded at a time.
            decode_timeout: seconds that such a process may take to the next segment; then the video can't be read.
            limit: begin no more videos, and leave the one that is begun, after so many seconds.
            progress: show a bar with the time left.

        Raises:
            SearchError: another process is updating the index; the disk is full; or the limit is reached.
            VideoError: a video can't be read, and is not to be skipped.
        """
        if not 0 < decode_timeout < math.inf:
            raise SearchError(f"decode_timeout: expected more than 0 seconds, got {decode_timeout:g}")
        maker, config = self.record.maker, self.config

        def encoded(paths: Sequence[Path]) -> Iterable[EncodedVideo | BadFile | Progress]:
            # Not before there is something to encode: a look at an unchanged folder needs no model.
            cutter = Cutter(config.segments, maker.num_frames, maker.image_size, config.decoder)
            model, preprocess = self.model, PreprocessConfig(maker.image_size)
            encoder = Encoder(model, preprocess, batch_size, self.token_folder, config.tokens)
            number = decoding_workers(workers, self._device.type != "cpu")
            return encoder.encode(cutter.pieces(paths, number, decode_timeout))

        with self._writing():
            clean(self.token_folder, self.catalog.token_files())
            done = bring_up_to_date(self.catalog, list(map(Path, videos)), encoded, on_bad, limit, progress)
            clean(self.token_folder, self.catalog.token_files())
            if searchable:
                self._sync()
            return done

    def forget(self, *videos: str | Path) -> int:
        """Takes folders or files out of the index, whether they are still there or not; how many videos that were.

        Raises:
            SearchError: the index knows none of them; another process is updating it.
        """
        with self._writing():
            number = forget(self.catalog, [Path(video) for video in videos])
            clean(self.token_folder, self.catalog.token_files())
            self._sync()
            return number

    def sync(self) -> None:
        """Makes the vector store hold what is encoded, no more and no less.

        Raises:
            SearchError: another process is updating the index; or the disk is full.
        """
        with self._writing():
            self._sync()

    def _sync(self) -> None:
        wanted, there = self.catalog.segment_ids(), self.store.ids()
        if wanted == there:
            return
        self.store.add(self.catalog.vectors(sorted(wanted - there)))
        self.store.remove(sorted(there - wanted))
        self.store.tidy()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Within it no other process updates; what a full disk makes of it is said in words."""
        lock = FileLock(self.folder / "lock", timeout=0)
        try:
            with lock:
                yield
        except Timeout as error:
            raise SearchError(f"{self.folder}: another process is updating it; wait for that, or stop it") from error
        except OSError as error:
            raise SearchError(
                f"{self.folder}: can't be written ({error}); what was indexed before can be searched, and the next run "
                "goes on"
            ) from error

    @torch.inference_mode()
    def search(
        self,
        query: str,
        k: int = 10,
        rerank: int = 16,
        after: float | None = None,
        before: float | None = None,
    ) -> list[Hit]:
        """The segments that fit a text best, the best first; behind those that are matched those that can't be read.

        Args:
            query: what to look for.
            k: how many to find, at most.
            rerank: how many of the most similar are matched by cross-attention; 0 goes by similarity alone.
            after: only segments that reach beyond this second of their video.
            before: only segments that begin before this second of their video.

        Raises:
            SearchError: the index is of another model, or an empty query.
        """
        if not query.strip() or k < 1 or rerank < 0:
            raise SearchError(f"expected a text, k from 1 on and rerank from 0 on; got {query!r}, {k} and {rerank}")
        text = self.model.encode_text([query])
        hits = similar_hits(self, text, max(k, rerank), after, before)
        return [*rerank_hits(self, text, hits[:rerank]), *hits[rerank:]][:k]

    def unindexed(self) -> int:
        """Encoded segments that the vector store does not hold yet."""
        return self.catalog.counts()[1] - len(self.store)

    def pictures(self, hit: Hit, number: int | None = None) -> UInt8[np.ndarray, "time height width 3"]:
        """Frames of a segment as they are in the video: by default those that the model sees.

        Raises:
            VideoError: the video can't be read.
        """
        segment, number = Segment(hit.start, hit.end), number or self.record.maker.num_frames
        return self.call(read_segment, hit.path, segment, number, self.config.decoder)

    def clip(self, pictures: UInt8[np.ndarray, "time height width 3"]) -> Float[Tensor, "time 3 side side"]:
        """The pictures of a segment as the model takes them, on its device."""
        side = self.record.maker.image_size
        return normalize(resize_frames(pictures, side).to(self._device), PreprocessConfig(side))

    def explain(self, query: str, hit: Hit) -> Explanation:
        """Why a segment was found: what the query makes of each of its frames, and of each place in them.

        Raises:
            VideoError: the video can't be read.
        """
        pictures = self.pictures(hit)
        return explain(self.model, self.clip(pictures), pictures, query, hit)
