"""Evaluating text-video retrieval: the metrics of a split with the protocol that made them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from litevl.metrics import intervals_of_ranks, metrics_of_ranks

from .scoring import Kind, Scores


@dataclass(frozen=True)
class EvaluationConfig:
    """How a split is scored."""

    k: int = 128
    """Candidates of each query that are re-ranked by matching; 0 leaves re-ranking out. BLIP uses 128."""
    batch_size: int = 16
    """Clips encoded at a time."""
    pair_batch: int = 256
    """Texts matched with a video at a time."""
    bootstrap: int = 0
    """Resamples of a bootstrap over queries; with 1000, say, each metric gets a 95% interval."""
    workers: int | None = None
    """Processes that decode; by default the cores of this process but one, without a GPU 2."""


KINDS: tuple[Kind, ...] = ("contrastive", "reranked")


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
    for kind in KINDS:
        t2v, v2t = scores.ranks(kind)
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
    for kind in KINDS:
        right = []
        for own, other in ((own, other) for pair in usable for own, other in (pair, pair[::-1])):
            true, false = (scores.of_video(kind, column[own], row[name]) for name in (own, other))
            right.append(0.5 if true == false else float(true > false))
        if right:
            result[kind] = 100 * float(np.mean(right))
    return result
