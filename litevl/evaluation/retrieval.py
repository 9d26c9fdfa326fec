"""Evaluating text-video retrieval: the metrics of a split with the protocol that made them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from litevl.metrics import intervals_of_ranks, metrics_of_ranks, ranks

from .scoring import Scores


@dataclass(frozen=True)
class EvaluationConfig:
    """How a split is scored."""

    k: int = 128
    """Candidates of each query that are re-ranked by matching; 0 leaves re-ranking out. BLIP uses 128."""
    batch_size: int = 16
    """Clips encoded at a time."""
    pair_batch: int = 64
    """Pairs of text and video matched at a time."""
    bootstrap: int = 0
    """Resamples of a bootstrap over queries; with 1000, say, each metric gets a 95% interval."""
    workers: int = 2
    """Processes that decode."""


def ranks_of(scores: Scores) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Ranks of every text and of every video, per kind of score.

    Returns:
        `contrastive` and `reranked`, each with the ranks of the texts' videos (t2v) and of the videos' texts (v2t).
    """
    matrices = {
        "contrastive": (scores.contrastive, scores.contrastive),
        "reranked": (scores.reranked_t2v, scores.reranked_v2t),
    }
    return {
        kind: (
            ranks(t2v, scores.text_ids, scores.video_ids),
            ranks(v2t.T, scores.video_ids, scores.text_ids),
        )
        for kind, (t2v, v2t) in matrices.items()
    }


def summarise(scores: Scores, groups: Mapping[str, str], bootstrap: int = 0, seed: int = 0) -> dict[str, Any]:
    """The metrics of one evaluation.

    Args:
        scores: of every text with every video.
        groups: a group for each video id (MSR-VTT's category); each group's t2v R@1 is given on its own.
        bootstrap: resamples for 95% intervals; 0 for none.
        seed: of the bootstrap.

    Returns:
        `contrastive` and `reranked` metrics, named with their direction, in percent.
    """
    result: dict[str, Any] = {}
    for kind, (t2v, v2t) in ranks_of(scores).items():
        metrics: dict[str, Any] = dict(metrics_of_ranks(t2v, v2t))
        of_text = np.array([groups.get(name, "") for name in scores.text_ids])
        if len(names := sorted(set(of_text.tolist()) - {""})) > 1:
            metrics["t2v_r1_by_category"] = {name: 100 * float((t2v[of_text == name] == 1).mean()) for name in names}
        if bootstrap:
            metrics["intervals"] = intervals_of_ranks(
                (t2v, v2t), (scores.text_ids, scores.video_ids), resamples=bootstrap, seed=seed
            )
        result[kind] = metrics
    return result


def order_accuracy(scores: Scores, pairs: Sequence[tuple[str, str]]) -> dict[str, float]:
    """How often a clip is told from its time-reversed partner: its (first) caption scores above the other's.

    Args:
        scores: of every text with every video.
        pairs: video ids of clips that are each other's reversal.

    Returns:
        Percent of both clips of every pair, by kind of score; 50 is chance and a tie counts half. Empty without pairs.
    """
    column = {name: index for index, name in enumerate(scores.video_ids)}
    row = {name: index for index, name in reversed(list(enumerate(scores.text_ids)))}
    usable = [(a, b) for a, b in pairs if a in column and b in column and a in row and b in row]
    result: dict[str, float] = {}
    for kind, matrix in (("contrastive", scores.contrastive), ("reranked", scores.reranked_v2t)):
        margins = [
            matrix[row[own], column[own]] - matrix[row[other], column[own]]
            for a, b in usable
            for own, other in ((a, b), (b, a))
        ]
        if margins:
            result[kind] = 100 * float(np.mean([0.5 if margin == 0 else float(margin > 0) for margin in margins]))
    return result
