"""Searching the embedded corpus: an index of its test clips, measured as a retrieval system, and what it finds drawn.

    python recipes/search_corpus.py --adapter runs/first
    python recipes/search_corpus.py --adapter runs/first --picture recipes/pictures/search.png
    python recipes/search_corpus.py --adapter runs/first --no-measure --page recipes/pictures/page.png

The clips go through all that `litevl index` and `litevl search` do: decoded by workers, embeddings in the vector store,
tokens on disk in float16, every caption a search. Beside it stands the recipes' own evaluation of the same model in the
same process, which knows nothing of an index; the columns are equal where the index loses nothing. Without --adapter it
is the frozen backbone, frame by frame. A minute on two idle cores.
"""

import io
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import tyro
from accelerate import Accelerator
from PIL import Image

from litevl.data.retrieval import Gallery, RetrievalData, RetrievalDataConfig, load_retrieval_data
from litevl.evaluation.report import rows_table, show
from litevl.evaluation.retrieval import summarise
from litevl.evaluation.scoring import score_gallery
from litevl.search import IndexConfig, SegmentConfig, VideoIndex
from litevl.search.contact_sheet import check_picture, contact_sheet
from litevl.search.evaluation import evaluate
from litevl.search.options import Precision
from litevl.serve.beside import chromium, serving
from litevl.tasks.saved import Source
from litevl.training import preprocessing

METRICS = ("t2v_r1", "t2v_r5", "t2v_r10", "t2v_mdr")


@dataclass(frozen=True)
class SearchConfig:
    """The model, and how it searches."""

    adapter: Path | None = None
    """The folder of a finished run of retrieval; by default the frozen backbone, frame by frame."""
    backbone: str | None = None
    """Where the backbone is, if it is not where it was in training."""
    num_frames: int = 6
    """Of a clip; as in training."""
    rerank: int = 32
    """Candidates of a query that are matched, in the index and in the recipes' evaluation."""
    tokens: Precision = "float16"
    """Of the tokens that are kept."""
    workers: int = 2
    """Processes that decode."""
    measure: bool = True
    """Search for every caption; with --no-measure only the picture is drawn."""
    query: str = "a blue circle moves to the right"
    """What to look for, for the picture."""
    picture: Path | None = None
    """Draw what is found into this file."""
    page: Path | None = None
    """Open the page of `litevl serve` in headless Chromium, search there, and draw it into this PNG file."""
    data: RetrievalDataConfig = field(default_factory=RetrievalDataConfig)
    """The data set; by default the embedded corpus as MSR-VTT."""


def main(config: SearchConfig) -> dict[str, Any]:
    """Indexes, searches and evaluates; the metrics of both ways."""
    check_picture(config.picture)
    check_picture(config.page)
    data = load_retrieval_data(config.data, training=False)
    with TemporaryDirectory() as folder:
        settings = IndexConfig(
            Source(config.backbone, config.adapter), SegmentConfig("whole"), config.num_frames, config.tokens
        )
        index = VideoIndex.create(Path(folder) / "index", settings)
        files = {video.video_id: data.folder.resolve(video.key).resolve() for video in data.splits["test"]}
        done = index.update(*files.values(), workers=config.workers)
        result = measured(index, data, files, config) if config.measure else {}
        print(f"{done.segments} clips indexed in {done.seconds:.1f} s")
        if config.picture is not None:
            hits = index.search(config.query, k=4, rerank=config.rerank)
            contact_sheet(index, config.query, hits).save(config.picture)
            print(config.picture)
        if config.page is not None:
            draw_page(index, config.query, config.page)
            print(config.page)
    return result


def draw_page(index: VideoIndex, query: str, path: Path) -> None:
    """Draws the page as somebody sees it who searched.

    Raises:
        RuntimeError: there is no Chromium.
    """
    from playwright.sync_api import sync_playwright

    found = chromium()
    with serving(index.folder) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1080, "height": 900})
        page.set_default_timeout(120_000)
        page.goto(address)
        page.fill("#query input", query)
        page.keyboard.press("Enter")
        page.wait_for_selector("#why figure")
        page.wait_for_function("document.querySelector('#player video').currentTime > 1")
        drawn = Image.open(io.BytesIO(page.screenshot(full_page=True)))
        browser.close()
    # Few colours make a small file, which a repository keeps.
    drawn.convert("RGB").quantize(128).save(path, optimize=True)


def measured(index: VideoIndex, data: RetrievalData, files: dict[str, Path], config: SearchConfig) -> dict[str, Any]:
    """The metrics of searches beside those of the recipes' evaluation, which are also printed."""
    wanted = [(text, files[video.video_id]) for video in data.splits["test"] for text in video.captions]
    start = time.perf_counter()
    found = evaluate(index, [text for text, _ in wanted], [path for _, path in wanted], config.rerank)
    each = 1000 * (time.perf_counter() - start) / (len(found) * len(wanted))
    expected = evaluated(index, data, config)
    report(found, expected, f"{each:.0f} ms a search")
    return {"index": found, "evaluation": expected}


def evaluated(index: VideoIndex, data: RetrievalData, config: SearchConfig) -> dict[str, Any]:
    """The recipes' evaluation of the index's model on the same split."""
    model = index.model
    gallery = Gallery(
        data,
        "test",
        num_frames=config.num_frames,
        preprocess=preprocessing(model),
        batch_size=50,
        workers=config.workers,
        device=torch.device(model.device),
    )
    accelerator = Accelerator()
    scores = score_gallery(
        model, gallery.texts, gallery.text_ids, gallery, accelerator, k=config.rerank, pair_batch=256
    )
    return summarise(scores, {})


def report(found: dict[str, Any], expected: dict[str, Any], said: str) -> None:
    """Prints both ways side by side."""
    cells = [["metric", "index", "evaluation"]]
    for kind in found:
        cells += [[f"{kind}, {name}", f"{found[kind][name]:.1f}", f"{expected[kind][name]:.1f}"] for name in METRICS]
    show(rows_table("Text to video, by searching and by the recipes' evaluation", cells))
    print(said)


if __name__ == "__main__":
    main(tyro.cli(SearchConfig, description=__doc__))
