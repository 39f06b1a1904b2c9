"""B24-B28: the rate limiter, on time that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from agenthive.errors import RateLimitTimeout
from agenthive.facades.orchestration import RateLimitConfig, RateLimiter
from tests.documents.rig_b import ROOMY, Alarm, Timeline, settle

HUGE = 10**8


def limiter(time: Timeline, **tiers: int) -> RateLimiter:
    """One with only these limits in the way."""
    config = RateLimitConfig(**{**ROOMY.__dict__, **tiers})
    return RateLimiter(config, clock=time.clock, later=time.later)


class Crowd:
    """Those who want to pass. ``passed`` are their names, in the order of passing."""

    def __init__(self, one: RateLimiter) -> None:
        self.one = one
        self.passed: list[object] = []

    def join(self, name: object, tokens: int = 1, wait: float | None = None) -> asyncio.Task[None]:
        return asyncio.create_task(self._pass(name, tokens, wait))

    async def _pass(self, name: object, tokens: int, wait: float | None) -> None:
        await self.one.acquire(tokens, wait)
        self.passed.append(name)


@pytest.mark.parametrize(
    ("tier", "seconds"),
    [("requests_per_minute", 60), ("requests_per_hour", 3600), ("requests_per_day", 86_400)],
)
async def test_b24_each_tier_of_requests(tier: str, seconds: int) -> None:
    """Ten a period: one at once, the others evenly, and never more than eleven a period."""
    time = Timeline()
    crowd = Crowd(limiter(time, **{tier: 10}))
    tasks = [crowd.join(number) for number in range(30)]
    await time.advance(0)
    assert crowd.passed == [0]
    await time.advance(seconds)
    assert 10 <= len(crowd.passed) <= 11
    await time.advance(2 * seconds)
    assert crowd.passed == list(range(30))
    await asyncio.gather(*tasks)


async def test_b24_tokens_a_minute() -> None:
    time = Timeline()
    crowd = Crowd(limiter(time, tokens_per_minute=1000))
    tasks = [crowd.join(number, 250) for number in range(9)]
    await time.advance(59)
    assert len(crowd.passed) <= 4
    await time.advance(180)
    await asyncio.gather(*tasks)


async def test_b24_concurrent_requests() -> None:
    time = Timeline()
    one = limiter(time, concurrent_requests=2)
    crowd = Crowd(one)
    tasks = [crowd.join(number) for number in range(4)]
    await time.advance(1000)
    assert crowd.passed == [0, 1]
    one.release()
    await settle()
    assert crowd.passed == [0, 1, 2]
    one.release()
    await settle()
    assert crowd.passed == [0, 1, 2, 3]
    await asyncio.gather(*tasks)


async def test_b25_all_tiers_or_none() -> None:
    """Who is stopped by one tier has taken nothing from the others."""
    time = Timeline()
    one = limiter(time, requests_per_minute=600, concurrent_requests=1)
    crowd = Crowd(one)
    first, second = crowd.join("first"), crowd.join("second", wait=5.0)
    await time.advance(6)
    with pytest.raises(RateLimitTimeout):
        await second
    one.release()
    later = crowd.join("later")
    await settle()
    assert crowd.passed == ["first", "later"]
    await asyncio.gather(first, later)


async def test_b25_large_ones_are_not_passed_by_small_ones() -> None:
    """Nobody starves: a call of nearly a minute's tokens waits no longer than its turn."""
    time = Timeline()
    crowd = Crowd(limiter(time, tokens_per_minute=1000))
    tasks = [crowd.join("before", 500), crowd.join("large", 900)]
    tasks += [crowd.join(number, 10) for number in range(20)]
    await time.advance(50)
    assert crowd.passed == ["before"]
    await time.advance(300)
    assert crowd.passed == ["before", "large", *range(20)]
    await asyncio.gather(*tasks)


async def test_b25_time_out() -> None:
    time = Timeline()
    one = limiter(time, requests_per_minute=1)
    crowd = Crowd(one)
    first, second, third = crowd.join(1), crowd.join(2, wait=30.0), crowd.join(3)
    await time.advance(29.9)
    assert not second.done()
    await time.advance(0.2)
    with pytest.raises(asyncio.TimeoutError):
        await second
    assert one.get_statistics()["timeouts"] == 1
    await time.advance(30)
    assert crowd.passed == [1, 3]
    await asyncio.gather(first, third)


async def test_b25_no_wait_at_all() -> None:
    time = Timeline()
    one = limiter(time, requests_per_minute=1)
    await one.acquire(timeout=0)
    late = asyncio.create_task(one.acquire(timeout=0))
    await time.advance(0.001)
    with pytest.raises(TimeoutError):
        await late


