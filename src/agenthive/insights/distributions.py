"""Distributions as tables: what values a quantity took, or may take, each equally likely.

One form for what was measured and for what is guessed, so that whoever draws needs to know no
formula. Pure: the random number comes in as an argument. Never more than `POINTS` values are kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, median
from typing import Final

import msgspec

POINTS: Final = 201
"""Values of a table; between two of them everything is equally likely."""
ENOUGH: Final = 20
"""From so many measured values on, they speak for themselves."""
DOUBT: Final = 0.5
"""The sigma of a log-normal before anything is known of it."""
WEIGHT: Final = 4
"""How many measured values that doubt is worth."""
SMALLEST: Final = 1e-6
_TAIL: Final = 0.5 / POINTS
_STEPS: Final = tuple(
    NormalDist().inv_cdf(min(max(i / (POINTS - 1), _TAIL), 1 - _TAIL)) for i in range(POINTS)
)


class Distribution(msgspec.Struct, frozen=True):
    """A distribution: its quantiles at equal steps, ascending. Never empty."""

    values: tuple[float, ...]

    def quantile(self, share: float) -> float:
        """The value that a ``share`` in [0, 1] of all values does not exceed."""
        position = share * (len(self.values) - 1)
        low = int(position)
        high = min(low + 1, len(self.values) - 1)
        return self.values[low] + (position - low) * (self.values[high] - self.values[low])


def log_normal(middle: float, sigma: float) -> Distribution:
    """Positive values around a median, as likely twice as large as half as large."""
    return Distribution(tuple(max(middle, SMALLEST) * math.exp(sigma * step) for step in _STEPS))


def log_normal_between(middle: float, high: float) -> Distribution:
    """A log-normal with that median and that 95th percentile."""
    sigma = math.log(max(high / max(middle, SMALLEST), 1.0)) / NormalDist().inv_cdf(0.95)
    return log_normal(middle, sigma)


def from_values(values: Sequence[float]) -> Distribution:
    """Values as they were found, thinned out if there are many."""
    ordered = sorted(values)
    if len(ordered) <= POINTS:
        return Distribution(tuple(ordered))
    full = Distribution(tuple(ordered))
    return Distribution(tuple(full.quantile(i / (POINTS - 1)) for i in range(POINTS)))


def fit_times(values: Sequence[float]) -> Distribution:
    """What times may be expected after these, at least one.

    Few of them say little about how far they spread: then a log-normal around their median whose
    sigma is pulled towards `DOUBT`, which counts as `WEIGHT` values of its own.
    """
    if len(values) >= ENOUGH:
        return from_values(values)
    logs = [math.log(max(value, SMALLEST)) for value in values]
    middle = median(logs)
    square = sum((log_value - middle) ** 2 for log_value in logs) + WEIGHT * DOUBT**2
    return log_normal(math.exp(middle), math.sqrt(square / (len(logs) + WEIGHT)))
