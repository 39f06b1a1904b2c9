"""Retry: how many attempts a task has, and how long it waits between them.

Whether a fault may be retried at all is decided in `core.machine.guards.outcome`, never here. Pure:
the random draw comes in as a number in [0, 1) that the caller has journaled. To add a strategy: a
member of `RetryStrategy` and its case in `delay_ceiling`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import assert_never

import msgspec

from agenthive.core.policies.fault_classes import DEFAULT_RETRY_ON, FaultClass
from agenthive.core.values import Micros, to_micros


class RetryStrategy(StrEnum):
    """How the delay grows from one attempt to the next."""

    EXPONENTIAL_BACKOFF = "exponential_backoff"
    LINEAR_BACKOFF = "linear_backoff"
    CONSTANT_DELAY = "constant_delay"
    IMMEDIATE = "immediate"


class RetryPolicy(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """How often and how soon a failed attempt is retried."""

    #: Attempts in all, the first one included: 1 means no retry.
    max_attempts: int = 3
    strategy: RetryStrategy = RetryStrategy.EXPONENTIAL_BACKOFF
    #: Seconds after the first failed attempt.
    initial_delay: float = 1.0
    #: Seconds; no delay of the policy is longer.
    max_delay: float = 60.0
    #: Factor from one delay to the next, for exponential back-off.
    exponential_base: float = 2.0
    #: Whether delays are randomised, so that many tasks do not retry at the same moment.
    jitter: bool = True
    #: Classes of faults after which another attempt is made. A task with ``effect: once`` is
    #: attempted again only after `FaultClass.NOT_SENT`, a refused call never.
    retry_on: tuple[FaultClass, ...] = DEFAULT_RETRY_ON

    @property
    def max_retries(self) -> int:
        """Attempts after the first one."""
        return self.max_attempts - 1

    @property
    def base_delay(self) -> float:
        """Another name of ``initial_delay``, in seconds."""
        return self.initial_delay

    def delay_ceiling(self, attempt: int) -> float:
        """The longest wait after failed attempt number ``attempt`` (from 1), in seconds."""
        match self.strategy:
            case RetryStrategy.IMMEDIATE:
                return 0.0
            case RetryStrategy.CONSTANT_DELAY:
                delay = self.initial_delay
            case RetryStrategy.LINEAR_BACKOFF:
                delay = self.initial_delay * attempt
            case RetryStrategy.EXPONENTIAL_BACKOFF:
                # The exponent is capped so that a large attempt number cannot overflow a float.
                delay = self.initial_delay * self.exponential_base ** min(attempt - 1, 64)
            case _:
                assert_never(self.strategy)
        return min(delay, self.max_delay)

    def compute_delay(self, attempt: int, draw: float, retry_after: float | None = None) -> Micros:
        """Microseconds to wait after failed attempt ``attempt`` (from 1).

        With ``jitter`` the wait is ``draw`` times the ceiling, for a ``draw`` in [0, 1) ("full
        jitter", M. Brooker, "Exponential Backoff And Jitter", AWS 2015). A longer ``retry_after``
        (seconds) of the other side replaces it.
        """
        ceiling = self.delay_ceiling(attempt)
        wait = ceiling * draw if self.jitter else ceiling
        return to_micros(max(wait, retry_after or 0.0))
