"""The rate limits of a hive: one gate an endpoint, closing and opening the lanes that lead there.

An endpoint whose agents declare no limit has no gate until the other side says that it is too much;
then it is asked again after a pause, with fewer calls at once. Arrival times are written with what
they admitted, so that a restart does not begin a day's quota anew. Pure; times are microseconds.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Final, TypeAlias

import msgspec

from agenthive.core.engine.ready_queue import LIMIT, UNLIMITED, Lane, ReadyQueue
from agenthive.core.model.calls import Fault, Headroom, Usage
from agenthive.core.policies.aimd import Concurrency
from agenthive.core.policies.rate_limit import No, RateLimit, RateLimiter, Receipt
from agenthive.core.values import SECOND, Micros

CallId: TypeAlias = tuple[str, str, int]

TOO_MUCH: Final = frozenset({"rate_limited", "overloaded"})
"""Faults that say that the other side is asked too often; it is not unwell."""
FIRST_PAUSE, LONGEST_PAUSE = SECOND, 30 * SECOND
"""How long an endpoint is left alone that does not say for how long."""
_NANO: Final = 1000
_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(list[tuple[int, int]])


class Gate:
    """What stands before one endpoint. ``until`` is when its lanes open again, None if unknown."""

    __slots__ = ("closed", "lanes", "limiter", "places", "strikes", "until")

    def __init__(self, limit: RateLimit, lanes: dict[str, Lane]) -> None:
        self.limiter = RateLimiter(msgspec.structs.replace(limit, concurrent_requests=None))
        most = limit.concurrent_requests
        self.places = None if most is None else Concurrency(most)
        self.lanes = lanes
        self.closed = False
        self.until: Micros | None = 0
        self.strikes = 0

    @property
    def in_flight(self) -> int:
        """The calls that are under way."""
        return sum([lane.used for lane in self.lanes.values()])


class Limits:
    """All ``gates``, by endpoint. `remember` what was kept before anything is attached."""

    def __init__(self, queue: ReadyQueue) -> None:
        self._queue = queue
        self.gates: dict[str, Gate] = {}
        self._lanes: dict[str, dict[str, Lane]] = {}
        self._wakes: list[tuple[Micros, str]] = []
        self._receipts: dict[CallId, Receipt] = {}
        self._kept: dict[str, str] = {}
        self._moved: dict[str, None] = {}

    def remember(self, marks: dict[str, str]) -> None:
        """What `marks` gave before the restart."""
        self._kept = marks

    def attach(self, endpoint: str, lane: str, limit: RateLimit | None) -> None:
        """A lane leads to this endpoint. The first limit that is seen counts."""
        lanes = self._lanes.setdefault(endpoint, {})
        if lane not in lanes:
            lanes[lane] = self._queue.lane(lane)
        gate = self.gates.get(endpoint)
        if gate is None and limit is not None:
            gate = self.gates[endpoint] = Gate(limit, lanes)
            kept = self._kept.pop(endpoint, "")
            if kept:
                gate.limiter.restore(_decode.decode(kept))
        elif gate is not None and gate.closed:
            self._queue.close(lane, LIMIT)

    def sizes(self, endpoint: str) -> bool:
        """Whether the tokens of a call matter there."""
        gate = self.gates.get(endpoint)
        return gate is not None and gate.limiter.limit.tokens_per_minute is not None

    def admit(self, endpoint: str, call: CallId, tokens: int, now: Micros) -> Micros:
        """0 if a call may start now, which has its slot already; else the lanes there close.

        Only where there is a gate. `No.NEVER` if it is larger than what is admitted at all: then
        they stay as they are.
        """
        gate = self.gates[endpoint]
        if gate.places is not None and gate.in_flight > gate.places.places:
            self._close(endpoint, gate, None)
            return No.FULL
        wait = gate.limiter.acquire(now * _NANO, tokens)
        if wait > 0:
            self._close(endpoint, gate, now - (-wait // _NANO))
        elif not wait:
            self._moved[endpoint] = None
            if gate.limiter.last is not None:
                self._receipts[call] = gate.limiter.last
        return wait

    def heard(
        self, endpoint: str, call: CallId, fault: Fault | None, usage: Usage | None,
        headroom: Headroom | None, now: Micros,
    ) -> Micros | None:  # fmt: skip
        """A call has ended, whose slot is still taken. The pause if there are too many."""
        gate = self.gates.get(endpoint)
        refused = fault is not None and fault.kind in TOO_MUCH and not fault.counts
        if gate is None:
            if not refused:
                return None
            gate = self.gates[endpoint] = Gate(RateLimit(), self._lanes[endpoint])
        freed = self._settle(gate, call, usage, refused=refused)
        if headroom is not None:
            within = round(headroom.within * 1e9)
            gate.limiter.adopt(now * _NANO, headroom.requests, headroom.tokens, within)
        if refused and fault is not None:
            return self._pause(endpoint, gate, fault, now)
        if fault is None:
            gate.strikes = 0
            if gate.places is not None:
                gate.places.went_well(gate.in_flight)
        if gate.closed and (gate.until is None or freed):
            self._open(gate)
        return None

    def _settle(self, gate: Gate, call: CallId, usage: Usage | None, *, refused: bool) -> bool:
        """A call used other tokens than it reserved; whether some are free again."""
        receipt = self._receipts.pop(call, None)
        used = 0 if refused else None if usage is None else usage.input_tokens + usage.output_tokens
        if receipt is None or used is None:
            return False
        freed = used < receipt.tokens
        gate.limiter.settle(receipt, used)
        return freed

    def _pause(self, endpoint: str, gate: Gate, fault: Fault, now: Micros) -> Micros:
        asked = None if fault.retry_after is None else round(fault.retry_after * SECOND)
        if gate.limiter.blocked <= now * _NANO:
            gate.strikes += 1
        own = min(FIRST_PAUSE << min(max(gate.strikes, 1) - 1, 10), LONGEST_PAUSE)
        pause = own if asked is None else asked
        if gate.places is None:
            gate.places = Concurrency(max(gate.in_flight, 1), UNLIMITED)
        gate.places.too_many(now * _NANO)
        gate.limiter.block((now + pause) * _NANO)
        self._close(endpoint, gate, gate.limiter.blocked // _NANO)
        return gate.limiter.blocked // _NANO - now

    def next_wake(self) -> Micros | None:
        """When a gate opens."""
        return self._wakes[0][0] if self._wakes else None

    def tick(self, now: Micros) -> None:
        """Open the gates whose time has come."""
        while self._wakes and self._wakes[0][0] <= now:
            at, endpoint = heappop(self._wakes)
            gate = self.gates[endpoint]
            if gate.closed and gate.until == at:
                self._open(gate)

    def waits_until(self, endpoint: str) -> Micros | None:
        """When the gate before an endpoint opens, if it is closed for a time."""
        gate = self.gates.get(endpoint)
        return gate.until if gate is not None and gate.closed else None

    def marks(self) -> list[tuple[str, str]]:
        """The arrival times of the gates that admitted something since this was asked last."""
        found = [(name, self.gates[name].limiter.marks()) for name in self._moved]
        self._moved = {}
        return [(name, _encode(marks).decode()) for name, marks in found if marks]

    def _close(self, endpoint: str, gate: Gate, until: Micros | None) -> None:
        gate.closed, gate.until = True, until
        for lane in gate.lanes:
            self._queue.close(lane, LIMIT)
        if until is not None:
            heappush(self._wakes, (until, endpoint))

    def _open(self, gate: Gate) -> None:
        gate.closed = False
        for lane in gate.lanes:
            self._queue.open(lane, LIMIT)
