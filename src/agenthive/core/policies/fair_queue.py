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
AGING_INTERVAL: Final[Nanos] = 60 * SECOND
_Entry = tuple[float, int, int, T]


class _PriorityClass(Generic[T]):
    __slots__ = ("entries", "passed_since")

    def __init__(self) -> None:
        self.entries: list[_Entry[T]] = []
        self.passed_since: Nanos | None = None


class FairQueue(Generic[T]):
    """Those who wait. ``T`` is who; a size is given with each."""

    def __init__(self) -> None:
        self._classes: dict[int, _PriorityClass[T]] = {}
        self._finish: dict[str, float] = {}
        self._virtual = 0.0
        self._number = 0
        self._removed: set[int] = set()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def enqueue(self, waiter: T, size: int, *, priority: int = 5, tenant: str = "") -> int:
        """Come into the line; the ticket to leave it with."""
        start = max(self._virtual, self._finish.get(tenant, 0.0))
        self._finish[tenant] = start + size
        self._number += 1
        self._length += 1
        queue = self._classes.setdefault(priority, _PriorityClass())
        heappush(queue.entries, (start, self._number, size, waiter))
        return self._number

    def remove(self, ticket: int) -> None:
        """Somebody who still waits does not wait any more."""
        self._removed.add(ticket)
        self._length -= 1

    def peek(self, now: Nanos) -> tuple[T, int] | None:
        """Who is next, and the size; None if nobody waits."""
        best_priority = self._find_best_class(now)
        if best_priority is None:
            return None
        _, _, size, waiter = self._classes[best_priority].entries[0]
        return waiter, size

    def dequeue(self, now: Nanos) -> None:
        """The head has got what it waited for."""
        best_priority = self._find_best_class(now)
        if best_priority is None:
            return
        start, _, _, _ = heappop(self._classes[best_priority].entries)
        self._length -= 1
        self._virtual = max(self._virtual, start)
        if not self._length:
            self._finish.clear()
            self._virtual = 0.0
        self._classes[best_priority].passed_since = None
        for priority, queue in self._classes.items():
            if priority < best_priority and queue.entries and queue.passed_since is None:
                queue.passed_since = now

    def _find_best_class(self, now: Nanos) -> int | None:
        best_priority: int | None = None
        rank = 0
        for priority, queue in self._classes.items():
            while queue.entries and queue.entries[0][1] in self._removed:
                self._removed.discard(heappop(queue.entries)[1])
            if not queue.entries:
                queue.passed_since = None
                continue
            aged = 0 if queue.passed_since is None else (now - queue.passed_since) // AGING_INTERVAL
            effective_priority = priority + aged
            if (
                best_priority is None
                or effective_priority > rank
                or (effective_priority == rank and priority > best_priority)
            ):
                best_priority, rank = priority, effective_priority
        return best_priority
