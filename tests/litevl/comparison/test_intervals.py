"""Student's t against printed tables, and an interval worked out by hand."""

import pytest

from litevl.comparison.intervals import estimate, t_quantile


@pytest.mark.parametrize(
    ("probability", "freedom", "expected"),
    [(0.975, 1, 12.706), (0.975, 2, 4.303), (0.975, 3, 3.182), (0.95, 4, 2.132), (0.975, 9, 2.262), (0.995, 30, 2.750)],
)
def test_quantiles_are_those_of_printed_tables(probability, freedom, expected):
    assert t_quantile(probability, freedom) == pytest.approx(expected, abs=5e-4)


def test_many_degrees_of_freedom_are_the_normal_distribution():
    assert t_quantile(0.975, 100_000) == pytest.approx(1.95998, abs=1e-4)
    assert t_quantile(0.5, 3) == pytest.approx(0, abs=1e-9)


def test_an_interval_by_hand():
    """Mean 12, standard deviation 2, three values: 4.3027 * 2 / sqrt(3) to either side."""
    found = estimate([10.0, 12.0, 14.0])
    assert (found.mean, found.values) == (12.0, (10.0, 12.0, 14.0))
    assert found.margin == pytest.approx(4.96828, abs=1e-4)
    assert (found.low, found.high) == (pytest.approx(7.0317, abs=1e-4), pytest.approx(16.9683, abs=1e-4))
    assert str(found) == "12.0 ± 5.0"


@pytest.mark.parametrize("values", [[40.0], [40.0, 50.0]])
def test_one_or_two_seeds_have_no_interval(values):
    found = estimate(values)
    assert (found.margin, found.low, found.high) == (None, None, None)
    assert "±" not in str(found)


def test_nonsense_is_refused():
    for probability, freedom in ((0.3, 2), (1.0, 2), (0.975, 0)):
        with pytest.raises(ValueError, match="freedom >= 1"):
            t_quantile(probability, freedom)
    with pytest.raises(ValueError, match="at least one seed"):
        estimate([])
