"""How long a failed attempt waits for the next one."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthive.core.policies.retry import RetryPolicy, RetryStrategy

S = RetryStrategy
policies = st.builds(
    RetryPolicy,
    strategy=st.sampled_from(S),
    initial_delay=st.floats(0, 100),
    max_delay=st.floats(0, 1000),
    exponential_base=st.floats(1, 10),
    jitter=st.booleans(),
)


def test_defaults() -> None:
    policy = RetryPolicy()
    assert (policy.max_attempts, policy.strategy, policy.jitter) == (3, S.EXPONENTIAL_BACKOFF, True)
    assert (policy.initial_delay, policy.max_delay, policy.exponential_base) == (1.0, 60.0, 2.0)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (S.IMMEDIATE, [0, 0, 0, 0]),
        (S.CONSTANT_DELAY, [3, 3, 3, 3]),
        (S.LINEAR_BACKOFF, [3, 6, 9, 10]),
        (S.EXPONENTIAL_BACKOFF, [3, 6, 10, 10]),
    ],
)
def test_ceilings(strategy: RetryStrategy, expected: list[float]) -> None:
    policy = RetryPolicy(strategy=strategy, initial_delay=3, max_delay=10)
    assert [policy.delay_ceiling(attempt) for attempt in (1, 2, 3, 4)] == expected


def test_base() -> None:
    policy = RetryPolicy(initial_delay=1, max_delay=1e9, exponential_base=5)
    assert [policy.delay_ceiling(n) for n in (1, 2, 3)] == [1, 5, 25]


def test_a_large_attempt_number_overflows_nothing() -> None:
    policy = RetryPolicy(initial_delay=1, max_delay=1e300, exponential_base=2)
    assert policy.delay_ceiling(10**9) == policy.delay_ceiling(65) == 2.0**64
    assert policy.delay_ceiling(64) == 2.0**63


def test_full_jitter() -> None:
    policy = RetryPolicy(strategy=S.CONSTANT_DELAY, initial_delay=4)
    assert [policy.compute_delay(1, draw) for draw in (0, 0.25, 0.5)] == [0, 1_000_000, 2_000_000]
    still = RetryPolicy(strategy=S.CONSTANT_DELAY, initial_delay=4, jitter=False)
    assert still.compute_delay(1, 0.25) == 4_000_000


@pytest.mark.parametrize(("asked", "expected"), [(None, 2), (0.0, 2), (1.0, 2), (2.5, 2.5)])
def test_what_the_other_side_asked_for_wins_when_longer(
    asked: float | None, expected: float
) -> None:
    policy = RetryPolicy(strategy=S.CONSTANT_DELAY, initial_delay=4)
    assert policy.compute_delay(1, 0.5, asked) == expected * 1_000_000


@given(policies, st.integers(1, 2000), st.floats(0, 1, exclude_max=True), st.floats(0, 5000))
def test_bounds(policy: RetryPolicy, attempt: int, draw: float, asked: float) -> None:
    ceiling = policy.delay_ceiling(attempt)
    assert 0 <= ceiling <= policy.max_delay
    assert ceiling <= policy.delay_ceiling(attempt + 1) or math.isclose(ceiling, policy.max_delay)
    wait = policy.compute_delay(attempt, draw, asked)
    assert round(asked * 1e6) <= wait <= round(max(ceiling, asked) * 1e6)
