"""Embedded vector stores, each filled and asked as its documentation has it, for `vector_store.py` to measure."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from litevl.search.store import VectorStore

DIM = 256
NAME = "segments"

StoreName = Literal["litevl", "qdrant", "milvus", "chroma"]


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


def pieces(vectors: np.ndarray, length: int) -> Iterator[tuple[int, np.ndarray]]:
    """The vectors some at a time, each piece with the number of its first."""
    for first in range(0, len(vectors), length):
        yield first, vectors[first : first + length]


STORES: dict[str, Callable[[Path], Store]] = {
    "litevl": Litevl,
    "qdrant": Qdrant,
    "milvus": Milvus,
    "chroma": Chroma,
}
