"""The rate limits of a hive: one gate an endpoint, closing and opening the lanes that lead there.

An endpoint whose agents declare no limit has no gate until the other side says that it is too much;
then it is asked again after a pause, with fewer calls at once. Arrival times are written with what
they admitted, so that a restart does not begin a day's quota anew. Pure; times are microseconds.
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

THROTTLE_KINDS: Final = frozenset({"rate_limited", "overloaded"})
"""Faults that say that the other side is asked too often; it is not unwell."""
FIRST_PAUSE, MAX_PAUSE = SECOND, 30 * SECOND
"""How long an endpoint is left alone that does not say for how long."""
_NANOS_PER_MICRO: Final = 1000
_encode = msgspec.json.encode
_decoder = msgspec.json.Decoder(list[tuple[int, int]])


class Gate:
    """What stands before one endpoint. ``until`` is when its lanes open again, None if unknown."""

    __slots__ = ("closed", "closed_until", "concurrency", "lanes", "limiter", "throttle_count")

    def __init__(self, limit: RateLimit, lanes: dict[str, Lane]) -> None:
        self.limiter = RateLimiter(msgspec.structs.replace(limit, concurrent_requests=None))
        max_concurrent = limit.concurrent_requests
        self.concurrency = None if max_concurrent is None else AdaptiveConcurrency(max_concurrent)
        self.lanes = lanes
        self.closed = False
        self.closed_until: Micros | None = 0
        self.throttle_count = 0

    @property
    def in_flight(self) -> int:
        """The calls that are under way."""
        return sum([lane.used for lane in self.lanes.values()])


class RateLimitGates:
    """All ``gates``, by endpoint. `restore_marks` what was kept before anything is attached."""

    def __init__(self, queue: ReadyQueue) -> None:
        self._queue = queue
        self.gates: dict[str, Gate] = {}
        self._lanes: dict[str, dict[str, Lane]] = {}
        self._wakes: list[tuple[Micros, str]] = []
        self._receipts: dict[CallId, Receipt] = {}
        self._restored_marks: dict[str, str] = {}
        self._changed_endpoints: dict[str, None] = {}

    def restore_marks(self, marks: dict[str, str]) -> None:
        """What `marks` gave before the restart."""
        self._restored_marks = marks

    def attach_lane(self, endpoint: str, lane: str, limit: RateLimit | None) -> None:
        """A lane leads to this endpoint. The first limit that is seen counts."""
        lanes = self._lanes.setdefault(endpoint, {})
        if lane not in lanes:
            lanes[lane] = self._queue.get_lane(lane)
        gate = self.gates.get(endpoint)
        if gate is None and limit is not None:
            gate = self.gates[endpoint] = Gate(limit, lanes)
            marks = self._restored_marks.pop(endpoint, "")
            if marks:
                gate.limiter.restore_marks(_decoder.decode(marks))
        elif gate is not None and gate.closed:
            self._queue.close_lane(lane, CLOSED_BY_LIMIT)

    def counts_tokens(self, endpoint: str) -> bool:
        """Whether the tokens of a call matter there."""
        gate = self.gates.get(endpoint)
        return gate is not None and gate.limiter.limit.tokens_per_minute is not None

    def admit_call(self, endpoint: str, call: CallId, tokens: int, now: Micros) -> Micros:
        """0 if a call may start now, which has its slot already; else the lanes there close.

        Only where there is a gate. `No.NEVER` if it is larger than what is admitted at all: then
        they stay as they are.
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
        """A call has ended, whose slot is still taken. The pause if there are too many."""
        gate = self.gates.get(endpoint)
        throttled = fault is not None and fault.kind in THROTTLE_KINDS and not fault.counts
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
        """A call used other tokens than it reserved; whether some are free again."""
        receipt = self._receipts.pop(call, None)
        used = (
            0 if throttled else None if usage is None else usage.input_tokens + usage.output_tokens
        )
        if receipt is None or used is None:
            return False
        tokens_freed = used < receipt.tokens
        gate.limiter.settle(receipt, used)
        return tokens_freed

    def _pause_endpoint(self, endpoint: str, gate: Gate, fault: Fault, now: Micros) -> Micros:
        requested_pause = None if fault.retry_after is None else round(fault.retry_after * SECOND)
        if gate.limiter.blocked_until <= now * _NANOS_PER_MICRO:
            gate.throttle_count += 1
        default_pause = min(FIRST_PAUSE << min(max(gate.throttle_count, 1) - 1, 10), MAX_PAUSE)
        pause = default_pause if requested_pause is None else requested_pause
        if gate.concurrency is None:
            gate.concurrency = AdaptiveConcurrency(max(gate.in_flight, 1), UNLIMITED)
        gate.concurrency.record_overload(now * _NANOS_PER_MICRO)
        gate.limiter.block((now + pause) * _NANOS_PER_MICRO)
        self._close_gate(endpoint, gate, gate.limiter.blocked_until // _NANOS_PER_MICRO)
        return gate.limiter.blocked_until // _NANOS_PER_MICRO - now

    def next_wake(self) -> Micros | None:
        """When a gate opens."""
        return self._wakes[0][0] if self._wakes else None

    def tick(self, now: Micros) -> None:
        """Open the gates whose time has come."""
        while self._wakes and self._wakes[0][0] <= now:
            at, endpoint = heappop(self._wakes)
            gate = self.gates[endpoint]
            if gate.closed and gate.closed_until == at:
                self._open_gate(gate)

    def closed_until(self, endpoint: str) -> Micros | None:
        """When the gate before an endpoint opens, if it is closed for a time."""
        gate = self.gates.get(endpoint)
        return gate.closed_until if gate is not None and gate.closed else None

    def take_marks(self) -> list[tuple[str, str]]:
        """The arrival times of the gates that admitted something since this was asked last."""
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
