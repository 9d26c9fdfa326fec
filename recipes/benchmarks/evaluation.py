"""Scoring a whole evaluation, both directions: what is matched, how long it takes, and how it grows.

    python recipes/benchmarks/evaluation.py
    python recipes/benchmarks/evaluation.py --markdown recipes/benchmarks/RESULTS.md

BLIP's protocol matches the k best of each text and the k best of each video, pair by pair, each direction on its own.
Here a pair that both want is matched once, and a video's texts together. Stage one is done whole, on random embeddings;
of stage two as many videos as asked for, each with all the texts that want it, and as many pairs of BLIP's loop as
`rerank.py` takes. Without hubs, as here, the directions want nearly the same pairs; so the ratio is also told for the
worst case, that no pair is wanted by both. Full-size models with random weights.
"""

import shlex
import sys
import time
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from rerank import FRAMES, PAIRS, captions, model_of, padded
from side_by_side import Config, Row, measure, report, require_equal

from litevl.evaluation.report import rows_markdown, rows_table, show, write_section
from litevl.evaluation.shortlist import pairs_of, shortlist
from litevl.models.features import VideoFeatures

TITLE, GROWTH = "A whole evaluation", "How an evaluation grows"
DIM = 256


@dataclass(frozen=True)
class EvaluationBenchmark(Config):
    """Where and how long."""

    items: int = 1000
    """Videos, and as many texts."""
    k: int = 128
    """Candidates of a query that are matched."""
    videos: int = 2
    """Videos whose pairs are matched and timed."""
    growth: tuple[int, ...] = (1000, 4000, 16000)
    """Numbers of videos, and of texts, that stage one is done for."""


def main(config: EvaluationBenchmark, command: str = "python recipes/benchmarks/evaluation.py") -> list[Row]:
    """Measures, and prints the tables."""
    pairs = wanted_pairs(config.items, config.k)
    # Videos in the middle by how many texts want them.
    wanting = np.sort(np.bincount(pairs // config.items, minlength=config.items))
    counts = wanting[(config.items - config.videos) // 2 :][: config.videos].tolist()
    model = model_of(config)
    text = captions(model, max(counts))
    few, pixels = padded(text[:PAIRS]), torch.randn(1, FRAMES, 3, model.image_size, model.image_size)
    with torch.inference_mode():
        video = model.encode_video(pixels.to(config.on))
        parts = [text[:count] for count in counts]
        repeated = VideoFeatures.cat([video] * PAIRS)
        require_equal("scores", model.match_video(few, video), model.match_pairs(few, repeated), 1e-4)
    works = {
        "by video": lambda: [model.match_video(part, video) for part in parts],
        "by video, with its encoding": lambda: [
            (model.encode_video(pixels.to(config.on)), model.match_video(part, video)) for part in parts
        ],
        "BLIP's protocol": lambda: model.match_pairs(few, repeated),
    }
    # In units of one video's share of the evaluation: 2k pairs by BLIP's protocol.
    share = PAIRS / (2 * min(config.k, config.items))
    units = {"by video": len(parts), "by video, with its encoding": len(parts), "BLIP's protocol": share}
    reach = {"by video": 0.06, "by video, with its encoding": 0.10}
    rows = measure(config, works, "BLIP's protocol", units=units, reach=reach)
    matched = rows[0].ratio
    worst = matched * (2 * min(config.k, config.items) * config.items / len(pairs))
    said = (
        f"{config.items:,} videos and as many texts, k = {config.k}: {len(pairs):,} pairs, where BLIP's protocol "
        f"matches {2 * config.k * config.items:,}; a video's share of it, measured on {config.videos} with their "
        f"{' and '.join(map(str, counts))} texts, in float32. Were no pair wanted by both directions, "
        f"the ratios would be {worst:.3f} and {worst + rows[1].ratio - matched:.3f}."
    )
    report(TITLE, rows, config, command, said)
    grow(config, command)
    return rows


def grow(config: EvaluationBenchmark, command: str) -> list[list[str]]:
    """Stage one, and the pairs that it hands on, at several sizes."""
    cells = [["videos = texts", "stage one, s", "pairs matched", "pairs a query", "shortlists, MB", "whole matrix, MB"]]
    for items in config.growth:
        start = time.perf_counter()
        pairs = wanted_pairs(items, config.k)
        seconds = time.perf_counter() - start
        kept = 2 * items * min(config.k, items) * 12 / 1e6
        figures = [f"{items:,}", f"{seconds:.1f}", f"{len(pairs):,}", f"{len(pairs) / (2 * items):.1f}"]
        cells.append([*figures, f"{kept:.0f}", f"{items**2 * 4 / 1e6:,.0f}"])
    show(rows_table(GROWTH, cells, words=0))
    if config.markdown is not None:
        write_section(config.markdown, GROWTH, f"By `{command}`, k = {config.k}.\n\n{rows_markdown(cells)}")
    return cells


def wanted_pairs(items: int, k: int) -> np.ndarray:
    """The pairs that random embeddings want matched, as `litevl.evaluation.scoring` makes them."""
    generator = torch.Generator().manual_seed(0)
    texts, videos = (F.normalize(torch.randn(items, DIM, generator=generator), dim=-1) for _ in range(2))
    ids = [str(number) for number in range(items)]
    of_text, of_video = pairs_of(shortlist(texts, videos, ids, ids, k), shortlist(videos, texts, ids, ids, k))
    return np.unique(np.concatenate([of_text.ravel(), of_video.ravel()]))


if __name__ == "__main__":
    found = tyro.cli(EvaluationBenchmark, description=__doc__)
    if found.small:
        found = replace(found, items=200, k=32, growth=(200, 400))
    main(found, shlex.join(["python", "recipes/benchmarks/evaluation.py", *sys.argv[1:]]))
