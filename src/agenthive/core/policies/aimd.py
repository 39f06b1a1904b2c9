"""Adaptive concurrency: how many calls at once an endpoint accepts, found by trying.

Additive increase, multiplicative decrease (AIMD; D.-M. Chiu, R. Jain, "Analysis of the increase and
decrease algorithms for congestion avoidance", Computer Networks 17, 1989). With a window of w
places, every success adds 1/w while the window is in use, so that a window full of successes adds
one place. A refusal for overload multiplies w by 0.7, at most one time in five seconds. Pure: never
reads a clock. To change the growth: `record_success`.
"""

from __future__ import annotations

from typing import Final

from agenthive.core.policies.rate_limit import SECOND, Nanos

DECREASE_FACTOR: Final = 0.7
"""Factor of the window at a refusal; that of CUBIC (RFC 9438), gentler than TCP's 0.5."""
DECREASE_INTERVAL: Final[Nanos] = 5 * SECOND
"""Nanoseconds during which further refusals change nothing: they belong to the same overload."""


class AdaptiveConcurrency:
    """A window of calls in flight, between 1 and ``max_places``; it begins with ``places``."""

    __slots__ = ("_since", "_width", "max_places")

    def __init__(self, places: int, max_places: int | None = None) -> None:
        #: The window never grows beyond this; ``places`` by default.
        self.max_places = places if max_places is None else max_places
        #: The window; a fraction, as it grows by fractions.
        self._width = float(places)
        #: Time of the last decrease (ns).
        self._since: Nanos | None = None

    @property
    def places(self) -> int:
        """How many calls may be in flight at once."""
        return int(self._width)

    def record_success(self, in_flight: int) -> None:
        """A call succeeded, with ``in_flight`` calls in flight, itself included."""
        # A window that is not in use must not grow: nothing shows that the endpoint accepts more.
        if in_flight >= self.places - 1:
            self._width = min(self._width + 1 / self._width, float(self.max_places))

    def forget_overload(self) -> None:
        """The clock was set: how long ago the last refusal was is not known any more."""
        self._since = None

    def record_overload(self, now: Nanos) -> None:
        """The other side refused a call because there were too many, at ``now`` (ns)."""
        if self._since is None or now - self._since >= DECREASE_INTERVAL:
            self._since = now
            self._width = max(1.0, self._width * DECREASE_FACTOR)
