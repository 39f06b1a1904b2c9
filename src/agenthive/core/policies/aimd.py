"""How many calls at once the other side can take, found by asking it: slowly more, quickly less.

Additive increase, multiplicative decrease (D.-M. Chiu, R. Jain, Computer Networks 17, 1989): one
more for each round of calls that went well while all places were used, three tenths less when the
other side says that it is too many, at most once in five seconds. Pure.
"""

from __future__ import annotations

from typing import Final

from agenthive.core.policies.rate_limit import SECOND, Nanos

DECREASE_FACTOR: Final = 0.7
DECREASE_INTERVAL: Final[Nanos] = 5 * SECOND
"""What one wave of refusals leads to counts once."""


class AdaptiveConcurrency:
    """The places there are now: between 1 and ``max_places``, which is what it begins with."""

    __slots__ = ("_since", "_width", "max_places")

    def __init__(self, places: int, max_places: int | None = None) -> None:
        self.max_places = places if max_places is None else max_places
        self._width = float(places)
        self._since: Nanos | None = None

    @property
    def places(self) -> int:
        """How many calls may be under way at once."""
        return int(self._width)

    def record_success(self, in_flight: int) -> None:
        """A call went well, with so many under way, itself among them."""
        if in_flight >= self.places - 1:
            self._width = min(self._width + 1 / self._width, float(self.max_places))

    def record_overload(self, now: Nanos) -> None:
        """The other side refused a call because there are too many."""
        if self._since is None or now - self._since >= DECREASE_INTERVAL:
            self._since = now
            self._width = max(1.0, self._width * DECREASE_FACTOR)