@pytest.mark.parametrize("wrong", [1001, -1, 1.5, True, None])
async def test_b25_what_never_passes_is_refused_at_once(wrong: int) -> None:
    one = limiter(Timeline(), tokens_per_minute=1000)
    with pytest.raises(ValueError, match="token"):
        await one.acquire(wrong)
    assert one.get_statistics()["waiting"] == 0


async def test_b25_who_gives_up_leaves_no_trace() -> None:
    time = Timeline()
    one = limiter(time, concurrent_requests=1)
    await one.acquire(1)
    crowd = Crowd(one)
    given_up, patient = crowd.join("given up"), crowd.join("patient")
    await settle()
    given_up.cancel()
    await settle()
    assert one.get_statistics()["waiting"] == 1
    one.release()
    await settle()
    assert crowd.passed == ["patient"]
    one.release()
    told = one.get_statistics()
    assert (told["waiting"], told["concurrent_requests"], told["total_requests"]) == (0, 0, 2)
    assert given_up.cancelled()
    await patient


async def test_b25_cancelled_in_the_turn_in_which_it_was_let_through() -> None:
    time = Timeline()
    one = limiter(time, concurrent_requests=1, tokens_per_minute=1000)
    await one.acquire(1)
    await time.advance(60)
    crowd = Crowd(one)
    unlucky, next_one = crowd.join("unlucky", 900), crowd.join("next", 900)
    await settle()
    one.release()  # lets the first through, which has had no turn yet
    unlucky.cancel()
    await settle()
    assert crowd.passed == ["next"], "what the first took is free again"
    one.release()
    assert one.get_statistics()["concurrent_requests"] == 0
    await next_one


async def test_b25_the_next_is_served_in_the_turn_in_which_the_head_gives_up() -> None:
    time = Timeline()
    one = limiter(time, concurrent_requests=1)
    await one.acquire(1)
    crowd = Crowd(one)
    head, patient, last = crowd.join("head"), crowd.join("patient"), crowd.join("last")
    await settle()
    head.cancel()
    one.release()
    await settle()
    assert crowd.passed == ["patient"]
    assert one.get_statistics()["waiting"] == 1
    one.release()
    await asyncio.gather(patient, last)


async def test_b25_one_timer_is_enough_for_all_who_wait() -> None:
    time = Timeline()
    crowd = Crowd(limiter(time, requests_per_minute=1))
    tasks = [crowd.join(number) for number in range(20)]
    await settle()
    assert time.armed == 1
    for task in tasks:
        task.cancel()
    await settle()
    assert time.armed == 0


async def test_b25_the_head_of_the_line_gives_up() -> None:
    """Those behind a large one go on as soon as it is gone, not when its time would have come."""
    time = Timeline()
    crowd = Crowd(limiter(time, tokens_per_minute=1000))
    first, large, small = crowd.join(1, 500), crowd.join("large", 900), crowd.join("small", 1)
    await settle()
    large.cancel()
    await time.advance(30)
    assert crowd.passed == [1, "small"]
    await asyncio.gather(first, small)


async def test_b26_release_is_not_a_coroutine_and_is_bounded() -> None:
    one = limiter(Timeline())
    await one.acquire()
    assert one.release() is None  # type: ignore[func-returns-value]
    with pytest.raises(ValueError, match="more often"):
        one.release()


async def test_b27_statistics() -> None:
    time = Timeline()
    one = limiter(time, requests_per_minute=1)
    await one.acquire(500)
    late = asyncio.create_task(one.acquire(700))
    await time.advance(60.1)
    await late
    told = one.get_statistics()
    assert (told["total_requests"], told["total_tokens"]) == (2, 1200)
    assert told["total_wait_time"] == told["max_wait_time"] == pytest.approx(60, abs=0.2)
    assert told["average_wait_time"] == told["total_wait_time"] / 2
    assert told["limits"]["requests_per_minute"] == 1


async def test_b27_a_limiter_of_real_time() -> None:
    one = RateLimiter(RateLimitConfig(requests_per_minute=1200))
    for _ in range(121):
        await one.acquire(1)
        one.release()
    assert 0 < one.get_statistics()["total_wait_time"] < 5


async def test_b25_a_pass_and_a_time_out_in_one_turn() -> None:
    """A call that was admitted before its time-out fired has passed."""
    time, expiries = Timeline(), []

    def later(seconds: float, act: Callable[[], None]) -> Alarm:
        expiries.append(act)
        return time.later(seconds, act)

    config = RateLimitConfig(**{**ROOMY.__dict__, "concurrent_requests": 1})
    one = RateLimiter(config, clock=time.clock, later=later)
    await one.acquire()
    waiting = asyncio.create_task(one.acquire(timeout=1.0))
    await settle()
    one.release()
    expiries[-1]()
    await waiting
    statistics = one.get_statistics()
    assert (statistics["timeouts"], statistics["total_requests"]) == (0, 2)
