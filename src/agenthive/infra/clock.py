"""Clocks: microseconds UTC for the journal, and a way to wait.

The system clock may step; inside one process the steady clock does not: it starts from the system
time and then follows the monotonic counter.
"""

from __future__ import annotations

import time


class SteadyClock:
    """Microseconds since the epoch that never go back while the process lives."""

    def __init__(self) -> None:
        self._offset = time.time_ns() - time.monotonic_ns()

    def now(self) -> int:
        """Microseconds since the epoch, UTC."""
        return (time.monotonic_ns() + self._offset) // 1000
