"""Distributions as tables of equally likely values.

Measured and assumed distributions have the same form, so that the simulator draws from both in the
same way: `Distribution.quantile` of a uniform random number (inverse transform sampling). Nothing
here draws the random number. A table never has more than `POINTS` values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, median
from typing import Final

import msgspec

POINTS: Final = 201
"""Values of a table at most; between two of them the quantile is interpolated linearly."""
ENOUGH: Final = 20
"""With this many measured values or more, `fit_times` uses them unchanged."""
DOUBT: Final = 0.5
"""The sigma of a log-normal distribution of times that is assumed before any are measured."""
WEIGHT: Final = 4
"""How many measured values `DOUBT` counts as."""
SMALLEST: Final = 1e-6
"""Smaller values count as this one, because a logarithm is taken."""
_TAIL: Final = 0.5 / POINTS
_STEPS: Final = tuple(
    NormalDist().inv_cdf(min(max(i / (POINTS - 1), _TAIL), 1 - _TAIL)) for i in range(POINTS)
)


class Distribution(msgspec.Struct, frozen=True):
    """A distribution, given by its quantiles."""

    #: Quantiles at equal steps from 0 to 1, ascending; never empty.
    values: tuple[float, ...]

    def quantile(self, share: float) -> float:
        """The value that a share (0 to 1) of all values does not exceed."""
        position = share * (len(self.values) - 1)
        low = int(position)
        high = min(low + 1, len(self.values) - 1)
        return self.values[low] + (position - low) * (self.values[high] - self.values[low])


def log_normal(middle: float, sigma: float) -> Distribution:
    """A log-normal distribution with the median ``middle``."""
    return Distribution(tuple(max(middle, SMALLEST) * math.exp(sigma * step) for step in _STEPS))


def log_normal_between(middle: float, high: float) -> Distribution:
    """A log-normal distribution with the median ``middle`` and the 95th percentile ``high``."""
    sigma = math.log(max(high / max(middle, SMALLEST), 1.0)) / NormalDist().inv_cdf(0.95)
    return log_normal(middle, sigma)


def from_values(values: Sequence[float]) -> Distribution:
    """The distribution of measured values, reduced to `POINTS` quantiles if there are more."""
    ordered = sorted(values)
    if len(ordered) <= POINTS:
        return Distribution(tuple(ordered))
    full = Distribution(tuple(ordered))
    return Distribution(tuple(full.quantile(i / (POINTS - 1)) for i in range(POINTS)))


def fit_times(values: Sequence[float]) -> Distribution:
    """The distribution of times to expect after these measured times (at least one).

    Fewer than `ENOUGH` values say little about their spread. Then the result is a log-normal
    distribution around their median, with the variance of the logarithms shrunk towards `DOUBT`
    squared, which counts as `WEIGHT` values:
    ``sigma² = (sum((log x - median)²) + WEIGHT * DOUBT²) / (n + WEIGHT)``.
    """
    if len(values) >= ENOUGH:
        return from_values(values)
    logs = [math.log(max(value, SMALLEST)) for value in values]
    middle = median(logs)
    square = sum((log_value - middle) ** 2 for log_value in logs) + WEIGHT * DOUBT**2
    return log_normal(math.exp(middle), math.sqrt(square / (len(logs) + WEIGHT)))
