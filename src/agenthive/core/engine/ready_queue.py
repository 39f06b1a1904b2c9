"""The ready queue: which task goes next, once there is a slot for it.

Late binding: a task waits here, not at an agent, and leaves only when its run, the hive and its
agent's *lane* (one per distinct agent; it holds the agent's slots) all have room. Order: priority,
then fair share between runs, then upward rank within the run, then age. An operation costs
O(log n) in the tasks that are ready, and O(k) in the agents of the run. Pure: it is told what
starts and ends, and knows no clock.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Final, TypeAlias

UNLIMITED: Final = 1 << 62
BREAKER, LIMIT = 1, 2
"""What may close a lane: the breaker of its endpoint, the rate limit there."""

Turn: TypeAlias = tuple[int, int, int, str]
"""A run's place among the turns: its best priority, what it has been given, a number, the run."""

NO_TURN: Final[Turn] = (0, 0, 0, "")


class Lane:
    """The slots of one agent. ``closed`` is what lets nothing through, 0 if nothing does."""

    __slots__ = ("capacity", "closed", "name", "used", "waiters")

    def __init__(self, name: str, capacity: int = UNLIMITED) -> None:
        self.name = name
        self.capacity = capacity
        self.used = 0
        self.closed = 0
        self.waiters: dict[str, None] = {}

    @property
    def free(self) -> bool:
        """Whether one more call may start."""
        return not self.closed and self.used < self.capacity


class Share:
    """One run's part of the queue: a heap of ready tasks per lane, and what it has been given."""

    __slots__ = ("capacity", "given", "heaps", "held", "run", "turn", "used")

    def __init__(self, run: str, capacity: int, given: int) -> None:
        self.run = run
        self.capacity = capacity
        self.given = given
        self.used = 0
        self.turn = NO_TURN
        """Its valid entry among the turns."""
        self.held: dict[str, int] = {}
        """How many slots of each lane its calls hold."""
        self.heaps: dict[str, list[tuple[int, float, int, int]]] = {}


