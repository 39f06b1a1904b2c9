"""The rate limits of a hive: one gate for each endpoint that has a limit.

A gate that admits no call closes the lanes of all agents at its endpoint, and opens them when a
call fits again. An endpoint whose agents declare no limit gets a gate when it throttles a call:
then it is called again after a pause, with fewer calls at once. The arrival times are written in
the batch of the calls that they admitted, so that a restart does not begin a day's quota anew.
`core.policies.rate_limit` (GCRA) and `core.policies.aimd` have the arithmetic. Pure; times are
microseconds.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Final, TypeAlias

import msgspec

from agenthive.core.engine.ready_queue import CLOSED_BY_LIMIT, UNLIMITED, Lane, ReadyQueue
from agenthive.core.model.calls import Fault, Headroom, Usage
from agenthive.core.policies.aimd import AdaptiveConcurrency
from agenthive.core.policies.rate_limit import NotAdmitted, RateLimit, RateLimiter, Receipt
from agenthive.core.values import SECOND, Micros

CallId: TypeAlias = tuple[str, str, int]
"""Run id, task key, attempt."""

RATE_LIMITED: Final = "rate_limited"
THROTTLE_KINDS: Final = frozenset({RATE_LIMITED, "overloaded"})
"""Kinds of fault that throttle: the endpoint is called too often, but it is healthy."""
FIRST_PAUSE, MAX_PAUSE = SECOND, 30 * SECOND
"""Pause after a throttled call without ``retry_after``: doubled each time, in microseconds."""
_NANOS_PER_MICRO: Final = 1000
_encode = msgspec.json.encode
_decoder = msgspec.json.Decoder(list[tuple[int, int]])


def _is_throttled(fault: Fault) -> bool:
    """Whether the endpoint is called too often. One that is overloaded may also be unhealthy."""
    asks_to_wait = fault.retry_after is not None or not fault.counts
    return fault.kind == RATE_LIMITED or (fault.kind in THROTTLE_KINDS and asks_to_wait)


class Gate:
    """The gate of one endpoint. ``lanes`` are those of its agents, by name."""

    __slots__ = ("closed", "closed_until", "concurrency", "lanes", "limiter", "throttle_count")

    def __init__(self, limit: RateLimit, lanes: dict[str, Lane]) -> None:
        #: Windows of requests and tokens; the concurrency is counted by the lanes.
        self.limiter = RateLimiter(msgspec.structs.replace(limit, concurrent_requests=None))
        max_concurrent = limit.concurrent_requests
        #: Calls that may be in progress at once, adapted to what the endpoint takes; None: any.
        self.concurrency = None if max_concurrent is None else AdaptiveConcurrency(max_concurrent)
        self.lanes = lanes
        #: Whether the lanes are closed by this gate.
        self.closed = False
        #: When the lanes open again; None: when a call ends.
        self.closed_until: Micros | None = 0
        #: Pauses in a row without a success between them.
        self.throttle_count = 0

    @property
    def in_flight(self) -> int:
        """The calls in progress at the endpoint."""
        return sum([lane.used for lane in self.lanes.values()])


class RateLimitGates:
    """All gates, by endpoint. Call `restore_marks` before a lane is attached."""

    def __init__(self, queue: ReadyQueue) -> None:
        self._queue = queue
        #: Gates by endpoint; an endpoint without a limit has none.
        self.gates: dict[str, Gate] = {}
        #: Endpoint -> its lanes, by name.
        self._lanes: dict[str, dict[str, Lane]] = {}
        #: Heap of (time in microseconds, endpoint) at which a gate opens.
        self._wakes: list[tuple[Micros, str]] = []
        #: Tokens that calls in progress have reserved.
        self._receipts: dict[CallId, Receipt] = {}
        #: Endpoint -> arrival times from before the restart, until a gate takes them.
        self._restored_marks: dict[str, str] = {}
        #: Endpoints that admitted a call since `take_marks` (the values are unused).
        self._changed_endpoints: dict[str, None] = {}

    def restore_marks(self, marks: dict[str, str]) -> None:
        """Set what `take_marks` returned before the restart, by endpoint."""
        self._restored_marks = marks

    def attach_lane(self, endpoint: str, lane: str, limit: RateLimit | None, now: Micros) -> None:
        """Register the lane of an agent at this endpoint. The first limit counts."""
        lanes = self._lanes.setdefault(endpoint, {})
        if lane not in lanes:
            lanes[lane] = self._queue.get_lane(lane)
        gate = self.gates.get(endpoint)
        if gate is None and limit is not None:
            gate = self.gates[endpoint] = Gate(limit, lanes)
            marks = self._restored_marks.pop(endpoint, "")
            if marks:
                gate.limiter.restore_marks(_decoder.decode(marks), now * _NANOS_PER_MICRO)
        elif gate is not None and gate.closed:
            self._queue.close_lane(lane, CLOSED_BY_LIMIT)

    def counts_tokens(self, endpoint: str) -> bool:
        """Whether the endpoint's limit counts the tokens of a call."""
        gate = self.gates.get(endpoint)
        return gate is not None and gate.limiter.limit.tokens_per_minute is not None

    def admit_call(self, endpoint: str, call: CallId, tokens: int, now: Micros) -> Micros:
        """Admit a call that has its slots already, or close the lanes of the endpoint.

        Returns 0 if the call may start now, `NotAdmitted.NEVER` if it needs more than the limit
        ever admits (the lanes stay open), else another number. The endpoint must have a gate.
        """
        gate = self.gates[endpoint]
        if gate.concurrency is not None and gate.in_flight > gate.concurrency.places:
            self._close_gate(endpoint, gate, None)
            return NotAdmitted.FULL
        wait = gate.limiter.acquire(now * _NANOS_PER_MICRO, tokens)
        if wait > 0:
            self._close_gate(endpoint, gate, now - (-wait // _NANOS_PER_MICRO))
        elif not wait:
            self._changed_endpoints[endpoint] = None
            if gate.limiter.last_receipt is not None:
                self._receipts[call] = gate.limiter.last_receipt
        return wait

    def record_call_end(
        self,
        endpoint: str,
        call: CallId,
        fault: Fault | None,
        usage: Usage | None,
        headroom: Headroom | None,
        now: Micros,
    ) -> Micros | None:
        """Record the end of a call, before its slots are freed.

        Returns the microseconds until the endpoint may be called again if the call was throttled.
        """
        gate = self.gates.get(endpoint)
        throttled = fault is not None and _is_throttled(fault)
        if gate is None:
            if not throttled:
                return None
            gate = self.gates[endpoint] = Gate(RateLimit(), self._lanes[endpoint])
        tokens_freed = self._settle_tokens(gate, call, usage, throttled=throttled)
        if headroom is not None:
            window = round(headroom.within * 1e9)
            gate.limiter.apply_quota(
                now * _NANOS_PER_MICRO, headroom.requests, headroom.tokens, window
            )
        if throttled and fault is not None:
            return self._pause_endpoint(endpoint, gate, fault, now)
        if fault is None:
            gate.throttle_count = 0
            if gate.concurrency is not None:
                gate.concurrency.record_success(gate.in_flight)
        if gate.closed and (gate.closed_until is None or tokens_freed):
            self._open_gate(gate)
        return None

    def _settle_tokens(
        self, gate: Gate, call: CallId, usage: Usage | None, *, throttled: bool
    ) -> bool:
        """Settle the tokens that a call reserved with those it used; whether some are freed."""
        receipt = self._receipts.pop(call, None)
        used = (
            0
            if throttled
            else None
            if usage is None or usage.is_unknown
            else usage.input_tokens + usage.output_tokens
        )
        if receipt is None or used is None:
            return False
        tokens_freed = used < receipt.tokens
        gate.limiter.settle(receipt, used)
        return tokens_freed

    def _pause_endpoint(self, endpoint: str, gate: Gate, fault: Fault, now: Micros) -> Micros:
        """Close the gate of an endpoint that throttled a call; returns the pause, microseconds."""
        requested_pause = None if fault.retry_after is None else round(fault.retry_after * SECOND)
        if gate.limiter.blocked_until <= now * _NANOS_PER_MICRO:
            gate.throttle_count += 1
        default_pause = min(FIRST_PAUSE << min(max(gate.throttle_count, 1) - 1, 10), MAX_PAUSE)
        pause = default_pause if requested_pause is None else requested_pause
        if gate.concurrency is None:
            gate.concurrency = AdaptiveConcurrency(max(gate.in_flight, 1), UNLIMITED)
        gate.concurrency.record_overload(now * _NANOS_PER_MICRO)
        gate.limiter.block((now + pause) * _NANOS_PER_MICRO, now * _NANOS_PER_MICRO)
        self._close_gate(endpoint, gate, gate.limiter.blocked_until // _NANOS_PER_MICRO)
        return gate.limiter.blocked_until // _NANOS_PER_MICRO - now

    def next_wake(self) -> Micros | None:
        """The time at which the next gate opens; None if none is waiting for a time."""
        return self._wakes[0][0] if self._wakes else None

    def tick(self, now: Micros) -> None:
        """Open the gates whose time is over."""
        while self._wakes and self._wakes[0][0] <= now:
            at, endpoint = heappop(self._wakes)
            gate = self.gates[endpoint]
            if gate.closed and gate.closed_until == at:
                self._open_gate(gate)

    def set_clock(self, now: Micros, by: Micros | None) -> None:
        """The clock was set and shows ``now``; ``by`` as for `RateLimiter.set_clock`, in us."""
        self._wakes = []
        step = None if by is None else by * _NANOS_PER_MICRO
        for endpoint, gate in self.gates.items():
            gate.limiter.set_clock(now * _NANOS_PER_MICRO, step)
            # Stored with the step: marks by the clock of before mean nothing after a restart.
            self._changed_endpoints[endpoint] = None
            if gate.concurrency is not None:
                gate.concurrency.forget_overload()
            # The next call finds out how long it really has to wait.
            if gate.closed and gate.closed_until is not None:
                self._open_gate(gate)

    def closed_until(self, endpoint: str) -> Micros | None:
        """When the gate of an endpoint opens; None if it is open, or waits for a call to end."""
        gate = self.gates.get(endpoint)
        return gate.closed_until if gate is not None and gate.closed else None

    def take_marks(self) -> list[tuple[str, str]]:
        """(endpoint, arrival times as JSON) of gates that admitted calls since this was called."""
        changed_marks = [
            (endpoint, self.gates[endpoint].limiter.list_marks())
            for endpoint in self._changed_endpoints
        ]
        self._changed_endpoints = {}
        return [(endpoint, _encode(marks).decode()) for endpoint, marks in changed_marks if marks]

    def _close_gate(self, endpoint: str, gate: Gate, until: Micros | None) -> None:
        gate.closed, gate.closed_until = True, until
        for lane in gate.lanes:
            self._queue.close_lane(lane, CLOSED_BY_LIMIT)
        if until is not None:
            heappush(self._wakes, (until, endpoint))

    def _open_gate(self, gate: Gate) -> None:
        gate.closed = False
        for lane in gate.lanes:
            self._queue.open_lane(lane, CLOSED_BY_LIMIT)
