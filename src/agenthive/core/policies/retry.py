"""When a failed attempt is tried again, and after how long.

Pure: the random draw comes in as a number in [0, 1) that the caller has journaled.
"""

from __future__ import annotations

from enum import StrEnum
from typing import assert_never

import msgspec

from agenthive.core.values import Micros, to_micros


class RetryStrategy(StrEnum):
    """How the delay grows from one attempt to the next."""

    EXPONENTIAL_BACKOFF = "exponential_backoff"
    LINEAR_BACKOFF = "linear_backoff"
    CONSTANT_DELAY = "constant_delay"
    IMMEDIATE = "immediate"


class RetryPolicy(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """How often and how soon a failed attempt is tried again. Delays are in seconds.

    ``max_attempts`` counts all tries, the first one too: 1 means no retry.
    """

    max_attempts: int = 3
    strategy: RetryStrategy = RetryStrategy.EXPONENTIAL_BACKOFF
    initial_delay: float = 1.0
    max_delay: float = 60.0
    exponential_base: float = 2.0
    jitter: bool = True

    @property
    def max_retries(self) -> int:
        """How many tries come after the first."""
        return self.max_attempts - 1

    @property
    def base_delay(self) -> float:
        """The initial delay, in seconds, under its other name."""
        return self.initial_delay

    def delay_ceiling(self, attempt: int) -> float:
        """Seconds to wait at most after failed attempt number ``attempt`` (1 is the first)."""
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
        """Microseconds to wait after failed attempt ``attempt``.

        ``draw`` in [0, 1) spreads the wait over [0, ceiling) when ``jitter`` is on ("full jitter",
        M. Brooker, "Exponential Backoff And Jitter", AWS 2015). ``retry_after`` (seconds), what the
        other side asked for, wins when it is longer.
        """
        ceiling = self.delay_ceiling(attempt)
        wait = ceiling * draw if self.jitter else ceiling
        return to_micros(max(wait, retry_after or 0.0))
