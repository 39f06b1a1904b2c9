"""A rate limiter for code outside a workflow: the five tiers of agenthive with a FIFO queue.

In a workflow the gate of the hive does this, by the same tiers, and keeps a daily quota over a
restart. Waiters are admitted in order (FIFO): a small call does not overtake a large one.
`core.policies.rate_limit` decides what is admitted; to add a tier, see there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from agenthive.core.policies.fair_queue import FairQueue
from agenthive.core.policies.rate_limit import SECOND, Nanos, NotAdmitted, RateLimit, Receipt
from agenthive.core.policies.rate_limit import RateLimiter as Tiers
from agenthive.errors import InvalidValue, RateLimitTimeout


@dataclass
class RateLimitConfig:
    """The limits. Each tier admits calls evenly, with a burst of a tenth of its limit."""

    requests_per_minute: int = 60
    requests_per_hour: int = 3000
    requests_per_day: int = 50000
    tokens_per_minute: int = 100000
    #: Calls between `RateLimiter.acquire` and `RateLimiter.release`.
    concurrent_requests: int = 10

    def limit(self) -> RateLimit:
        """The same limits as agenthive writes them. Raises InvalidValue."""
        for name, maximum in asdict(self).items():
            if isinstance(maximum, bool) or not isinstance(maximum, int) or maximum < 1:
                raise InvalidValue(f"{name} must be a whole number from 1, not {maximum!r}")
        return RateLimit(**asdict(self))


class _Timer(Protocol):
    def cancel(self) -> None: ...


#: Calls a function after so many seconds, unless it is cancelled.
Later = Callable[[float, Callable[[], None]], _Timer]


class _Waiter:
    """One call of `acquire` that waits; ``ticket`` is None outside the queue."""

    def __init__(self) -> None:
        self.passed: asyncio.Future[Receipt | None] = asyncio.get_running_loop().create_future()
        self.ticket: int | None = None


class RateLimiter:
    """Admits calls as fast as its config allows. ``clock`` returns nanoseconds."""

    def __init__(
        self,
        config: RateLimitConfig | None = None,
        *,
        clock: Callable[[], Nanos] = time.monotonic_ns,
        later: Later | None = None,
    ) -> None:
        self.config = config or RateLimitConfig()
        self._tiers = Tiers(self.config.limit())
        self._queue: FairQueue[_Waiter] = FairQueue()
        self._clock, self._later = clock, later
        self._timer: _Timer | None = None
        self._requests = self._tokens = self._timeouts = 0
        self._waits: list[float] = [0.0, 0.0]

    async def acquire(
        self,
        estimated_tokens: int = 1000,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> None:
        """Wait until a call with so many tokens may be made; call `release` when it has ended.

        Raises RateLimitTimeout (an asyncio.TimeoutError) after ``timeout`` seconds, and
        InvalidValue at once for more tokens than a minute admits.
        """
        self._check_tokens(estimated_tokens)
        waiter, start = _Waiter(), self._clock()
        waiter.ticket = self._queue.enqueue(waiter, estimated_tokens)
        self._serve_waiters()
        expiry = (
            None
            if timeout is None
            else self._call_later(timeout, lambda: _expire_waiter(waiter, timeout))
        )
        try:
            await waiter.passed
        except BaseException as error:
            self._abandon(waiter, error)
            raise
        finally:
            if expiry is not None:
                expiry.cancel()
        self._count_request(estimated_tokens, (self._clock() - start) / SECOND)

    def release(self) -> None:
        """End a call and admit the next one. Raises InvalidValue if no call is active."""
        if not self._tiers.in_flight:
            raise InvalidValue("released more often than acquired")
        self._tiers.release()
        self._serve_waiters()

    def get_statistics(self) -> dict[str, Any]:
        """The calls admitted so far, and how long they had waited (seconds)."""
        total, longest = self._waits
        return {
            "total_requests": self._requests,
            "total_tokens": self._tokens,
            "total_wait_time": total,
            "average_wait_time": total / self._requests if self._requests else 0.0,
            "max_wait_time": longest,
            "timeouts": self._timeouts,
            "waiting": len(self._queue),
            "concurrent_requests": self._tiers.in_flight,
            "limits": asdict(self.config),
        }

    def _check_tokens(self, tokens: int) -> None:
        if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 0:
            raise InvalidValue(f"estimated_tokens must be a whole number from 0, not {tokens!r}")
        maximum = self.config.tokens_per_minute
        if tokens > maximum:
            raise InvalidValue(
                f"{tokens:,} tokens are more than tokens_per_minute ({maximum:,}) admits at once",
                hint="Make the call smaller, or raise tokens_per_minute.",
            )

    def _serve_waiters(self) -> None:
        """Admit waiters in order as far as the limits allow; schedule a call for the next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._clock()
        while (head := self._queue.peek(now)) is not None:
            waiter, tokens = head
            if waiter.passed.done():
                self._leave_queue(waiter)  # it was cancelled, and has not run since
                continue
            wait = self._tiers.acquire(now, tokens)
            if wait:
                if wait != NotAdmitted.FULL:
                    self._timer = self._call_later(wait / SECOND, self._serve_waiters)
                return
            self._queue.dequeue(now)
            waiter.ticket = None
            waiter.passed.set_result(self._tiers.last_receipt)

    def _abandon(self, waiter: _Waiter, error: BaseException) -> None:
        """Remove a waiter that was cancelled or timed out, from the queue and from the calls."""
        self._timeouts += isinstance(error, RateLimitTimeout)
        self._leave_queue(waiter)
        passed = waiter.passed
        if passed.done() and not passed.cancelled() and passed.exception() is None:
            self._tiers.settle(passed.result(), 0)
            self._tiers.release()
        self._serve_waiters()

    def _leave_queue(self, waiter: _Waiter) -> None:
        if waiter.ticket is not None:
            self._queue.remove(waiter.ticket)
            waiter.ticket = None

    def _count_request(self, tokens: int, waited: float) -> None:
        self._requests += 1
        self._tokens += tokens
        self._waits = [self._waits[0] + waited, max(self._waits[1], waited)]

    def _call_later(self, seconds: float, callback: Callable[[], None]) -> _Timer:
        if self._later is not None:
            return self._later(seconds, callback)
        return asyncio.get_running_loop().call_later(seconds, callback)


def _expire_waiter(waiter: _Waiter, timeout: float) -> None:
    if not waiter.passed.done():
        error = RateLimitTimeout(f"the rate limit admitted no call within {timeout} s")
        waiter.passed.set_exception(error)
