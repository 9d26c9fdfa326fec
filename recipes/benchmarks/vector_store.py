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
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import tyro
from stores import DIM, STORES, StoreName

from litevl.comparison.peak_memory import peak
from litevl.evaluation.report import rows_markdown, rows_table, show, write_section
from litevl.evaluation.stamp import describe_device

TITLE = "Vector stores"
CENTRES = 1000


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
    small: bool = False
    """Two hundred vectors: shows in seconds that the programs run, and nothing about speed."""
    device: str | None = None
    """Of no account: stores run on the CPU. Taken as `every.py` gives it to all programs."""
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


def main(config: StoreConfig, command: str = "python recipes/benchmarks/vector_store.py") -> list[Row]:
    """Measures, and prints the table."""
    sizes = (200,) if config.small else config.sizes
    rows = [measure(config, store, size) for size in sizes for store in config.stores]
    cells = [
        ["store", "vectors", f"recall@{config.k}", "query, ms", "exact, ms", "fill, s", "open, s", "MB", "MB held"]
    ]
    for row in rows:
        figures = (row.recall, row.milliseconds, row.exact, row.fill, row.open, row.megabytes, row.memory)
        digits = (3, 1, 1, 1, 1, 0, 0)
        shown = ["given up" if x is None else f"{x:,.{n}f}" for x, n in zip(figures, digits, strict=True)]
        cells.append([row.store, f"{row.vectors:,}", *shown])
    where = f"{describe_device(torch.device('cpu'))}, Python {platform.python_version()}"
    text = f"By `{command}` on {date.today():%Y-%m-%d}, on {where}; {config.queries} queries."
    show(rows_table(TITLE, cells))
    print(text)
    if config.markdown is not None:
        write_section(config.markdown, TITLE, f"{text}\n\n{rows_markdown(cells)}")
    if config.json is not None:
        # Nothing was set out to be reached.
        told = {"title": TITLE, "command": command, "rows": [{**asdict(row), "reach": None} for row in rows]}
        config.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
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
    times, found = zip(*[timed(partial(opened.ask, query, k)) for query in questions], strict=True)
    held = (peak() - before) / 1e6
    vectors = torch.from_numpy(clustered(size, 0))
    compare = [timed(partial(nearest, vectors, query, k)) for query in torch.from_numpy(questions)]
    right = sum(len(set(mine) & set(true.tolist())) for mine, (_, true) in zip(found, compare, strict=True))
    return {
        "recall": right / (queries * k),
        "milliseconds": 1000 * statistics.median(times),
        "exact": 1000 * statistics.median(took for took, _ in compare),
        "open": first,
        "memory": held,
    }


def nearest(vectors: torch.Tensor, query: torch.Tensor, k: int) -> torch.Tensor:
    """The nearest of all vectors, each compared."""
    return (vectors @ query).topk(k).indices


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


if __name__ == "__main__":
    main(
        tyro.cli(StoreConfig, description=__doc__),
        shlex.join(["python", "recipes/benchmarks/vector_store.py", *sys.argv[1:]]),
    )
