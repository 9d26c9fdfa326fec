"""An index measured as a retrieval system, as recipes measure: how often a query finds its video among the first."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from tqdm import tqdm

from litevl.metrics import rank_statistics

from .index import VideoIndex
from .results import Hit


def evaluate(
    index: VideoIndex, queries: Sequence[str], videos: Sequence[Path], rerank: int = 128, progress: bool = True
) -> dict[str, Any]:
    """Text-to-video metrics of searches, named and counted as `litevl.evaluation` does.

    A video stands where the best of its segments stands; with videos cut to one segment (`whole`) the figures are those
    of a recipe's evaluation of the same model, split and k.

    Args:
        index: of the gallery.
        queries: the texts.
        videos: the file that each is of, with the path that the index knows.
        rerank: candidates of a query that are matched; 0 leaves matching out.
        progress: show a bar with the time left.

    Returns:
        `contrastive` and, with `rerank`, `reranked`: recall and ranks in percent.

    Raises:
        ValueError: a video is not in the index.
    """
    _, gallery, _ = index.catalog.counts()
    result: dict[str, Any] = {}
    for name, number in {"contrastive": 0, "reranked": rerank}.items():
        if name == "reranked" and not rerank:
            continue
        ranks = []
        for query, video in zip(tqdm(queries, desc=f"search, {name}", disable=not progress), videos, strict=True):
            ranks.append(rank_of(video, index.search(query, gallery, number), number))
        result[name] = {f"t2v_{key}": value for key, value in rank_statistics(_counted(ranks)).items()}
        result[name] |= {"t2v_queries": len(ranks), "t2v_gallery": index.catalog.counts()[0]}
    return result


def rank_of(video: Path, hits: Sequence[Hit], matched: int) -> int:
    """The rank of a video among those that a search found, from 1; a tie counts against it.

    Args:
        video: the right one.
        hits: every segment of the gallery, the best first.
        matched: so many of them were re-ranked, and stand before all others.
    """
    best: dict[Path, tuple[bool, float]] = {}
    for place, hit in enumerate(hits):
        best.setdefault(hit.path, (place < matched, hit.score))
    if video not in best:
        raise ValueError(f"{video}: expected a video of the index, found it nowhere")
    return sum(score >= best[video] for score in best.values())


def _counted(ranks: Sequence[int]) -> Int[np.ndarray, " queries"]:
    return np.array(ranks, dtype=np.int64)
