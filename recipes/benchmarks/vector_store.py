"""Vector stores: what of the true nearest they find, and how long that takes, against comparing with every vector.

    python recipes/benchmarks/vector_store.py
    python recipes/benchmarks/vector_store.py --sizes 1000 100000 1000000 --markdown recipes/benchmarks/RESULTS.md

`litevl` is `litevl.search.store.VectorStore` as searches use it, LanceDB in a folder. `qdrant`, `milvus` and `chroma`
are the stores it was chosen among, each embedded and as its documentation has it; they need `pip install
qdrant-client`, `'pymilvus[milvus-lite]'` and `chromadb`. Vectors of 256 are a thousand centres with noise around them,
which is how embeddings of videos lie more than random ones do. Every store is filled by one process and asked by
another, so that what opening it costs is seen. A million vectors take 1 GB in each process beside the store.
"""

import json
import multiprocessing
import platform
import shlex
import statistics
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch
import tyro

from litevl.comparison.peak_memory import peak
from litevl.evaluation.report import rows_markdown, rows_table, show, write_section
from litevl.evaluation.stamp import describe_device
from litevl.search.store import VectorStore

TITLE = "Vector stores"
DIM, CENTRES = 256, 1000
NAME = "segments"

StoreName = Literal["litevl", "qdrant", "milvus", "chroma"]


@dataclass(frozen=True)
class StoreConfig:
    """Which stores, how large, and how often they are asked."""

    stores: tuple[StoreName, ...] = ("litevl",)
    """Stores to measure."""
    sizes: tuple[int, ...] = (1000, 100_000)
    """Numbers of vectors."""
    queries: int = 50
    """Queries, each asked once."""
    k: int = 10
    """Nearest vectors that are asked for."""
    seconds: float = 1800.0
    """Give a store up that is not filled or asked after so long; it is said in the table."""
    markdown: Path | None = None
    """Also write the table into this page, in place of an earlier one."""
    json: Path | None = None
    """Also write the figures, unrounded."""


@dataclass(frozen=True)
class Row:
    """One store at one size; without figures where it was given up."""

    store: str
    vectors: int
    recall: float | None = None
    """The share of the k nearest that it found."""
    milliseconds: float | None = None
    """Of a query, the median."""
    exact: float | None = None
    """Milliseconds of the comparison with every vector, in memory, in the same process."""
    fill: float | None = None
    """Seconds to take all vectors in, index included."""
    open: float | None = None
    """Seconds until the first query is answered by a new process, imports included."""
    megabytes: float | None = None
    """On disk."""
    memory: float | None = None
    """The most megabytes that the asking process held, beyond what it held before it opened the store."""


class Store(ABC):
    """One embedded store."""

    def __init__(self, folder: Path):
        self.folder = folder

    @abstractmethod
    def fill(self, vectors: np.ndarray) -> None:
        """Takes all vectors in under their numbers, with a start time beside each, as a segment has."""

    @abstractmethod
    def ask(self, query: np.ndarray, k: int) -> list[int]:
        """The numbers of the nearest."""


class Litevl(Store):
    """LanceDB, as `litevl search` uses it."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self._store = VectorStore(folder, NAME, DIM)

    def fill(self, vectors: np.ndarray) -> None:
        """In pieces, then the index."""
        self._store.add((number, float(number), number + 1.0, vector) for number, vector in enumerate(vectors))
        self._store.tidy()

    def ask(self, query: np.ndarray, k: int) -> list[int]:
        """As a search does."""
        return [number for number, _ in self._store.search(query, k)]


class Qdrant(Store):
    """Qdrant's local mode: its API in Python, every vector compared."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        from qdrant_client import QdrantClient

        self._client = QdrantClient(path=str(folder))

    def fill(self, vectors: np.ndarray) -> None:
        """In pieces of a thousand."""
        from qdrant_client import models

        space = models.VectorParams(size=DIM, distance=models.Distance.COSINE)
        self._client.create_collection(NAME, vectors_config=space)
        for first, some in pieces(vectors, 1000):
            numbered = enumerate(some.tolist(), first)
            points = [models.PointStruct(id=at, vector=each, payload={"start": float(at)}) for at, each in numbered]
            self._client.upsert(NAME, points)
        self._client.close()

    def ask(self, query: np.ndarray, k: int) -> list[int]:
        """Exact."""
        return [int(point.id) for point in self._client.query_points(NAME, query=query.tolist(), limit=k).points]


