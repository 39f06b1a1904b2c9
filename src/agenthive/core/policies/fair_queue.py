"""A fair queue of waiters of different sizes, tenants and priorities for one resource.

Ten classes of priority, 10 first. Within a class, tenants take turns in proportion to the sizes
that they have received: start-time fair queueing (P. Goyal, H. Vin, H. Cheng, SIGCOMM 1996) with
the size as the cost. Each waiter gets a start tag max(v, finish of its tenant), the finish of the
tenant becomes start + size, and the waiter with the least start tag is next; v is the largest start
tag that was served.

Waiters are admitted in order: a small one never overtakes the head, so that a large one waits no
longer than for those before it. To prevent starvation, a class that was passed over by higher ones
rises by one priority for each minute of that. Pure: never reads a clock. To change the order:
`_find_best_class` between classes, the start tag within one.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Final, Generic, TypeVar

from agenthive.core.policies.rate_limit import SECOND, Nanos

T = TypeVar("T")
AGING_INTERVAL: Final[Nanos] = 60 * SECOND
"""Nanoseconds of being passed over that raise a class by one priority."""
_Entry = tuple[float, int, int, T]
"""Start tag, ticket, size, waiter; the ticket breaks ties by age."""


class _PriorityClass(Generic[T]):
    __slots__ = ("entries", "passed_since")

    def __init__(self) -> None:
        #: A heap; its first entry is the head of the class.
        self.entries: list[_Entry[T]] = []
        #: Since when higher classes have been served before it (ns); None if they have not.
        self.passed_since: Nanos | None = None


class FairQueue(Generic[T]):
    """Waiters of type ``T``, each with a size."""

    def __init__(self) -> None:
        #: By priority.
        self._classes: dict[int, _PriorityClass[T]] = {}
        #: By tenant: the finish tag of its last waiter.
        self._finish: dict[str, float] = {}
        #: Virtual time: the largest start tag that was served.
        self._virtual = 0.0
        #: The last ticket.
        self._number = 0
        #: Tickets that left before their turn; their entries are dropped when they reach the head.
        self._removed: set[int] = set()
        #: Waiters, without the removed ones.
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def enqueue(self, waiter: T, size: int, *, priority: int = 5, tenant: str = "") -> int:
        """Add a waiter and return its ticket, which `remove` needs.

        ``size`` is in units of the resource; ``priority`` is 1 to 10.
        """
        start = max(self._virtual, self._finish.get(tenant, 0.0))
        self._finish[tenant] = start + size
        self._number += 1
        self._length += 1
        queue = self._classes.setdefault(priority, _PriorityClass())
        heappush(queue.entries, (start, self._number, size, waiter))
        return self._number

    def remove(self, ticket: int) -> None:
        """Remove a waiter that is still in the queue."""
        self._removed.add(ticket)
        self._length -= 1

    def peek(self, now: Nanos) -> tuple[T, int] | None:
        """The next waiter and its size at ``now`` (ns); None if the queue is empty."""
        best_priority = self._find_best_class(now)
        if best_priority is None:
            return None
        _, _, size, waiter = self._classes[best_priority].entries[0]
        return waiter, size

    def dequeue(self, now: Nanos) -> None:
        """Remove the next waiter: it has received the resource at ``now`` (ns)."""
        best_priority = self._find_best_class(now)
        if best_priority is None:
            return
        start, _, _, _ = heappop(self._classes[best_priority].entries)
        self._length -= 1
        self._virtual = max(self._virtual, start)
        # Nothing to be fair about in an empty queue; and the tags of past tenants are not kept.
        if not self._length:
            self._finish.clear()
            self._virtual = 0.0
        self._classes[best_priority].passed_since = None
        for priority, queue in self._classes.items():
            if priority < best_priority and queue.entries and queue.passed_since is None:
                queue.passed_since = now

    def _find_best_class(self, now: Nanos) -> int | None:
        """The class with the highest priority after aging; at a tie that of the higher priority."""
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
