"""Reliability patterns as objects of their own, for code that runs outside a workflow.

`CircuitBreaker` and `retry` use the same arithmetic as runs do (`core.policies`); inside a workflow
declare them instead, so that they are journaled. Observers are notified of the events of a run.
Nothing here decides anything. To add a pattern: a class over a policy of the core.
"""

from __future__ import annotations

import asyncio
import functools
import random
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, TypeVar

from agenthive.core.policies.circuit_breaker import Breaker, BreakerPolicy, BreakerState
from agenthive.core.policies.retry import RetryPolicy
from agenthive.core.values import SECOND
from agenthive.errors import AgentUnavailable
from agenthive.infra.clock import SystemClock

T = TypeVar("T")

CircuitBreakerConfig = BreakerPolicy
CircuitState = BreakerState
RetryConfig = RetryPolicy


class CircuitBreaker:
    """Stops calls that keep failing: CLOSED -> OPEN -> HALF_OPEN -> CLOSED.

    ``recovery_timeout`` is seconds. Explicit arguments take precedence over ``config``.
    """

    def __init__(
        self,
        failure_threshold: int | None = None,
        recovery_timeout: float | None = None,
        config: CircuitBreakerConfig | None = None,
        *,
        clock: Callable[[], int] | None = None,
    ) -> None:
        base = config or CircuitBreakerConfig()
        policy = BreakerPolicy(
            failure_threshold=failure_threshold or base.failure_threshold,
            recovery_timeout=(
                base.recovery_timeout if recovery_timeout is None else recovery_timeout
            ),
            half_open_max_calls=base.half_open_max_calls,
        )
        self.config = policy
        self._breaker = Breaker(policy)
        self._clock = clock or SystemClock().now

    @property
    def state(self) -> CircuitState:
        """The current state of the breaker."""
        open_now = self._breaker.state is BreakerState.OPEN
        if open_now and self._breaker.allows_call(self._clock()):
            return BreakerState.HALF_OPEN
        return self._breaker.state

    async def call(self, function: Callable[..., Awaitable[T]], *args: Any, **named: Any) -> T:
        """Await ``function``; raises AgentUnavailable("Circuit breaker is open") if it is open."""
        async with self:
            return await function(*args, **named)

    def protect(self, function: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
        """Decorator: every call of the async function goes through the breaker."""

        @functools.wraps(function)
        async def protected(*args: Any, **named: Any) -> T:
            return await self.call(function, *args, **named)

        return protected

    async def __aenter__(self) -> CircuitBreaker:
        now = self._clock()
        if not self._breaker.allows_call(now):
            raise AgentUnavailable(
                "Circuit breaker is open", hint="Wait until the recovery timeout has passed."
            )
        self._breaker.record_start(now)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._breaker.record_success()
        elif isinstance(error, asyncio.CancelledError):
            self._breaker.release_probe()
        else:
            self._breaker.record_failure(self._clock())


async def retry(function: Callable[[], Awaitable[T]], config: RetryConfig | None = None) -> T:
    """Await ``function`` until it succeeds or its attempts are used up; raises its last error."""
    policy = config or RetryConfig()
    attempt = 1
    while True:
        try:
            return await function()
        except Exception:
            if attempt >= policy.max_attempts:
                raise
            await asyncio.sleep(policy.compute_delay(attempt, random.random()) / SECOND)
            attempt += 1


class Observer(ABC):
    """Receives the events of a subject."""

    @abstractmethod
    async def update(self, subject: Subject, event_type: str, data: Any) -> None:
        """Handle an event: its name, like ``task_completed``, and the object that changed."""


class Subject:
    """An object that observers watch."""

    def __init__(self) -> None:
        self._observers: list[Observer] = []

    def attach(self, observer: Observer) -> None:
        """Add an observer."""
        if observer not in self._observers:
            self._observers.append(observer)

    def detach(self, observer: Observer) -> None:
        """Remove an observer."""
        if observer in self._observers:
            self._observers.remove(observer)

    async def notify(self, event_type: str, data: Any) -> None:
        """Notify every observer, in the order in which they were attached."""
        for observer in list(self._observers):
            await observer.update(self, event_type, data)
