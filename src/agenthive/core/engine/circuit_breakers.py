"""The breakers of a hive: one per endpoint, closing and opening the lanes that lead there.

What opens or closes a breaker is journaled in the hive's stream, so a restart remembers it.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Final

from agenthive.core.engine.ready_queue import ReadyQueue
from agenthive.core.journal import run_events as ev
from agenthive.core.model.calls import Fault
from agenthive.core.policies.circuit_breaker import Breaker, BreakerPolicy, BreakerState
from agenthive.core.values import Micros

_CLOSED: Final = BreakerState.CLOSED


class BreakerRegistry:
    """All breakers, and the lanes behind each."""

    def __init__(self, queue: ReadyQueue) -> None:
        self._queue = queue
        self._breakers: dict[str, Breaker] = {}
        self._lanes: dict[str, dict[str, None]] = {}
        self._wakes: list[tuple[Micros, str]] = []
        self._restored_events: dict[str, ev.BreakerOpened] = {}
        self._closed_lanes: list[str] = []

    def restore_breaker(self, event: ev.HiveEvent) -> None:
        """Take in a fact from before the restart."""
        if isinstance(event, ev.BreakerOpened):
            self._restored_events[event.endpoint] = event
        elif isinstance(event, ev.BreakerClosed):
            self._restored_events.pop(event.endpoint, None)

    def attach_lane(
        self, endpoint: str, lane: str, policy: BreakerPolicy | None, now: Micros
    ) -> None:
        """A lane leads to this endpoint. The first policy that is seen counts."""
        lanes = self._lanes.setdefault(endpoint, {})
        if lane in lanes:
            return
        lanes[lane] = None
        breaker = self._breakers.get(endpoint)
        if breaker is None:
            breaker = self._breakers[endpoint] = Breaker(policy or BreakerPolicy())
            opened_event = self._restored_events.pop(endpoint, None)
            if opened_event is not None:
                breaker.state, breaker.until = BreakerState.OPEN, opened_event.until
                breaker.failures = opened_event.failures
                heappush(self._wakes, (opened_event.until, endpoint))
        if not breaker.allows_call(now):
            self._queue.close_lane(lane)

    def allows_call(self, endpoint: str, now: Micros) -> bool:
        """Whether one more call may start there now."""
        return self._breakers[endpoint].allows_call(now)

    def take_closed_lanes(self) -> list[str]:
        """The lanes that were closed since this was asked before."""
        closed_lanes, self._closed_lanes = self._closed_lanes, []
        return closed_lanes

    def state(self, endpoint: str) -> Breaker | None:
        """The breaker of an endpoint, if anything leads there."""
        return self._breakers.get(endpoint)

    def record_start(self, endpoint: str, now: Micros) -> None:
        """A call starts; in half-open state the lanes close behind the last allowed probe."""
        breaker = self._breakers[endpoint]
        if breaker.state is _CLOSED:
            return
        breaker.record_start(now)
        if not breaker.allows_call(now):
            self._set_lanes(endpoint, closed=True)

    def record_success(self, endpoint: str, now: Micros) -> list[ev.HiveEvent]:
        """A call came back well; the fact to journal if that closed the breaker."""
        breaker = self._breakers[endpoint]
        if breaker.state is _CLOSED:
            if breaker.failures:
                breaker.record_success()
            return []
        breaker.record_success()
        self._set_lanes(endpoint, closed=False)
        return [ev.BreakerClosed(at=now, endpoint=endpoint)]

    def record_failure(self, endpoint: str, fault: Fault, now: Micros) -> list[ev.HiveEvent]:
        """A call failed; the fact to journal if that opened the breaker."""
        breaker = self._breakers[endpoint]
        if not fault.counts:
            breaker.release_probe()
            if breaker.state is BreakerState.HALF_OPEN:
                self._set_lanes(endpoint, closed=False)
            return []
        already_open = breaker.state is BreakerState.OPEN
        breaker.record_failure(now)
        if breaker.state is not BreakerState.OPEN or already_open:
            return []
        self._set_lanes(endpoint, closed=True)
        self._closed_lanes += self._lanes[endpoint]
        heappush(self._wakes, (breaker.until, endpoint))
        opened_event = ev.BreakerOpened(
            at=now, endpoint=endpoint, until=breaker.until, failures=breaker.failures
        )
        return [opened_event]

    def next_wake(self) -> Micros | None:
        """When a breaker lets a probe through."""
        return self._wakes[0][0] if self._wakes else None

    def tick(self, now: Micros) -> None:
        """Open the lanes whose time has come; their next call is a probe."""
        while self._wakes and self._wakes[0][0] <= now:
            _, endpoint = heappop(self._wakes)
            breaker = self._breakers[endpoint]
            if breaker.state is BreakerState.OPEN and breaker.until <= now:
                self._set_lanes(endpoint, closed=False)

    def _set_lanes(self, endpoint: str, *, closed: bool) -> None:
        for lane in self._lanes[endpoint]:
            if closed:
                self._queue.close_lane(lane)
            else:
                self._queue.open_lane(lane)
