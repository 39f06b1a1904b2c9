"""A rate limiter to wait at, for code of one's own.

The tiers are the core's, and so is the order of those who wait: nobody passes the head of the line.
Inside an engine the hive paces calls itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agenthive.core.policies.line import Line
from agenthive.core.policies.rate_limit import SECOND, No, RateLimit
from agenthive.core.policies.rate_limit import RateLimiter as Tiers
from agenthive.errors import ConfigurationError, RateLimitTimeout
from agenthive.infra.clock import SteadyClock

Waiter = asyncio.Future[None]


@dataclass
class RateLimitConfig:
    """How much may pass. Raises ValueError for what is less than 1."""

    requests_per_minute: int = 60
    requests_per_hour: int = 3000
    requests_per_day: int = 50000
    tokens_per_minute: int = 100000
    concurrent_requests: int = 10

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, not {value!r}")

    def native(self) -> RateLimit:
        """As the core has it."""
        return RateLimit(**vars(self))


class RateLimiter:
    """Five tiers that admit a call all or not at all. ``clock`` gives nanoseconds."""

    def __init__(
        self, config: RateLimitConfig | None = None, *, clock: Callable[[], int] | None = None
    ) -> None:
        self.config = config or RateLimitConfig()
        steady = SteadyClock()
        self._clock = clock or (lambda: steady.now() * 1000)
        self._tiers = Tiers(self.config.native())
        self._line: Line[Waiter] = Line()
        self._alarm: asyncio.TimerHandle | None = None
        self._requests = self._tokens = self._waited = self._timed_out = 0
        self._wait_time = self._longest = 0.0

    async def acquire(self, estimated_tokens: int = 1000, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the document's name
        """Wait until a call of so many tokens may be made; `release` when it has ended.

        ``timeout`` is seconds. Raises asyncio.TimeoutError when it passes (also a
        RateLimitTimeout), ConfigurationError for a call larger than a minute's tokens.
        """
        if estimated_tokens > self.config.tokens_per_minute:
            raise ConfigurationError(
                f"a call of {estimated_tokens:,} tokens is more than tokens_per_minute "
                f"({self.config.tokens_per_minute:,}) ever admits"
            )
        began, waiter = self._clock(), asyncio.get_running_loop().create_future()
        ticket = self._line.join(waiter, max(0, estimated_tokens))
        self._admit()
        try:
            async with asyncio.timeout(timeout):
                await waiter
        except TimeoutError:
            self._timed_out += 1
            raise RateLimitTimeout(
                f"the rate limit did not let the call through in {timeout} s",
                hint="Wait longer, or raise the limit.",
            ) from None
        finally:
            self._left(ticket, waiter, estimated_tokens, began)

    def _left(self, ticket: int, waiter: Waiter, tokens: int, began: int) -> None:
        """Somebody is through, or waits no longer."""
        if not waiter.done() or waiter.cancelled():
            self._line.leave(ticket)
            self._admit()
            return
        waited = (self._clock() - began) / SECOND
        self._requests += 1
        self._tokens += tokens
        self._waited += waited > 0.001
        self._wait_time += waited
        self._longest = max(self._longest, waited)

    def release(self) -> None:
        """A call has ended: another one may be made. Raises RuntimeError if none is under way."""
        if self._tiers.in_flight < 1:
            raise RuntimeError("release() without acquire()")
        self._tiers.release()
        self._admit()

    def get_statistics(self) -> dict[str, Any]:
        """Requests and tokens that were let through, seconds waited, who waits now."""
        mean = self._wait_time / self._requests if self._requests else 0.0
        return {
            "total_requests": self._requests,
            "total_tokens": self._tokens,
            "total_waits": self._waited,
            "total_wait_time": self._wait_time,
            "average_wait_time": mean,
            "longest_wait_time": self._longest,
            "timeouts": self._timed_out,
            "current_concurrent": self._tiers.in_flight,
            "waiting": len(self._line),
        }

    def _admit(self) -> None:
        """Let through whoever may go, in their order; look again when the head may."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        while (head := self._line.head(self._clock())) is not None:
            waiter, tokens = head
            now = self._clock()
            wait = self._tiers.acquire(now, tokens)
            if wait == No.FULL:
                return
            if wait:
                loop = asyncio.get_running_loop()
                self._alarm = loop.call_later(wait / SECOND, self._admit)
                return
            self._line.served(now)
            waiter.set_result(None)
