"""Many people searching at once: a server of the embedded corpus's test clips, and clients that ask without a pause.

    python recipes/benchmarks/load.py
    python recipes/benchmarks/load.py --address http://127.0.0.1:7860 --clients 50 --seconds 60

The server is `litevl serve` in a process of its own, on loopback; each client speaks to it as the page does, waits for
its answer and asks the next. Every answer is compared with what the same index answers alone, before: a search that was
lost, or another's, stops the benchmark with an error.
"""

import json
import shlex
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import numpy as np
import torch
import tyro

from litevl.devices import find_device
from litevl.evaluation.report import rows_markdown, rows_table, show, write_section
from litevl.evaluation.stamp import describe_device
from litevl.serve.beside import serving

TITLE = "Searches at once"
QUERIES = tuple(
    f"{article} {colour} {shape} {movement}"
    for article in ("a", "the")
    for colour in ("red", "blue", "green", "yellow")
    for shape in ("square", "circle", "star", "triangle")
    for movement in ("moves to the left", "moves to the right", "grows", "appears first")
)
PATIENCE = 120.0
"""Seconds that a client waits for one answer."""


@dataclass(frozen=True)
class LoadConfig:
    """How many ask for how long."""

    clients: int = 50
    """That search at the same time."""
    seconds: float = 60.0
    """For which they begin new searches."""
    address: str | None = None
    """A server that runs already; by default one is started, on `videos`."""
    videos: int = 200
    """Clips of the embedded corpus's test split that the server's index holds."""
    adapter: Path | None = None
    """The folder of a finished run of retrieval; by default the frozen backbone, frame by frame."""
    device: str | None = None
    """Of the server that is started; by default a GPU where there is one."""
    small: bool = False
    """A few clients for two seconds: shows that the program runs, and nothing about speed."""
    markdown: Path | None = None
    """Also write the figures into this page, in place of earlier ones."""
    json: Path | None = None
    """Also write the figures, unrounded."""

    @property
    def queries(self) -> tuple[str, ...]:
        """What is searched for."""
        return QUERIES[::8] if self.small else QUERIES

    @property
    def on(self) -> torch.device:
        """The device."""
        return find_device(self.device)


@dataclass(frozen=True)
class Load:
    """What came out."""

    searches: int
    lost: int
    """Searches that were not answered, or not with what they asked for."""
    seconds: float
    """Until the last answer."""
    milliseconds: dict[str, float]
    """That an answer took: p50, p95 and the longest."""
    alone: float
    """Milliseconds that one client, alone, waited at the median."""


def main(config: LoadConfig, command: str = "python recipes/benchmarks/load.py") -> Load:
    """Asks, and prints the figures.

    Raises:
        RuntimeError: a search was lost.
    """
    with asked_server(config) as address:
        expected, alone = answers_alone(address, config.queries)
        took, lost, seconds = ask_at_once(config, address, expected)
    if not took:
        raise RuntimeError(f"expected answers, got none; the first loss: {lost[0]}")
    p50, p95 = np.percentile(took, [50, 95]).tolist()
    found = Load(len(took) + len(lost), len(lost), seconds, {"p50": p50, "p95": p95, "max": max(took)}, alone)
    cells = [["clients", "searches", "lost", "a second", "p50, ms", "p95, ms", "longest, ms", "one alone, p50, ms"]]
    figures = [f"{value:,.0f}" for value in (*found.milliseconds.values(), alone)]
    cells.append([str(config.clients), f"{found.searches:,}", str(found.lost), f"{len(took) / seconds:.1f}", *figures])
    show(rows_table(TITLE, cells, words=0))
    where = describe_device(config.on)
    text = (
        f"By `{command}` on {date.today():%Y-%m-%d}, on {where}: {config.clients} clients for "
        f"{config.seconds:g} seconds, without a pause between their searches; clients and server share the machine."
    )
    print(text)
    if config.markdown is not None:
        write_section(config.markdown, TITLE, f"{text}\n\n{rows_markdown(cells)}")
    if config.json is not None:
        row = {"work": TITLE, "against": "", "reach": None, **asdict(found)}
        config.json.write_text(json.dumps({"title": TITLE, "command": command, "rows": [row]}, indent=2) + "\n")
    if lost:
        raise RuntimeError(f"{len(lost)} of {found.searches:,} searches were lost; the first: {lost[0]}")
    return found


def ask_at_once(
    config: LoadConfig, address: str, expected: dict[str, list[int]]
) -> tuple[list[float], list[str], float]:
    """Milliseconds of each search, what was lost, and how long all of it took."""
    took: list[float] = []
    lost: list[str] = []
    began = time.perf_counter()

    def client(number: int) -> None:
        with httpx.Client(timeout=PATIENCE) as http:
            place = number
            while time.perf_counter() - began < config.seconds:
                query = config.queries[place % len(config.queries)]
                place += config.clients + 1
                start = time.perf_counter()
                try:
                    came = search(http, address, query)
                    if came != expected[query]:
                        raise ValueError(f"{query!r}: expected segments {expected[query]}, got {came}")
                    took.append(1000 * (time.perf_counter() - start))
                except (httpx.HTTPError, LookupError, ValueError) as error:
                    lost.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=client, args=(number,)) for number in range(config.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return took, lost, time.perf_counter() - began


def answers_alone(address: str, queries: Sequence[str]) -> tuple[dict[str, list[int]], float]:
    """What each query is answered when nobody else asks, and how long that takes at the median."""
    expected, took = {}, []
    with httpx.Client(timeout=PATIENCE) as http:
        for query in queries:
            start = time.perf_counter()
            expected[query] = search(http, address, query)
            took.append(1000 * (time.perf_counter() - start))
    if not all(expected.values()):
        raise RuntimeError(f"{address}: expected an index that holds videos, got one that finds nothing")
    return expected, float(np.median(took))


def search(http: httpx.Client, address: str, query: str) -> list[int]:
    """The ids of the segments that the page would list."""
    asked = http.post(f"{address.rstrip('/')}/gradio_api/run/search", json={"data": [query, "", ""]})
    told: Any = asked.raise_for_status().json()
    return [hit["id"] for hit in told["data"][1]]


@contextmanager
def asked_server(config: LoadConfig) -> Iterator[str]:
    """The address of the server that is asked: one that runs already, or one of its own."""
    if config.address is not None:
        yield config.address
        return
    from litevl.data.retrieval import RetrievalDataConfig, load_retrieval_data
    from litevl.search import IndexConfig, SegmentConfig, VideoIndex
    from litevl.tasks.saved import Source

    with TemporaryDirectory() as folder:
        data = load_retrieval_data(RetrievalDataConfig(), training=False)
        files = [data.folder.resolve(video.key) for video in data.splits["test"]][: config.videos]
        settings = IndexConfig(Source(adapter=config.adapter), SegmentConfig("whole"))
        VideoIndex.create(Path(folder) / "index", settings, config.on).update(*files)
        with serving(Path(folder) / "index", "--device", str(config.on)) as address:
            yield address


if __name__ == "__main__":
    given = tyro.cli(LoadConfig, description=__doc__)
    if given.small:
        given = replace(given, clients=4, seconds=2.0, videos=20)
    main(given, shlex.join(["python", "recipes/benchmarks/load.py", *sys.argv[1:]]))
