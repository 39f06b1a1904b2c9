"""The ready queue: which task starts next, once there is a slot for it.

Late binding: a task waits here, not at an agent, and leaves only when its run, the hive and its
agent's *lane* all have room. A lane exists for each distinct agent and has the agent's slots. A
circuit breaker or rate limit closes the lanes of its endpoint.

Order: priority, then fair share between runs, then upward rank within the run, then age. Runs with
a ready task and a free slot have a *turn* in a heap; the queue takes the best turn and that run's
best task whose lane has room. A run that finds a lane full waits at the lane and gets a turn when a
slot there is freed. An operation costs O(log n) in the ready tasks, and O(k) in the agents of the
run. Pure: callers report what starts and ends, and there is no clock.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Final, TypeAlias

UNLIMITED: Final = 1 << 62
"""Capacity of what has no limit."""
CLOSED_BY_BREAKER, CLOSED_BY_LIMIT = 1, 2
"""Bits of `Lane.closed_by`: the circuit breaker or the rate limit of the endpoint."""

Turn: TypeAlias = tuple[int, int, int, str]
"""Negated best priority, starts of the run so far, age, run id: the smallest is the next."""

NO_TURN: Final[Turn] = (0, 0, 0, "")
"""The turn of a run that has none; compared by identity."""


class Lane:
    """The slots of one agent."""

    __slots__ = ("capacity", "closed_by", "name", "used", "waiters")

    def __init__(self, name: str, capacity: int = UNLIMITED) -> None:
        self.name = name
        #: Calls that may be in progress at once.
        self.capacity = capacity
        #: Calls in progress.
        self.used = 0
        #: What closes the lane: bits of `CLOSED_BY_BREAKER` and `CLOSED_BY_LIMIT`; 0: it is open.
        self.closed_by = 0
        #: Runs that found no slot here, the longest-waiting first (the values are unused).
        self.waiters: dict[str, None] = {}

    @property
    def has_room(self) -> bool:
        """Whether one more call may start."""
        return not self.closed_by and self.used < self.capacity


class Share:
    """One run's part of the queue: its slots, and a heap of ready tasks for each lane."""

    __slots__ = ("capacity", "heaps", "held_slots", "run", "starts", "turn", "used")

    def __init__(self, run: str, capacity: int, starts: int) -> None:
        self.run = run
        #: Calls that the run may have in progress at once (``max_parallel``).
        self.capacity = capacity
        #: Tasks that the run has started, for the fair share; a new run begins with as many as the
        #: others have (`ReadyQueue._starts_floor`).
        self.starts = starts
        #: Calls in progress.
        self.used = 0
        #: The run's valid entry in the heap of turns; older entries are skipped.
        self.turn = NO_TURN
        #: Lane -> slots there that calls of this run hold.
        self.held_slots: dict[str, int] = {}
        #: Lane -> heap of (negated priority, negated rank, age, index of the task).
        self.heaps: dict[str, list[tuple[int, float, int, int]]] = {}


class ReadyQueue:
    """Ready tasks of all runs. ``capacity`` bounds the calls in progress in the whole hive."""

    def __init__(self, capacity: int = UNLIMITED) -> None:
        self.capacity = capacity
        #: Calls in progress.
        self.used = 0
        self._lanes: dict[str, Lane] = {}
        #: Run id -> its part of the queue.
        self._shares: dict[str, Share] = {}
        #: Heap of the turns of runs that may start something.
        self._turns: list[Turn] = []
        #: Number of the last task or turn that was added: the smaller, the older.
        self._age = 0
        #: The most starts of any run that has had a turn: where a new run begins.
        self._starts_floor = 0
        #: Like `_age`, counting down, for tasks that were put back before all others.
        self._front_age = 0

    def get_lane(self, name: str, capacity: int | None = None) -> Lane:
        """The lane of that name; it is made with ``capacity`` if it does not exist."""
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = Lane(name, UNLIMITED if capacity is None else capacity)
        return lane

    def add_run(self, run: str, capacity: int) -> None:
        """Add a run with ``capacity`` slots; it gets no credit for the time before."""
        self._shares[run] = Share(run, max(capacity, 1), self._starts_floor)

    def remove_run(self, run: str) -> None:
        """Remove a run, with its ready tasks and the slots of its calls."""
        share = self._shares.pop(run, None)
        if share is None:
            return
        self.used -= share.used
        for name, slots in share.held_slots.items():
            self._lanes[name].used -= slots
        self._pass_on_lanes(share)

    def offer_task(self, run: str, task: int, lane: str, priority: int, rank: float) -> None:
        """Add a ready task."""
        share = self._shares[run]
        self._age += 1
        heap = share.heaps.get(lane)
        if heap is None:
            heap = share.heaps[lane] = []
        heappush(heap, (-priority, -rank, self._age, task))
        if share.used < share.capacity and -priority < share.turn[0]:
            self._take_turn(share, -priority)

    def update_ranks(self, run: str, rank_of: Callable[[int], float]) -> None:
        """Order the waiting tasks of a run by new ranks."""
        share = self._shares.get(run)
        if share is None:
            return
        for heap in share.heaps.values():
            heap[:] = [(priority, -rank_of(task), age, task) for priority, _, age, task in heap]
            heapify(heap)

    def pick_task(self) -> tuple[str, int, str] | None:
        """Take the slots of the next task; returns (run, task, lane), None if nothing may start."""
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
        """The (run, task) that wait for a lane, in no order; some may no longer be ready."""
        heaps = [(share.run, share.heaps.get(lane, ())) for share in self._shares.values()]
        return [(run, task) for run, heap in heaps for *_, task in heap]

    def release_slots(self, run: str, lane: str) -> None:
        """Free the slots of a call that ended. The slots of a removed run are free already."""
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
        """Return a picked task that does not start; it is the next when its lane opens."""
        share = self._shares[run]
        share.starts -= 1
        self._front_age -= 1
        heappush(share.heaps[lane], (-priority, -rank, self._front_age, task))
        self.release_slots(run, lane)

    def open_lane(self, lane: str, cause: int = CLOSED_BY_BREAKER) -> None:
        """Remove ``cause`` from what closes the lane; without any cause it opens."""
        agent_lane = self._lanes[lane]
        agent_lane.closed_by &= ~cause
        if agent_lane.closed_by:
            return
        for _ in range(len(agent_lane.waiters)):
            self._wake_next_run(agent_lane)

    def close_lane(self, lane: str, cause: int = CLOSED_BY_BREAKER) -> None:
        """Pick nothing from the lane until `open_lane` is called with the same cause."""
        self._lanes[lane].closed_by |= cause

    def _queue_share(self, share: Share) -> None:
        """Give the run a turn if it has a ready task, a free slot, and no turn yet."""
        # A valid turn has the best priority already: `offer_task` replaces it by a better one.
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
        """The open lane with the run's best task; the run waits at the lanes without room."""
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
        """The run has no turn now: let other runs use the lanes that it was woken for."""
        for name in share.heaps:
            lane = self._lanes[name]
            if lane.waiters:
                self._wake_next_run(lane)

    def _wake_next_run(self, lane: Lane) -> None:
        """Give a turn to the longest-waiting run that still has a ready task for the lane."""
        while lane.waiters and lane.has_room:
            run = next(iter(lane.waiters))
            del lane.waiters[run]
            share = self._shares.get(run)
            # A run without a free slot of its own cannot use this one: try the next.
            if share is not None and share.used < share.capacity and share.heaps.get(lane.name):
                self._queue_share(share)
                return
