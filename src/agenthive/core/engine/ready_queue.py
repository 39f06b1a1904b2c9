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
CLOSED_BY_BREAKER, CLOSED_BY_LIMIT = 1, 2
"""What may close a lane: the breaker of its endpoint, the rate limit there."""

Turn: TypeAlias = tuple[int, int, int, str]
"""A run's place among the turns: its best priority, what it has been given, a number, the run."""

NO_TURN: Final[Turn] = (0, 0, 0, "")


class Lane:
    """The slots of one agent. ``closed`` is what lets nothing through, 0 if nothing does."""

    __slots__ = ("capacity", "closed_by", "name", "used", "waiters")

    def __init__(self, name: str, capacity: int = UNLIMITED) -> None:
        self.name = name
        self.capacity = capacity
        self.used = 0
        self.closed_by = 0
        self.waiters: dict[str, None] = {}

    @property
    def has_room(self) -> bool:
        """Whether one more call may start."""
        return not self.closed_by and self.used < self.capacity


class Share:
    """One run's part of the queue: a heap of ready tasks per lane, and what it has been given."""

    __slots__ = ("capacity", "heaps", "held_slots", "run", "starts", "turn", "used")

    def __init__(self, run: str, capacity: int, starts: int) -> None:
        self.run = run
        self.capacity = capacity
        self.starts = starts
        self.used = 0
        self.turn = NO_TURN
        """Its valid entry among the turns."""
        self.held_slots: dict[str, int] = {}
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
        self._starts_floor = 0
        self._front_age = 0

    def get_lane(self, name: str, capacity: int | None = None) -> Lane:
        """The lane of that name, made if need be."""
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = Lane(name, UNLIMITED if capacity is None else capacity)
        return lane

    def add_run(self, run: str, capacity: int) -> None:
        """A run comes in; it gets no credit for the time before."""
        self._shares[run] = Share(run, max(capacity, 1), self._starts_floor)

    def remove_run(self, run: str) -> None:
        """A run goes, with all that it still had here."""
        share = self._shares.pop(run, None)
        if share is None:
            return
        self.used -= share.used
        for name, slots in share.held_slots.items():
            self._lanes[name].used -= slots
        self._pass_on_lanes(share)

    def offer_task(self, run: str, task: int, lane: str, priority: int, rank: float) -> None:
        """A task is ready."""
        share = self._shares[run]
        self._age += 1
        heap = share.heaps.get(lane)
        if heap is None:
            heap = share.heaps[lane] = []
        heappush(heap, (-priority, -rank, self._age, task))
        if share.used < share.capacity and -priority < share.turn[0]:
            self._take_turn(share, -priority)

    def update_ranks(self, run: str, rank_of: Callable[[int], float]) -> None:
        """What is known of a run's tasks has changed: order those that wait by these ranks."""
        share = self._shares.get(run)
        if share is None:
            return
        for heap in share.heaps.values():
            heap[:] = [(priority, -rank_of(task), age, task) for priority, _, age, task in heap]
            heapify(heap)

    def pick_task(self) -> tuple[str, int, str] | None:
        """The (run, task, lane) to start now, taking its slots; None if nothing may start."""
        while self._turns and self.used < self.capacity:
            turn = heappop(self._turns)
            share = self._shares.get(turn[3])
            if share is None or share.turn is not turn:
                continue
            share.turn = NO_TURN
            lane = self._find_best_lane(share)
            if lane is not None:
                return self._take_task(share, lane)
        return None

    def list_waiting(self, lane: str) -> list[tuple[str, int]]:
        """The (run, task) that wait for a lane, in no order; some may not be ready any more."""
        heaps = [(share.run, share.heaps.get(lane, ())) for share in self._shares.values()]
        return [(run, task) for run, heap in heaps for *_, task in heap]

    def release_slots(self, run: str, lane: str) -> None:
        """A call ended: its slots are free again. A run that has left has given its own back."""
        share = self._shares.get(run)
        if share is None:
            return
        self.used -= 1
        share.used -= 1
        share.held_slots[lane] -= 1
        agent_lane = self._lanes[lane]
        agent_lane.used -= 1
        self._queue_share(share)
        if agent_lane.waiters:
            self._wake_next_run(agent_lane)

    def put_back_task(self, run: str, task: int, lane: str, priority: int, rank: float) -> None:
        """What was picked does not start yet, and is next again when its lane opens."""
        share = self._shares[run]
        share.starts -= 1
        self._front_age -= 1
        heappush(share.heaps[lane], (-priority, -rank, self._front_age, task))
        self.release_slots(run, lane)

    def open_lane(self, lane: str, cause: int = CLOSED_BY_BREAKER) -> None:
        """Nothing more of that kind closes the lane."""
        agent_lane = self._lanes[lane]
        agent_lane.closed_by &= ~cause
        if agent_lane.closed_by:
            return
        for _ in range(len(agent_lane.waiters)):
            self._wake_next_run(agent_lane)

    def close_lane(self, lane: str, cause: int = CLOSED_BY_BREAKER) -> None:
        """Let nothing through the lane until what closed it opens it."""
        self._lanes[lane].closed_by |= cause

    def _queue_share(self, share: Share) -> None:
        """Give the run a turn, if it has something to start, room for it, and no turn as good."""
        # A turn that is valid is as good as any: `offer_task` takes a better one.
        if share.used >= share.capacity or share.turn is not NO_TURN:
            return
        best_priority = 0
        for heap in share.heaps.values():
            if heap and heap[0][0] < best_priority:
                best_priority = heap[0][0]
        if best_priority:
            self._take_turn(share, best_priority)

    def _take_turn(self, share: Share, best_priority: int) -> None:
        self._age += 1
        share.turn = (best_priority, share.starts, self._age, share.run)
        heappush(self._turns, share.turn)

    def _find_best_lane(self, share: Share) -> Lane | None:
        best_lane: Lane | None = None
        for name, heap in share.heaps.items():
            if not heap:
                continue
            lane = self._lanes[name]
            if lane.closed_by or lane.used >= lane.capacity:
                lane.waiters[share.run] = None
            elif best_lane is None or heap[0] < share.heaps[best_lane.name][0]:
                best_lane = lane
        return best_lane

    def _take_task(self, share: Share, lane: Lane) -> tuple[str, int, str]:
        name = lane.name
        task = heappop(share.heaps[name])[3]
        if share.starts > self._starts_floor:
            self._starts_floor = share.starts
        share.starts += 1
        share.used += 1
        share.held_slots[name] = share.held_slots.get(name, 0) + 1
        lane.used += 1
        self.used += 1
        self._queue_share(share)
        if share.turn is NO_TURN:
            self._pass_on_lanes(share)
        return share.run, task, name

    def _pass_on_lanes(self, share: Share) -> None:
        """This run cannot use the lanes it was woken for: let others have them."""
        for name in share.heaps:
            lane = self._lanes[name]
            if lane.waiters:
                self._wake_next_run(lane)

    def _wake_next_run(self, lane: Lane) -> None:
        """The longest-waiting run that still has something for this lane takes its turn."""
        while lane.waiters and lane.has_room:
            run = next(iter(lane.waiters))
            del lane.waiters[run]
            share = self._shares.get(run)
            # A run with no slot of its own left cannot use this one: on to the next.
            if share is not None and share.used < share.capacity and share.heaps.get(lane.name):
                self._queue_share(share)
                return
