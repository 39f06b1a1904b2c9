"""The reliability patterns outside a workflow: breaker, retry, observers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agenthive.core.values import SECOND
from agenthive.errors import AgentUnavailable
from agenthive.facades.patterns import (
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitState,
    Observer,
    RetryConfig,
    Subject,
    retry,
)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000 * SECOND

    def __call__(self) -> int:
        return self.now


async def bad() -> None:
    raise ConnectionError("no")


async def good(value: int = 1, *, twice: bool = False) -> int:
    return value * 2 if twice else value


async def opened(breaker: CircuitBreaker, failures: int) -> None:
    for _ in range(failures):
        with pytest.raises(ConnectionError):
            await breaker.call(bad)


async def test_opens_half_opens_closes() -> None:
    clock = Clock()
    breaker = CircuitBreaker(2, 30.0, clock=clock)
    await opened(breaker, 1)
    assert breaker.state is CircuitState.CLOSED
    assert await breaker.call(good, 4, twice=True) == 8
    await opened(breaker, 1)
    assert breaker.state is CircuitState.CLOSED, "a success in between counts"
    await opened(breaker, 1)
    assert breaker.state is CircuitState.OPEN
    with pytest.raises(AgentUnavailable, match="Circuit breaker is open") as caught:
        await breaker.call(good)
    assert caught.value.hint
    clock.now += 30 * SECOND
    assert breaker.state is CircuitState.HALF_OPEN
    await opened(breaker, 1)
    assert breaker.state is CircuitState.OPEN, "one failed probe is enough"
    clock.now += 30 * SECOND
    assert await breaker.protect(good)(3) == 3
    assert breaker.state is CircuitState.CLOSED


async def test_one_probe_at_a_time() -> None:
    clock = Clock()
    breaker = CircuitBreaker(1, 10.0, clock=clock)
    await opened(breaker, 1)
    clock.now += 10 * SECOND
    async with breaker:
        with pytest.raises(AgentUnavailable):
            await breaker.call(good)
    assert await breaker.call(good) == 1


async def test_call_that_was_given_up_says_nothing() -> None:
    clock = Clock()
    breaker = CircuitBreaker(1, 10.0, clock=clock)
    await opened(breaker, 1)
    clock.now += 10 * SECOND
    probe = asyncio.ensure_future(breaker.call(asyncio.Event().wait))
    await asyncio.sleep(0)
    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)
    assert breaker.state is CircuitState.HALF_OPEN
    assert await breaker.call(good) == 1, "the probe's place is free again"


def test_what_is_given_wins_over_the_config() -> None:
    config = CircuitBreakerConfig(failure_threshold=7, recovery_timeout=8.0, half_open_max_calls=3)
    assert CircuitBreaker(config=config).config == config
    mixed = CircuitBreaker(2, 0.0, config).config
    assert (mixed.failure_threshold, mixed.recovery_timeout, mixed.half_open_max_calls) == (2, 0, 3)
    assert CircuitBreaker().config == CircuitBreakerConfig()
    assert CircuitBreaker().state is CircuitState.CLOSED


def test_wrapped_function_keeps_its_name() -> None:
    assert CircuitBreaker().protect(good).__name__ == "good"


async def test_retry() -> None:
    attempts = 0

    async def third() -> int:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise ConnectionError(attempts)
        return attempts

    policy = RetryConfig(max_attempts=3, initial_delay=0.001)
    assert await retry(third, policy) == 3
    attempts = 0
    with pytest.raises(ConnectionError) as caught:
        await retry(third, RetryConfig(max_attempts=2, initial_delay=0.001))
    assert caught.value.args == (2,)
    attempts = 2
    assert await retry(third) == 3


async def test_retry_waits() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    policy = RetryConfig(max_attempts=3, initial_delay=0.05, exponential_base=2.0, jitter=False)
    with pytest.raises(ConnectionError):
        await retry(bad, policy)
    assert loop.time() - began >= 0.15


async def test_observers() -> None:
    told: list[tuple[str, Any]] = []

    class Watcher(Observer):
        async def update(self, subject: Subject, event_type: str, data: Any) -> None:
            told.append((event_type, data))
            subject.detach(self)

    subject, first, second = Subject(), Watcher(), Watcher()
    for watcher in (first, first, second):
        subject.attach(watcher)
    await subject.notify("x", 1)
    assert told == [("x", 1), ("x", 1)], "one that leaves does not make another miss it"
    subject.detach(first)
    await subject.notify("y", 2)
    assert len(told) == 2
    with pytest.raises(TypeError):
        Observer()  # type: ignore[abstract]
