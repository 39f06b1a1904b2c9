"""The clock of a process: microseconds UTC for the journal.

The system clock can step, for example when NTP corrects it. `SteadyClock` does not within one
process: it takes the system time once and then follows the monotonic counter. Never waits; waiting
is the runtime's.
"""

from __future__ import annotations

import time


class SteadyClock:
    """Microseconds since the epoch that never go back while the process lives."""

    def __init__(self) -> None:
        #: Nanoseconds from the monotonic counter to the system time at the start.
        self._offset = time.time_ns() - time.monotonic_ns()

    def now(self) -> int:
        """Microseconds since the epoch, UTC."""
        return (time.monotonic_ns() + self._offset) // 1000
