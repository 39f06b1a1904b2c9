"""The circuit breakers of a hive: one for each endpoint.

A breaker that opens closes the lanes of all agents at its endpoint, so that the queue picks none of
their tasks; when its time is over, the lanes open for probes. Opening and closing are recorded in
the hive's stream, and a new process restores them. `core.policies.circuit_breaker` decides when a
breaker opens; nothing here counts failures.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Final

import msgspec

from agenthive.core.engine.ready_queue import ReadyQueue
from agenthive.core.journal import run_events as ev
from agenthive.core.model.calls import Fault
from agenthive.core.policies.circuit_breaker import Breaker, BreakerPolicy, BreakerState
from agenthive.core.values import Micros, to_micros

_CLOSED: Final = BreakerState.CLOSED


def move_opening(
    until: Micros, opened: Micros, event: ev.ClockSteppedBack | ev.ClockSteppedForward
) -> Micros:
    """When a breaker that ``opened`` admits a probe, after the clock was set."""
    if isinstance(event, ev.ClockSteppedForward):
        return until + event.by
    shown = event.wall or event.at - event.by
    return until - event.by if event.seen or opened > shown else until


class BreakerRegistry:
    """All circuit breakers, by endpoint, with the lanes of the agents there."""

    def __init__(self, queue: ReadyQueue) -> None:
        self._queue = queue
        self._breakers: dict[str, Breaker] = {}
        #: Endpoint -> names of its lanes (the values are unused).
        self._lanes: dict[str, dict[str, None]] = {}
        #: Heap of (time in microseconds, endpoint) at which an open breaker admits a probe.
        self._wakes: list[tuple[Micros, str]] = []
        #: Endpoint -> event of a breaker that was open before the restart and has no lane yet.
        self._restored_events: dict[str, ev.BreakerOpened] = {}
        #: Lanes that were closed since `take_closed_lanes` was called last.
        self._closed_lanes: list[str] = []

    def restore_breaker(self, event: ev.HiveEvent) -> None:
        """Apply an event of the hive's stream from before the restart."""
        if isinstance(event, ev.BreakerOpened):
            self._restored_events[event.endpoint] = event
        elif isinstance(event, ev.BreakerClosed):
            self._restored_events.pop(event.endpoint, None)
        elif isinstance(event, ev.ClockSteppedBack | ev.ClockSteppedForward):
            self.set_clock(event)

    def set_clock(self, event: ev.ClockSteppedBack | ev.ClockSteppedForward) -> None:
        """The clock was set: open breakers stay open for as long as they would have."""
        for endpoint, opened_event in self._restored_events.items():
            until = move_opening(opened_event.until, opened_event.time, event)
            moved = until - opened_event.until
            self._restored_events[endpoint] = msgspec.structs.replace(
                opened_event, at=opened_event.time + moved, wall=0, until=until
            )
        for endpoint, breaker in self._breakers.items():
            if breaker.state is BreakerState.OPEN:
                length = to_micros(breaker.policy.recovery_timeout)
                breaker.until = move_opening(breaker.until, breaker.until - length, event)
                heappush(self._wakes, (breaker.until, endpoint))

    def attach_lane(
        self, endpoint: str, lane: str, policy: BreakerPolicy | None, now: Micros
    ) -> None:
        """Register the lane of an agent at this endpoint. The policy of the first lane counts."""
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
        """Whether one more call may start at the endpoint now."""
        return self._breakers[endpoint].allows_call(now)

    def take_closed_lanes(self) -> list[str]:
        """The lanes that were closed since the last call of this method."""
        closed_lanes, self._closed_lanes = self._closed_lanes, []
        return closed_lanes

    def state(self, endpoint: str) -> Breaker | None:
        """The breaker of an endpoint; None if no agent of an open run uses it."""
        return self._breakers.get(endpoint)

    def record_start(self, endpoint: str, now: Micros) -> None:
        """Record that a call starts; a half-open breaker closes its lanes after the last probe."""
        breaker = self._breakers[endpoint]
        if breaker.state is _CLOSED:
            return
        breaker.record_start(now)
        if not breaker.allows_call(now):
            self._set_lanes(endpoint, closed=True)

    def record_success(self, endpoint: str, now: Micros) -> list[ev.HiveEvent]:
        """Record a success; returns the event to journal if it closed the breaker."""
        breaker = self._breakers[endpoint]
        if breaker.state is _CLOSED:
            if breaker.failures:
                breaker.record_success()
            return []
        breaker.record_success()
        self._set_lanes(endpoint, closed=False)
        return [ev.BreakerClosed(at=now, endpoint=endpoint)]

    def record_failure(self, endpoint: str, fault: Fault, now: Micros) -> list[ev.HiveEvent]:
        """Record a failure; returns the event to journal if it opened the breaker."""
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
        """The time at which the next breaker admits a probe; None if none is open."""
        return self._wakes[0][0] if self._wakes else None

    def tick(self, now: Micros) -> None:
        """Open the lanes of breakers whose time is over; their next call is a probe."""
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
