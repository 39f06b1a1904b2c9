"""Tables of what values may be expected: measured ones are kept, few ones are widened."""

from __future__ import annotations

import math

import pytest

from agenthive.insights.distributions import (
    ENOUGH,
    POINTS,
    Distribution,
    fit_times,
    from_values,
    log_normal,
    log_normal_between,
)


def test_values_between_two_are_equally_likely() -> None:
    spread = Distribution((1.0, 3.0, 9.0))
    assert [spread.quantile(share) for share in (0, 0.25, 0.5, 0.75, 1)] == [
        1.0,
        2.0,
        3.0,
        6.0,
        9.0,
    ]
    assert Distribution((4.0,)).quantile(0.3) == 4.0


def test_a_log_normal_lies_around_its_median() -> None:
    spread = log_normal(8.0, 0.5)
    assert spread.quantile(0.5) == pytest.approx(8.0)
    assert spread.quantile(0.2) * spread.quantile(0.8) == pytest.approx(64.0)
    assert spread.quantile(0.8413) == pytest.approx(8.0 * math.exp(0.5), rel=0.01)
    assert list(spread.values) == sorted(spread.values)
    assert log_normal(0.0, 0.5).quantile(0.5) > 0


def test_a_median_and_a_95th_percentile() -> None:
    spread = log_normal_between(10.0, 60.0)
    assert spread.quantile(0.5) == pytest.approx(10.0)
    assert spread.quantile(0.95) == pytest.approx(60.0)
    assert set(log_normal_between(3.0, 3.0).values) == {3.0}


def test_many_values_speak_for_themselves() -> None:
    values = [0.1] * 30 + [5.0] * 10
    assert fit_times(values) == from_values(values) == Distribution(tuple(values))
    thinned = from_values([float(i) for i in range(5000)])
    assert len(thinned.values) == POINTS
    assert (thinned.quantile(0), thinned.quantile(0.5), thinned.quantile(1)) == (
        0.0,
        2499.5,
        4999.0,
    )


def test_few_values_are_widened() -> None:
    one = fit_times([2.0])
    assert one.quantile(0.5) == pytest.approx(2.0)
    assert one.quantile(0.95) / one.quantile(0.5) > 2
    alike = fit_times([2.0] * (ENOUGH - 1))
    assert 1 < alike.quantile(0.95) / alike.quantile(0.5) < one.quantile(0.95) / one.quantile(0.5)
    odd = fit_times([2.0, 2.1, 1.9, 2.0, 500.0])
    assert odd.quantile(0.5) == pytest.approx(2.0)
    assert fit_times([0.0]).quantile(0.5) > 0