class ReadyQueue:
    """Ready tasks of all runs. ``capacity`` bounds the calls under way in the whole hive."""

    def __init__(self, capacity: int = UNLIMITED) -> None:
        self.capacity = capacity
        self.used = 0
        self._lanes: dict[str, Lane] = {}
        self._shares: dict[str, Share] = {}
        self._turns: list[Turn] = []
        self._age = 0
        self._floor = 0
        self._front = 0

    def lane(self, name: str, capacity: int | None = None) -> Lane:
        """The lane of that name, made if need be."""
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = Lane(name, UNLIMITED if capacity is None else capacity)
        return lane

    def join(self, run: str, capacity: int) -> None:
        """A run comes in; it gets no credit for the time before."""
        self._shares[run] = Share(run, max(capacity, 1), self._floor)

    def leave(self, run: str) -> None:
        """A run goes, with all that it still had here."""
        share = self._shares.pop(run, None)
        if share is None:
            return
        self.used -= share.used
        for name, held in share.held.items():
            self._lanes[name].used -= held
        self._pass_on(share)

    def offer(self, run: str, task: int, lane: str, priority: int, rank: float) -> None:
        """A task is ready."""
        share = self._shares[run]
        self._age += 1
        heap = share.heaps.get(lane)
        if heap is None:
            heap = share.heaps[lane] = []
        heappush(heap, (-priority, -rank, self._age, task))
        if share.used < share.capacity and -priority < share.turn[0]:
            self._take_turn(share, -priority)

    def rerank(self, run: str, rank_of: Callable[[int], float]) -> None:
        """What is known of a run's tasks has changed: order those that wait by these ranks."""
        share = self._shares.get(run)
        if share is None:
            return
        for heap in share.heaps.values():
            heap[:] = [(best, -rank_of(task), age, task) for best, _, age, task in heap]
            heapify(heap)

    def pick(self) -> tuple[str, int, str] | None:
        """The (run, task, lane) to start now, taking its slots; None if nothing may start."""
        while self._turns and self.used < self.capacity:
            turn = heappop(self._turns)
            share = self._shares.get(turn[3])
            if share is None or share.turn is not turn:
                continue
            share.turn = NO_TURN
            lane = self._best_lane(share)
            if lane is not None:
                return self._take(share, lane)
        return None

    def waiting(self, lane: str) -> list[tuple[str, int]]:
        """The (run, task) that wait for a lane, in no order; some may not be ready any more."""
        found = [(share.run, share.heaps.get(lane, ())) for share in self._shares.values()]
        return [(run, task) for run, heap in found for *_, task in heap]

    def release(self, run: str, lane: str) -> None:
        """A call ended: its slots are free again. A run that has left has given its own back."""
        share = self._shares.get(run)
        if share is None:
            return
        self.used -= 1
        share.used -= 1
        share.held[lane] -= 1
        at = self._lanes[lane]
        at.used -= 1
        self._queue(share)
        if at.waiters:
            self._wake_one(at)

    def put_back(self, run: str, task: int, lane: str, priority: int, rank: float) -> None:
        """What was picked does not start yet, and is next again when its lane opens."""
        share = self._shares[run]
        share.given -= 1
        self._front -= 1
        heappush(share.heaps[lane], (-priority, -rank, self._front, task))
        self.release(run, lane)

    def open(self, lane: str, why: int = BREAKER) -> None:
        """Nothing more of that kind closes the lane."""
        at = self._lanes[lane]
        at.closed &= ~why
        if at.closed:
            return
        for _ in range(len(at.waiters)):
            self._wake_one(at)

    def close(self, lane: str, why: int = BREAKER) -> None:
        """Let nothing through the lane until what closed it opens it."""
        self._lanes[lane].closed |= why

    def _queue(self, share: Share) -> None:
        """Give the run a turn, if it has something to start, room for it, and no turn as good."""
        # A turn that is valid is as good as any: `offer` takes a better one.
        if share.used >= share.capacity or share.turn is not NO_TURN:
            return
        best = 0
        for heap in share.heaps.values():
            if heap and heap[0][0] < best:
                best = heap[0][0]
        if best:
            self._take_turn(share, best)

    def _take_turn(self, share: Share, best: int) -> None:
        self._age += 1
        share.turn = (best, share.given, self._age, share.run)
        heappush(self._turns, share.turn)

    def _best_lane(self, share: Share) -> Lane | None:
        best: Lane | None = None
        for name, heap in share.heaps.items():
            if not heap:
                continue
            lane = self._lanes[name]
            if lane.closed or lane.used >= lane.capacity:
                lane.waiters[share.run] = None
            elif best is None or heap[0] < share.heaps[best.name][0]:
                best = lane
        return best

    def _take(self, share: Share, lane: Lane) -> tuple[str, int, str]:
        name = lane.name
        task = heappop(share.heaps[name])[3]
        if share.given > self._floor:
            self._floor = share.given
        share.given += 1
        share.used += 1
        share.held[name] = share.held.get(name, 0) + 1
        lane.used += 1
        self.used += 1
        self._queue(share)
        if share.turn is NO_TURN:
            self._pass_on(share)
        return share.run, task, name

    def _pass_on(self, share: Share) -> None:
        """This run cannot use the lanes it was woken for: let others have them."""
        for name in share.heaps:
            lane = self._lanes[name]
            if lane.waiters:
                self._wake_one(lane)

    def _wake_one(self, lane: Lane) -> None:
        """The longest-waiting run that still has something for this lane takes its turn."""
        while lane.waiters and lane.free:
            run = next(iter(lane.waiters))
            del lane.waiters[run]
            share = self._shares.get(run)
            # A run with no slot of its own left cannot use this one: on to the next.
            if share is not None and share.used < share.capacity and share.heaps.get(lane.name):
                self._queue(share)
                return
