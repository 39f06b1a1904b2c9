"""The rate limiter of document B: who waits, in which order, for how long, and who gives up."""

from __future__ import annotations

import asyncio

import pytest

from agenthive.errors import ConfigurationError
from agenthive.facades.orchestration import RateLimitConfig, RateLimiter

MINUTE = 60 * 10**9


def limiter(**limits: int) -> RateLimiter:
    return RateLimiter(RateLimitConfig(**limits))


async def test_what_fits_passes_at_once() -> None:
    one = limiter()
    await one.acquire(estimated_tokens=1500, timeout=30.0)
    found = one.get_statistics()
    assert (found["total_requests"], found["total_tokens"]) == (1, 1500)
    assert (found["current_concurrent"], found["total_waits"], found["waiting"]) == (1, 0, 0)
    one.release()
    assert one.get_statistics()["current_concurrent"] == 0


async def test_as_many_at_once_as_may_be() -> None:
    one = limiter(concurrent_requests=2)
    await one.acquire()
    await one.acquire()
    third = asyncio.ensure_future(one.acquire())
    await asyncio.sleep(0.01)
    assert not third.done()
    one.release()
    await asyncio.wait_for(third, 1)
    assert one.get_statistics()["total_waits"] == 1


async def test_time_passes() -> None:
    # One call a 10 ms; the burst is a tenth of a minute's calls.
    one = limiter(requests_per_minute=6000, requests_per_hour=10**6, requests_per_day=10**6)
    for _ in range(600):
        await one.acquire(1)
        one.release()
    began = asyncio.get_running_loop().time()
    for _ in range(5):
        await one.acquire(1)
        one.release()
    assert asyncio.get_running_loop().time() - began > 0.02


async def test_who_waits_too_long_gives_up_and_leaves_no_trace() -> None:
    one = limiter(concurrent_requests=1)
    await one.acquire()
    with pytest.raises(asyncio.TimeoutError, match="did not let the call through"):
        await one.acquire(timeout=0.01)
    assert (one.get_statistics()["timeouts"], one.get_statistics()["waiting"]) == (1, 0)
    one.release()
    await asyncio.wait_for(one.acquire(), 1)


async def test_who_is_cancelled_leaves_no_trace() -> None:
    one = limiter(concurrent_requests=1)
    await one.acquire()
    gone, stays = (asyncio.ensure_future(one.acquire()) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    one.release()
    await asyncio.wait_for(stays, 1)
    assert gone.cancelled()
    assert one.get_statistics()["current_concurrent"] == 1


async def test_a_large_one_is_not_passed_by_small_ones() -> None:
    one = limiter(tokens_per_minute=60_000, concurrent_requests=1000)
    order: list[int] = []

    async def ask(tokens: int) -> None:
        await one.acquire(tokens)
        order.append(tokens)

    await one.acquire(6000)
    tasks = [asyncio.ensure_future(ask(tokens)) for tokens in (200, 30, 40, 50)]
    await asyncio.wait_for(asyncio.gather(*tasks), 5)
    assert order == [200, 30, 40, 50]


async def test_what_never_fits_is_refused_at_once() -> None:
    one = limiter(tokens_per_minute=1000)
    with pytest.raises(ConfigurationError, match="1,001 tokens is more than tokens_per_minute"):
        await one.acquire(1001)
    assert one.get_statistics()["waiting"] == 0


async def test_nobody_is_released_who_was_not_let_through() -> None:
    with pytest.raises(RuntimeError, match="without acquire"):
        limiter().release()


async def test_by_a_clock_of_one_s_own() -> None:
    now = [0]
    one = RateLimiter(RateLimitConfig(requests_per_minute=1), clock=lambda: now[0])
    await one.acquire()
    one.release()
    with pytest.raises(TimeoutError):
        await one.acquire(timeout=0.01)
    now[0] = MINUTE
    await asyncio.wait_for(one.acquire(), 1)


@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, float("nan")])
def test_limits_that_make_no_sense(wrong: int) -> None:
    with pytest.raises(ValueError, match="requests_per_day must be a whole number"):
        RateLimitConfig(requests_per_day=wrong)
