"""The circuit breaker: stop calling what keeps failing.

CLOSED -> OPEN after ``failure_threshold`` consecutive failures; OPEN -> HALF_OPEN when
``recovery_timeout`` has passed; HALF_OPEN -> CLOSED on a success, -> OPEN on a failure. Pure: time
comes in as microseconds. A 429 or an overloaded answer is not a failure (the limiter's business).
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from agenthive.core.values import Micros, to_micros


class BreakerState(StrEnum):
    """What a breaker lets through."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class BreakerPolicy(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """When a breaker opens and for how long. ``recovery_timeout`` is in seconds."""

    failure_threshold: int = 5
    recovery_timeout: float = 60.0
    half_open_max_calls: int = 1


class Breaker(msgspec.Struct):
    """The state of one breaker: shared by every call to one endpoint. ``until`` is a time (us)."""

    policy: BreakerPolicy
    state: BreakerState = BreakerState.CLOSED
    failures: int = 0
    until: Micros = 0
    probes: int = 0

    def allows_call(self, now: Micros) -> bool:
        """Whether one more call may start now. Does not change anything."""
        if self.state is BreakerState.CLOSED:
            return True
        if self.state is BreakerState.OPEN:
            return now >= self.until
        return self.probes < self.policy.half_open_max_calls

    def record_start(self, now: Micros) -> None:
        """A call that ``allows_call`` let through starts."""
        if self.state is BreakerState.OPEN and now >= self.until:
            self.state, self.probes = BreakerState.HALF_OPEN, 0
        if self.state is BreakerState.HALF_OPEN:
            self.probes += 1

    def record_success(self) -> None:
        """A call came back well."""
        self.state, self.failures, self.probes = BreakerState.CLOSED, 0, 0

    def record_failure(self, now: Micros) -> None:
        """A call failed in a way that says something about the endpoint.

        Failures of calls that were under way when it opened do not keep it open for longer.
        """
        if self.state is BreakerState.OPEN:
            return
        self.failures += 1
        reopened = self.state is BreakerState.HALF_OPEN
        if reopened or self.failures >= self.policy.failure_threshold:
            self.state = BreakerState.OPEN
            self.until = now + to_micros(self.policy.recovery_timeout)
            self.probes = 0

    def release_probe(self) -> None:
        """A call ended without saying anything about the endpoint (cancelled, rate limited)."""
        if self.state is BreakerState.HALF_OPEN and self.probes > 0:
            self.probes -= 1
