"""How many calls at once the other side can take, found by asking it: slowly more, quickly less.

Additive increase, multiplicative decrease (D.-M. Chiu, R. Jain, Computer Networks 17, 1989): one
more for each round of calls that went well while all places were used, three tenths less when the
other side says that it is too many, at most once in five seconds. Pure.
"""

from __future__ import annotations

from typing import Final

from agenthive.core.policies.rate_limit import SECOND, Nanos

LESS: Final = 0.7
PAUSE: Final[Nanos] = 5 * SECOND
"""What one wave of refusals leads to counts once."""


class Concurrency:
    """The places there are now: between 1 and ``most``, which is what it begins with."""

    __slots__ = ("_since", "_width", "most")

    def __init__(self, places: int, most: int | None = None) -> None:
        self.most = places if most is None else most
        self._width = float(places)
        self._since: Nanos | None = None

    @property
    def places(self) -> int:
        """How many calls may be under way at once."""
        return int(self._width)

    def went_well(self, in_flight: int) -> None:
        """A call went well, with so many under way, itself among them."""
        if in_flight >= self.places - 1:
            self._width = min(self._width + 1 / self._width, float(self.most))

    def too_many(self, now: Nanos) -> None:
        """The other side refused a call because there are too many."""
        if self._since is None or now - self._since >= PAUSE:
            self._since = now
            self._width = max(1.0, self._width * LESS)
