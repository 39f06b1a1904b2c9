"""The circuit breaker: stop calling an endpoint that keeps failing.

    CLOSED    -> OPEN       after ``failure_threshold`` failures in a row
    OPEN      -> HALF_OPEN  at the first call after ``recovery_timeout``
    HALF_OPEN -> CLOSED     on a success
    HALF_OPEN -> OPEN       on a failure

M. Nygard, "Release It!", 2007. Pure: never reads a clock; times come in as microseconds. A reply of
429 or "overloaded" is not a failure here: the rate limit handles it. To add a condition for
opening: a field of `BreakerPolicy` and a line in `record_failure`.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from agenthive.core.values import Micros, to_micros


class BreakerState(StrEnum):
    """The state of a breaker, by what it lets through."""

    CLOSED = "closed"
    """Every call."""
    OPEN = "open"
    """No call, until its time has passed."""
    HALF_OPEN = "half_open"
    """A few probe calls."""


class BreakerPolicy(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """When a breaker opens, and for how long."""

    #: Failures in a row that open it.
    failure_threshold: int = 5
    #: Seconds for which it stays open.
    recovery_timeout: float = 60.0
    #: Probe calls at once while it is half open.
    half_open_max_calls: int = 1


class Breaker(msgspec.Struct):
    """One breaker, shared by every call to one endpoint."""

    policy: BreakerPolicy
    state: BreakerState = BreakerState.CLOSED
    #: Failures since the last success.
    failures: int = 0
    #: While open: when a probe may start (us).
    until: Micros = 0
    #: While half open: probe calls in flight.
    probes: int = 0

    def allows_call(self, now: Micros) -> bool:
        """Whether one more call may start at ``now`` (us). Changes nothing."""
        if self.state is BreakerState.CLOSED:
            return True
        if self.state is BreakerState.OPEN:
            return now >= self.until
        return self.probes < self.policy.half_open_max_calls

    def record_start(self, now: Micros) -> None:
        """A call starts at ``now`` (us), which ``allows_call`` must have let through."""
        if self.state is BreakerState.OPEN and now >= self.until:
            self.state, self.probes = BreakerState.HALF_OPEN, 0
        if self.state is BreakerState.HALF_OPEN:
            self.probes += 1

    def record_success(self) -> None:
        """A call succeeded: the breaker closes, also for a call that began before it opened."""
        self.state, self.failures, self.probes = BreakerState.CLOSED, 0, 0

    def record_failure(self, now: Micros) -> None:
        """A call failed at ``now`` (us), in a way that says something about the endpoint.

        Failures of calls that were in flight when the breaker opened do not keep it open longer.
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
