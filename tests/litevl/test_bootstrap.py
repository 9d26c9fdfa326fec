from functools import partial

import numpy as np
import pytest

from litevl.bootstrap import bootstrap_interval, paired_bootstrap
from litevl.metrics import median_rank, recall_at_k

recall_at_1 = partial(recall_at_k, k=1)


def some_ranks(successes, queries):
    return np.where(np.arange(queries) < successes, 1, 2)


def test_interval_of_a_proportion_is_about_the_normal_one():
    interval = bootstrap_interval(some_ranks(400, 1000), recall_at_1, resamples=2000)
    half_width = 100 * 1.96 * np.sqrt(0.4 * 0.6 / 1000)
    assert interval.value == 40.0
    assert interval.low == pytest.approx(40 - half_width, abs=0.5)
    assert interval.high == pytest.approx(40 + half_width, abs=0.5)


def test_the_seed_decides_and_confidence_widens():
    values = some_ranks(40, 100)
    assert bootstrap_interval(values, recall_at_1, seed=1) == bootstrap_interval(values, recall_at_1, seed=1)
    wide, narrow = (bootstrap_interval(values, recall_at_1, confidence=level) for level in (0.99, 0.5))
    assert wide.low < narrow.low <= narrow.high < wide.high


def test_a_constant_has_no_width():
    interval = bootstrap_interval(np.full(20, 3), median_rank)
    assert (interval.low, interval.value, interval.high) == (3.0, 3.0, 3.0)


def test_captions_of_one_video_are_drawn_together():
    """Ten equal captions of each of 30 videos are 30 observations and not 300: the interval is sqrt(10) wider."""
    values, groups = np.repeat(some_ranks(12, 30), 10), np.repeat(np.arange(30), 10)
    alone = bootstrap_interval(values, recall_at_1, resamples=2000)
    together = bootstrap_interval(values, recall_at_1, resamples=2000, groups=groups)
    assert together.value == alone.value == 40.0
    ratio = (together.high - together.low) / (alone.high - alone.low)
    assert ratio == pytest.approx(np.sqrt(10), rel=0.15)


def test_paired_difference_of_a_system_and_itself_is_nothing():
    values = some_ranks(40, 100)
    result = paired_bootstrap(values, values, recall_at_1)
    assert (result.value, result.low, result.high, result.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_paired_difference_sees_what_two_separate_intervals_hide():
    """B fails 12 queries of A's 420 and wins none: certain, though either interval alone is 6 points wide."""
    a, b = some_ranks(420, 1000), some_ranks(408, 1000)
    result = paired_bootstrap(a, b, recall_at_1)
    assert result.value == pytest.approx(1.2)
    assert 0 < result.low < 1.2 < result.high < 2.2
    assert result.p_value == pytest.approx(2 / 1001)
    reverse = paired_bootstrap(b, a, recall_at_1)
    assert (reverse.value, reverse.low, reverse.high) == pytest.approx((-result.value, -result.high, -result.low))
    assert reverse.p_value == result.p_value
    assert bootstrap_interval(b, recall_at_1).high > bootstrap_interval(a, recall_at_1).low


def test_p_value_is_large_where_wins_and_losses_balance():
    a = some_ranks(50, 100)
    assert paired_bootstrap(a, a[::-1].copy(), recall_at_1).p_value > 0.5


def test_what_is_wrong_is_named():
    values = some_ranks(1, 4)
    with pytest.raises(ValueError, match="got 4 and 3 queries"):
        paired_bootstrap(values, values[:3], recall_at_1)
    with pytest.raises(ValueError, match="a group for each of 4 queries, got 2 groups"):
        bootstrap_interval(values, recall_at_1, groups=["a", "b"])
    with pytest.raises(ValueError, match=r"got 4 queries, 10 resamples and confidence 95.0"):
        bootstrap_interval(values, recall_at_1, resamples=10, confidence=95.0)
    with pytest.raises(ValueError, match="got 0 queries"):
        bootstrap_interval(values[:0], recall_at_1)
