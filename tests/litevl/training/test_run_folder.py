"""What a run folder is compared by when a run goes on in it."""

from dataclasses import replace

import pytest

from litevl.training import TrainingConfig, describe_changes


@pytest.mark.parametrize(("before", "after"), [(1e-6, 1.9e-6), (1e-7, 9e-7), (0.0, 1e-9)])
def test_small_settings_that_differ_are_told(before, after):
    one = TrainingConfig(lr=1e-3, weight_decay=before)
    other = replace(one, weight_decay=after)
    assert describe_changes(one, other) == [f"weight_decay: {before} -> {after}"]


def test_a_last_digit_is_no_difference():
    one = TrainingConfig(lr=0.1 + 0.2)
    assert describe_changes(one, replace(one, lr=0.3)) == []