class Milvus(Store):
    """Milvus Lite, with an HNSW index."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        from pymilvus import MilvusClient

        self._client = MilvusClient(str(folder / "milvus.db"))
        if self._client.has_collection(NAME):
            self._client.load_collection(NAME)

    def fill(self, vectors: np.ndarray) -> None:
        """In pieces of five thousand."""
        from pymilvus import DataType, MilvusClient

        schema = MilvusClient.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
        schema.add_field("start", DataType.FLOAT)
        index = self._client.prepare_index_params()
        index.add_index("vector", index_type="HNSW", metric_type="COSINE", params={"M": 16, "efConstruction": 200})
        self._client.create_collection(NAME, schema=schema, index_params=index)
        for first, some in pieces(vectors, 5000):
            rows = [{"id": at, "vector": each, "start": float(at)} for at, each in enumerate(some, first)]
            self._client.insert(NAME, rows)
        self._client.flush(NAME)
        self._client.close()

    def ask(self, query: np.ndarray, k: int) -> list[int]:
        """By the index."""
        (found,) = self._client.search(NAME, [query], limit=k, search_params={"params": {"ef": 128}})
        return [int(each["id"]) for each in found]


class Chroma(Store):
    """Chroma's persistent client, with its HNSW index."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        import chromadb

        client = chromadb.PersistentClient(str(folder), settings=chromadb.Settings(anonymized_telemetry=False))
        options: Any = {"hnsw": {"space": "ip", "ef_search": 128, "ef_construction": 200, "max_neighbors": 16}}
        self._collection = client.get_or_create_collection(NAME, configuration=options, embedding_function=None)

    def fill(self, vectors: np.ndarray) -> None:
        """In pieces of five thousand."""
        for first, some in pieces(vectors, 5000):
            numbers = range(first, first + len(some))
            starts: Any = [{"start": float(at)} for at in numbers]
            self._collection.add(ids=[str(at) for at in numbers], embeddings=some, metadatas=starts)

    def ask(self, query: np.ndarray, k: int) -> list[int]:
        """By the index."""
        found = self._collection.query(query_embeddings=[query], n_results=k, include=["distances"])
        return [int(name) for name in found["ids"][0]]


STORES: dict[str, Callable[[Path], Store]] = {
    "litevl": Litevl,
    "qdrant": Qdrant,
    "milvus": Milvus,
    "chroma": Chroma,
}


def main(config: StoreConfig, command: str = "python recipes/benchmarks/vector_store.py") -> list[Row]:
    """Measures, and prints the table."""
    rows = [measure(config, store, size) for size in config.sizes for store in config.stores]
    cells = [
        ["store", "vectors", f"recall@{config.k}", "query, ms", "exact, ms", "fill, s", "open, s", "MB", "MB held"]
    ]
    for row in rows:
        figures = (row.recall, row.milliseconds, row.exact, row.fill, row.open, row.megabytes, row.memory)
        digits = (3, 1, 1, 1, 1, 0, 0)
        told = ["given up" if x is None else f"{x:,.{n}f}" for x, n in zip(figures, digits, strict=True)]
        cells.append([row.store, f"{row.vectors:,}", *told])
    where = f"{describe_device(torch.device('cpu'))}, Python {platform.python_version()}"
    text = f"By `{command}` on {date.today():%Y-%m-%d}, on {where}; {config.queries} queries."
    show(rows_table(TITLE, cells))
    print(text)
    if config.markdown is not None:
        write_section(config.markdown, TITLE, f"{text}\n\n{rows_markdown(cells)}")
    if config.json is not None:
        config.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")
    return rows


def measure(config: StoreConfig, store: str, size: int) -> Row:
    """Fills a store in one process and asks it in another."""
    with TemporaryDirectory() as folder:
        try:
            fill = in_process(config, filled, store, size, Path(folder))
            asked = in_process(config, asked_of, store, size, Path(folder), config.queries, config.k)
        except multiprocessing.TimeoutError:
            return Row(store, size)
        megabytes = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / 1e6
        return Row(store, size, fill=fill, megabytes=megabytes, **asked)


def in_process(config: StoreConfig, work: Callable[..., Any], *values: Any) -> Any:
    """What a work gives in a process of its own, with as many threads as here."""
    with multiprocessing.get_context("spawn").Pool(1, torch.set_num_threads, (torch.get_num_threads(),)) as pool:
        return pool.apply_async(work, values).get(config.seconds)


def filled(store: str, size: int, folder: Path) -> float:
    """Fills a store; the seconds it took."""
    vectors, opened = clustered(size, 0), STORES[store](folder)
    start = time.perf_counter()
    opened.fill(vectors)
    return time.perf_counter() - start


def asked_of(store: str, size: int, folder: Path, queries: int, k: int) -> dict[str, float]:
    """What a store answers, and how long it takes."""
    questions = clustered(queries, 1)
    before, start = peak(), time.perf_counter()
    opened = STORES[store](folder)
    opened.ask(questions[0], k)
    first = time.perf_counter() - start
    times, found = zip(*[timed(lambda query=query: opened.ask(query, k)) for query in questions], strict=True)
    held = (peak() - before) / 1e6
    vectors = torch.from_numpy(clustered(size, 0))
    compare = [timed(lambda query=query: (vectors @ query).topk(k).indices) for query in torch.from_numpy(questions)]
    right = sum(len(set(mine) & set(true.tolist())) for mine, (_, true) in zip(found, compare, strict=True))
    return {
        "recall": right / (queries * k),
        "milliseconds": 1000 * statistics.median(times),
        "exact": 1000 * statistics.median(took for took, _ in compare),
        "open": first,
        "memory": held,
    }


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that a work takes, and what it gives."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def clustered(number: int, seed: int) -> np.ndarray:
    """Normalised vectors around the centres, which are the same for every seed."""
    centres = np.random.default_rng(0).standard_normal((CENTRES, DIM), dtype=np.float32)
    random = np.random.default_rng([seed, number])
    vectors = centres[random.integers(CENTRES, size=number)]
    vectors += random.standard_normal((number, DIM), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def pieces(vectors: np.ndarray, length: int) -> Iterator[tuple[int, np.ndarray]]:
    """The vectors some at a time, each piece with the number of its first."""
    for first in range(0, len(vectors), length):
        yield first, vectors[first : first + length]


if __name__ == "__main__":
    main(
        tyro.cli(StoreConfig, description=__doc__),
        shlex.join(["python", "recipes/benchmarks/vector_store.py", *sys.argv[1:]]),
    )
