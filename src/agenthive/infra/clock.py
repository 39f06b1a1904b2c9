"""The clock of a process: the system time in microseconds UTC, and how it was set.

The system clock can be set, by a person or by NTP. `SystemClock` compares it with the counter of
the time that passes: where they differ, the clock was set, and the listener receives the step
before anybody sees the new time. Never waits; waiting is the runtime's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Final

TOLERANCE: Final = 1_000_000_000
"""Nanoseconds by which the system time may differ from the counter without having been set."""

#: The counter that also counts while the machine sleeps, if the system has one: then the time of
#: sleep has passed like any other, and the clock was not set.
_COUNTER_ID: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None)
#: Nanoseconds of the time that passes, from an arbitrary start.
_read_counter: Final[Callable[[], int]] = (
    time.monotonic_ns if _COUNTER_ID is None else partial(time.clock_gettime_ns, _COUNTER_ID)
)


class SystemClock:
    """Microseconds since the epoch; goes evenly, except when the system clock is set."""

    def __init__(self) -> None:
        #: Nanoseconds from the counter to the system time.
        self._offset = time.time_ns() - _read_counter()
        #: Receives what the clock shows and by how many microseconds it was set (negative: back).
        self.on_step: Callable[[int, int], None] | None = None

    def now(self) -> int:
        """Microseconds since the epoch, UTC."""
        counter = _read_counter()
        step = time.time_ns() - counter - self._offset
        if not -TOLERANCE < step < TOLERANCE:
            counter = self._follow_step()
        return (counter + self._offset) // 1000

    def _follow_step(self) -> int:
        """Go by the system time as it is now, and tell the listener; returns the counter."""
        while True:
            counter = _read_counter()
            step = time.time_ns() - counter - self._offset
            # If the process stood still between the two readings, they do not belong together.
            if _read_counter() - counter < TOLERANCE // 10:
                break
        if not -TOLERANCE < step < TOLERANCE:
            self._offset += step
            if self.on_step is not None:
                self.on_step((counter + self._offset) // 1000, step // 1000)
        return counter
