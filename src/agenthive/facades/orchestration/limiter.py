"""A rate limiter for code outside a workflow: the house's five tiers, with a fair line before them.

In a workflow the hive's own gate does this, by the same tiers, and remembers a day's quota over a
restart. Who waits is served in the order of coming: what is large is not passed by what is small.
Nothing here decides what may pass; to add a tier see `core.policies.rate_limit`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from agenthive.core.policies.fair_queue import Line
from agenthive.core.policies.rate_limit import SECOND, Nanos, No, RateLimit, Receipt
from agenthive.core.policies.rate_limit import RateLimiter as Tiers
from agenthive.errors import InvalidValue, RateLimitTimeout


@dataclass
class RateLimitConfig:
    """How much may pass. A tier lets it pass evenly, with a burst of a tenth."""

    requests_per_minute: int = 60
    requests_per_hour: int = 3000
    requests_per_day: int = 50000
    tokens_per_minute: int = 100000
    concurrent_requests: int = 10

    def limit(self) -> RateLimit:
        """The same as the house writes it. Raises InvalidValue."""
        for name, most in asdict(self).items():
            if isinstance(most, bool) or not isinstance(most, int) or most < 1:
                raise InvalidValue(f"{name} must be a whole number from 1, not {most!r}")
        return RateLimit(**asdict(self))


class _Timer(Protocol):
    def cancel(self) -> None: ...


Later = Callable[[float, Callable[[], None]], _Timer]
"""Calls a function after so many seconds, unless it is cancelled."""


class _Waiter:
    """Somebody in the line; ``ticket`` is None outside it."""

    def __init__(self) -> None:
        self.passed: asyncio.Future[Receipt | None] = asyncio.get_running_loop().create_future()
        self.ticket: int | None = None


class RateLimiter:
    """Lets calls through as fast as its config allows. ``clock`` gives nanoseconds."""

    def __init__(
        self,
        config: RateLimitConfig | None = None,
        *,
        clock: Callable[[], Nanos] = time.monotonic_ns,
        later: Later | None = None,
    ) -> None:
        self.config = config or RateLimitConfig()
        self._tiers = Tiers(self.config.limit())
        self._line: Line[_Waiter] = Line()
        self._clock, self._later = clock, later
        self._timer: _Timer | None = None
        self._requests = self._tokens = self._timeouts = 0
        self._waits: list[float] = [0.0, 0.0]

    async def acquire(
        self,
        estimated_tokens: int = 1000,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> None:
        """Wait until a call of so many tokens may be made; `release` when it has ended.

        Raises RateLimitTimeout (an asyncio.TimeoutError) after ``timeout`` seconds, and
        InvalidValue at once for what no minute has room for.
        """
        self._check(estimated_tokens)
        waiter, began = _Waiter(), self._clock()
        waiter.ticket = self._line.join(waiter, estimated_tokens)
        self._serve()
        expiry = None if timeout is None else self._after(timeout, lambda: _expire(waiter, timeout))
        try:
            await waiter.passed
        except BaseException as error:
            self._give_up(waiter, error)
            raise
        finally:
            if expiry is not None:
                expiry.cancel()
        self._count(estimated_tokens, (self._clock() - began) / SECOND)

    def release(self) -> None:
        """A call has ended: the next one may come. Raises InvalidValue if none is under way."""
        if not self._tiers.in_flight:
            raise InvalidValue("released more often than acquired")
        self._tiers.release()
        self._serve()

    def get_statistics(self) -> dict[str, Any]:
        """What has passed, and how long it had waited (seconds)."""
        total, longest = self._waits
        return {
            "total_requests": self._requests,
            "total_tokens": self._tokens,
            "total_wait_time": total,
            "average_wait_time": total / self._requests if self._requests else 0.0,
            "max_wait_time": longest,
            "timeouts": self._timeouts,
            "waiting": len(self._line),
            "concurrent_requests": self._tiers.in_flight,
            "limits": asdict(self.config),
        }

    def _check(self, tokens: int) -> None:
        if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 0:
            raise InvalidValue(f"estimated_tokens must be a whole number from 0, not {tokens!r}")
        most = self.config.tokens_per_minute
        if tokens > most:
            raise InvalidValue(
                f"{tokens:,} tokens at once are more than tokens_per_minute, {most:,}, ever admits",
                hint="Make the call smaller, or raise tokens_per_minute.",
            )

    def _serve(self) -> None:
        """Let through whoever is next, as far as they may; look again when the next one may."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._clock()
        while (head := self._line.head(now)) is not None:
            who, tokens = head
            if who.passed.done():
                self._leave(who)  # it has given up, and has had no turn to say so
                continue
            wait = self._tiers.acquire(now, tokens)
            if wait:
                if wait != No.FULL:
                    self._timer = self._after(wait / SECOND, self._serve)
                return
            self._line.served(now)
            who.ticket = None
            who.passed.set_result(self._tiers.last)

    def _give_up(self, waiter: _Waiter, error: BaseException) -> None:
        """Who waits no longer leaves no trace: neither in the line nor among the calls."""
        self._timeouts += isinstance(error, RateLimitTimeout)
        self._leave(waiter)
        passed = waiter.passed
        if passed.done() and not passed.cancelled() and passed.exception() is None:
            self._tiers.settle(passed.result(), 0)
            self._tiers.release()
        self._serve()

    def _leave(self, waiter: _Waiter) -> None:
        if waiter.ticket is not None:
            self._line.leave(waiter.ticket)
            waiter.ticket = None

    def _count(self, tokens: int, waited: float) -> None:
        self._requests += 1
        self._tokens += tokens
        self._waits = [self._waits[0] + waited, max(self._waits[1], waited)]

    def _after(self, seconds: float, act: Callable[[], None]) -> _Timer:
        if self._later is not None:
            return self._later(seconds, act)
        return asyncio.get_running_loop().call_later(seconds, act)


def _expire(waiter: _Waiter, timeout: float) -> None:
    if not waiter.passed.done():
        late = RateLimitTimeout(f"the rate limit let nothing pass in {timeout} s")
        waiter.passed.set_exception(late)
