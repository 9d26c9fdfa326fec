"""The mean over training seeds, with Student's t interval: how far it would move on other seeds.

It says nothing of other test queries; for those see `litevl.bootstrap`.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95
FEWEST = 3
"""Seeds that an interval takes. Two give one, but of 9 standard deviations to either side, which tells nothing."""


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds, with what each seed gave; `margin` is half the interval's width, None without one."""

    values: tuple[float, ...]
    mean: float
    margin: float | None

    @property
    def low(self) -> float | None:
        """Lower end of the interval."""
        return None if self.margin is None else self.mean - self.margin

    @property
    def high(self) -> float | None:
        """Upper end of the interval."""
        return None if self.margin is None else self.mean + self.margin

    def __str__(self) -> str:
        return f"{self.mean:.1f}" if self.margin is None else f"{self.mean:.1f} ± {self.margin:.1f}"


def estimate(values: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """The mean of a metric over seeds, with its interval from three seeds on.

    Args:
        values: one number for each seed, which are taken to be normally distributed.
        confidence: of the interval, between 0 and 1.

    Raises:
        ValueError: no values, or a confidence out of range.
    """
    if not values:
        raise ValueError("expected the value of at least one seed, got none")
    mean, margin = statistics.fmean(values), None
    if len(values) >= FEWEST:
        deviation = statistics.stdev(values) / math.sqrt(len(values))
        margin = t_quantile((1 + confidence) / 2, len(values) - 1) * deviation
    return Estimate(tuple(values), mean, margin)


def t_quantile(probability: float, freedom: int) -> float:
    """Where Student's t distribution reaches a probability, from 0.5 to below 1, by bisection.

    Args:
        probability: 0.975 for the upper end of a two-sided 95% interval.
        freedom: degrees of freedom.

    Raises:
        ValueError: a probability or degrees of freedom out of range.
    """
    if not 0.5 <= probability < 1 or freedom < 1:
        raise ValueError(f"expected 0.5 <= probability < 1 and freedom >= 1, got {probability} and {freedom}")
    low, high = 0.0, 1.0
    while _within(high, freedom) < 2 * probability - 1:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (low, middle) if _within(middle, freedom) > 2 * probability - 1 else (middle, high)
    return (low + high) / 2


def _within(t: float, freedom: int) -> float:
    """The probability between -t and t: Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.7.3 and 4."""
    angle = math.atan(t / math.sqrt(freedom))
    cosine = math.cos(angle)
    odd = freedom % 2
    term = cosine if odd else 1.0
    total = term if freedom > 1 else 0.0
    for k in range(2 + odd, freedom, 2):
        term *= (k - 1) / k * cosine**2
        total += term
    return 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total
