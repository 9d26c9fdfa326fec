"""How sure a number is: percentile bootstrap over queries (Efron, 1979).

It tells how far a metric would move on other queries of the same kind. It says nothing of the training seed:
for that, train several.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Real

Statistic = Callable[[np.ndarray], float]


@dataclass(frozen=True)
class Interval:
    """A statistic with its bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedDifference:
    """Statistic of A minus statistic of B, its interval, and the two-sided p-value of no difference."""

    value: float
    low: float
    high: float
    p_value: float


def bootstrap_interval(
    values: Real[np.ndarray, " queries"],
    statistic: Statistic,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    groups: Sequence[Any] | np.ndarray | None = None,
) -> Interval:
    """Interval of a statistic over queries drawn with replacement.

    Args:
        values: One number for each query: its rank, or whether its answer is right.
        statistic: Of such an array, for instance `functools.partial(recall_at_k, k=1)` or `numpy.mean`.
        resamples: How many times the queries are drawn.
        confidence: Share of the resampled statistics inside the interval, between 0 and 1.
        seed: Of the draws; the same seed gives the same interval.
        groups: One id for each query. Queries of one id are drawn together: several captions of one video
            succeed or fail together, and drawing them one by one makes the interval too narrow.

    Raises:
        ValueError: No queries, a number of groups other than that of queries, or a setting out of range.
    """
    draws = _draw_queries(len(values), resamples, confidence, seed, groups)
    low, high = _interval(np.array([statistic(values[queries]) for queries in draws]), confidence)
    return Interval(float(statistic(values)), low, high)


def paired_bootstrap(
    values_a: Real[np.ndarray, " queries"],
    values_b: Real[np.ndarray, " queries_b"],
    statistic: Statistic,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    groups: Sequence[Any] | np.ndarray | None = None,
) -> PairedDifference:
    """Difference between two systems on the same queries, drawn together: a hard query is hard for both.

    The p-value is twice the smaller share of resampled differences at or beyond zero, with one added to both
    counts, so that it is never 0 from a finite number of draws. Other arguments as of `bootstrap_interval`.

    Raises:
        ValueError: As `bootstrap_interval`; and for two systems with different numbers of queries.
    """
    if len(values_a) != len(values_b):
        raise ValueError(
            "expected two systems on the same queries in the same order, "
            f"got {len(values_a)} and {len(values_b)} queries; evaluate both on one split"
        )
    draws = _draw_queries(len(values_a), resamples, confidence, seed, groups)
    differences = np.array([statistic(values_a[queries]) - statistic(values_b[queries]) for queries in draws])
    low, high = _interval(differences, confidence)
    beyond = int(min(np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0)))
    p_value = min(1.0, 2.0 * (beyond + 1) / (resamples + 1))
    return PairedDifference(float(statistic(values_a) - statistic(values_b)), low, high, p_value)


def _draw_queries(
    queries: int,
    resamples: int,
    confidence: float,
    seed: int,
    groups: Sequence[Any] | np.ndarray | None,
) -> Iterator[np.ndarray]:
    if queries < 1 or resamples < 1 or not 0 < confidence < 1:
        raise ValueError(
            "expected at least one query, at least one resample and a confidence between 0 and 1, "
            f"got {queries} queries, {resamples} resamples and confidence {confidence}"
        )
    if groups is not None and len(groups) != queries:
        raise ValueError(f"expected a group for each of {queries} queries, got {len(groups)} groups")
    generator = np.random.default_rng(seed)
    if groups is None:
        return (generator.integers(queries, size=queries) for _ in range(resamples))
    members: dict[Any, list[int]] = {}
    for query, group in enumerate(groups):
        members.setdefault(group, []).append(query)
    blocks = [np.array(block) for block in members.values()]
    return (
        np.concatenate([blocks[block] for block in generator.integers(len(blocks), size=len(blocks))])
        for _ in range(resamples)
    )


def _interval(statistics: np.ndarray, confidence: float) -> tuple[float, float]:
    tail = 50.0 * (1.0 - confidence)
    low, high = np.percentile(statistics, [tail, 100.0 - tail])
    return float(low), float(high)
