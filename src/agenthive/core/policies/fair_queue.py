"""A fair line of those who wait for the same thing, some of it large, some of it urgent.

Ten classes of priority; within one, tenants take turns by what they have been given (start-time
fair queueing: P. Goyal et al., SIGCOMM 1996, with the size as the cost). Nobody passes the head of
the line, however small: what is large waits no longer than for what stood before it. A class that
higher ones were served before moves up one for each minute of that. Pure: time is given.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Final, Generic, TypeVar

from agenthive.core.policies.rate_limit import SECOND, Nanos

T = TypeVar("T")
AGE: Final[Nanos] = 60 * SECOND
_Entry = tuple[float, int, int, T]


class _Class(Generic[T]):
    __slots__ = ("entries", "passed_since")

    def __init__(self) -> None:
        self.entries: list[_Entry[T]] = []
        self.passed_since: Nanos | None = None


class Line(Generic[T]):
    """Those who wait. ``T`` is who; a size is given with each."""

    def __init__(self) -> None:
        self._classes: dict[int, _Class[T]] = {}
        self._finish: dict[str, float] = {}
        self._virtual = 0.0
        self._number = 0
        self._gone: set[int] = set()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def join(self, who: T, size: int, *, priority: int = 5, tenant: str = "") -> int:
        """Come into the line; the ticket to leave it with."""
        start = max(self._virtual, self._finish.get(tenant, 0.0))
        self._finish[tenant] = start + size
        self._number += 1
        self._length += 1
        line = self._classes.setdefault(priority, _Class())
        heappush(line.entries, (start, self._number, size, who))
        return self._number

    def leave(self, ticket: int) -> None:
        """Somebody who still waits does not wait any more."""
        self._gone.add(ticket)
        self._length -= 1

    def head(self, now: Nanos) -> tuple[T, int] | None:
        """Who is next, and the size; None if nobody waits."""
        best = self._best(now)
        if best is None:
            return None
        _, _, size, who = self._classes[best].entries[0]
        return who, size

    def served(self, now: Nanos) -> None:
        """The head has got what it waited for."""
        best = self._best(now)
        if best is None:
            return
        start, _, _, _ = heappop(self._classes[best].entries)
        self._length -= 1
        self._virtual = max(self._virtual, start)
        if not self._length:
            self._finish.clear()
            self._virtual = 0.0
        self._classes[best].passed_since = None
        for priority, line in self._classes.items():
            if priority < best and line.entries and line.passed_since is None:
                line.passed_since = now

    def _best(self, now: Nanos) -> int | None:
        best: int | None = None
        rank = 0
        for priority, line in self._classes.items():
            while line.entries and line.entries[0][1] in self._gone:
                self._gone.discard(heappop(line.entries)[1])
            if not line.entries:
                line.passed_since = None
                continue
            aged = 0 if line.passed_since is None else (now - line.passed_since) // AGE
            here = priority + aged
            if best is None or here > rank or (here == rank and priority > best):
                best, rank = priority, here
        return best
