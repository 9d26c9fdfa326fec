"""The vector store: LanceDB, embedded in a folder by default, its server where an address is given.

recipes/benchmarks/RESULTS.md says why LanceDB and what it was compared with. A folder or an object store (`s3://...`)
is read and written by this process, any number of processes at once: every change is a new version, which readers see
whole or not at all. A `db://` address is LanceDB's server, spoken to by the same calls.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from .errors import SearchError

FLAT_UP_TO = 50_000
"""Vectors that are compared one by one; more get an index (IVF), which keeps whole vectors and looks into the nearest
cells."""
CELLS_LOOKED_INTO = 0.1
"""The share of an index's cells that a query looks into; RESULTS.md has what is found by it."""
AT_ONCE = 50_000
"""Rows written at a time."""
VERSIONS_KEPT = timedelta(minutes=10)
"""Earlier versions that a reader may still be in."""
MISSING = "the vector store is LanceDB, which is not installed; pip install 'litevl[search]'"

Row = tuple[int, float, float, Float32[np.ndarray, " dim"]]
"""A segment's id, start and end in seconds, and its normalised embedding."""


class VectorStore:
    """The embeddings of an index's segments.

    Args:
        place: a folder, an object store's address, or `db://NAME`, a LanceDB server, whose key and host come from the
            environment (LANCEDB_API_KEY, LANCEDB_HOST).
        name: of the table.
        dim: width of the embeddings.

    Raises:
        ImportError: LanceDB is not installed.
        SearchError: there is no such place, or the server does not answer.
    """

    def __init__(self, place: str | Path, name: str, dim: int):
        try:
            import lancedb
            import pyarrow
        except ImportError as error:
            raise ImportError(MISSING) from error
        self.place, self.name, self.dim = str(place), name, dim
        fields = {"id": pyarrow.int64(), "starts": pyarrow.float64(), "ends": pyarrow.float64()}
        self._schema = pyarrow.schema({**fields, "vector": pyarrow.list_(pyarrow.float32(), dim)})
        self._served = self.place.startswith("db://")
        if self._served:
            options: dict[str, Any] = {"host_override": os.environ.get("LANCEDB_HOST")}
        else:
            options = {"read_consistency_interval": timedelta(0)}  # each query sees what others wrote before it
        try:
            self._database = lancedb.connect(self.place, **options)
            self._table: Any = self._database.create_table(name, schema=self._schema, exist_ok=True)
        except (OSError, RuntimeError, ValueError) as error:
            raise SearchError(f"{self.place}: the vector store can't be opened ({first_line(error)})") from error

    def __len__(self) -> int:
        """How many segments it holds."""
        return self._read(self._table.count_rows)

    def ids(self) -> set[int]:
        """Of every segment that it holds."""
        number = len(self)
        if not number:
            return set()
        return set(self._read(self._table.search().select(["id"]).limit(number).to_arrow)["id"].to_pylist())

    def add(self, rows: Iterable[Row]) -> None:
        """Takes segments in.

        Raises:
            OSError: the disk is full, or may not be written; what was written before stays.
        """
        import pyarrow

        rows = iter(rows)
        while some := list(islice(rows, AT_ONCE)):
            ids, starts, ends, vectors = zip(*some, strict=True)
            flat = pyarrow.array(np.stack(vectors).ravel())
            columns = [pyarrow.array(ids), pyarrow.array(starts), pyarrow.array(ends)]
            columns.append(pyarrow.FixedSizeListArray.from_arrays(flat, self.dim))
            self._write(self._table.add, pyarrow.table(columns, schema=self._schema))

    def remove(self, ids: Sequence[int]) -> None:
        """Forgets segments.

        Raises:
            OSError: as `add`.
        """
        for place in range(0, len(ids), AT_ONCE):
            listed = ", ".join(map(str, ids[place : place + AT_ONCE]))
            self._write(self._table.delete, f"id IN ({listed})")

    def tidy(self) -> None:
        """Joins what was written in pieces, forgets old versions, and brings the index of a large store up to date.

        Raises:
            OSError: as `add`.
        """
        # First joined, then indexed: the other way round the index would be written twice. A server tidies by itself.
        if not self._served:
            self._write(self._table.optimize, cleanup_older_than=VERSIONS_KEPT)
        total = len(self)
        if total > FLAT_UP_TO and not self._table.list_indices():
            from lancedb.index import IvfFlat

            cells = IvfFlat(distance_type="dot", num_partitions=round(total**0.5))
            self._write(self._table.create_index, "vector", config=cells)

    def search(
        self,
        query: Float32[np.ndarray, " dim"],
        k: int,
        after: float | None = None,
        before: float | None = None,
    ) -> list[tuple[int, float]]:
        """The segments most similar to a query, with their cosine similarity, the most similar first.

        Args:
            query: normalised.
            k: how many, at most.
            after: only segments that end after this second of their video.
            before: only segments that begin before this second.

        Raises:
            SearchError: it can't be read, or its server does not answer.
        """
        wanted = self._table.search(query, vector_column_name="vector").distance_type("dot").limit(k)
        total = len(self)
        if total > FLAT_UP_TO:
            wanted = wanted.nprobes(max(1, round(CELLS_LOOKED_INTO * total**0.5)))
        bounds = [f"ends > {float(after)!r}"] if after is not None else []
        bounds += [f"starts < {float(before)!r}"] if before is not None else []
        if bounds:
            wanted = wanted.where(" AND ".join(bounds), prefilter=True)
        found = self._read(wanted.select(["id", "_distance"]).to_arrow)
        return list(zip(found["id"].to_pylist(), (1 - found["_distance"].to_numpy()).tolist(), strict=True))

    def _read(self, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except (OSError, RuntimeError) as error:
            raise SearchError(f"{self.place}: the vector store can't be read ({first_line(error)})") from error

    def _write(self, write: Callable[..., Any], *values: Any, **options: Any) -> None:
        # Lance's own errors, a full disk among them, come as RuntimeError with the cause in words.
        try:
            write(*values, **options)
        except RuntimeError as error:
            raise OSError(f"{self.place}: the vector store can't be written ({first_line(error)})") from error


def first_line(error: BaseException) -> str:
    """An error's first line, without the place in LanceDB's own source that follows."""
    return str(error).strip().partition("\n")[0].partition(", /")[0]
