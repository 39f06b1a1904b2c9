"""The state of one run. Only `machine.step` and the functions that it calls change it.

The state is arrays indexed by task and a few counters, so that an event costs the same however
large the run is. It is plain data that follows from the run's events alone: a replay of the same
events gives an equal state. It never holds a clock, a random generator or a reference to the
engine. To add a field: a line in ``__slots__`` and in ``__init__``, and its place in the snapshot
(`core.history.snapshots`; a test compares the two).
"""

from __future__ import annotations

from typing import Final

from agenthive.core.budget.holds import BUDGET_EXCEEDED, DAY, Hold
from agenthive.core.graph.graph import Graph
from agenthive.core.graph.nodes import Node, Step
from agenthive.core.journal.hash_chain import RULES
from agenthive.core.journal.records import Blob
from agenthive.core.journal.run_events import Parent
from agenthive.core.machine.flow_state import FlowState
from agenthive.core.model.calls import Fault
from agenthive.core.model.states import COMPENSATION_STATES, OPEN, RunStatus, TaskState
from agenthive.core.model.workflow import FailureStrategy
from agenthive.core.values import JSONObject, JSONValue, Micros, NanoUSD, to_micros

_TIMED_STATUSES = frozenset({RunStatus.RUNNING, RunStatus.WAITING})
"""Statuses in which the run's time-out counts; compensations have no time-out of the run."""
_SLOT_STATUSES = frozenset({RunStatus.RUNNING, RunStatus.COMPENSATING})
"""Statuses in which a run takes a run slot of the hive."""


INPUTS: Final = -1
"""The key under which `RunState.blobs` notes the run's inputs; no task has a negative index."""

_ZERO_COUNTS = dict.fromkeys(TaskState, 0)


class RunState:
    """One run: what happened to it so far, as far as a later event depends on it.

    Tasks are named by their index in ``graph``: first the tasks of the definition, then their
    compensations, then the tasks that the run generates (items, iterations, turns, tool calls).
    Times are microseconds since the epoch, amounts are nano-dollars.
    """

    __slots__ = (
        "ahead",
        "attempts",
        "away",
        "blobs",
        "blocked",
        "broken",
        "cancelling",
        "counts",
        "created",
        "definition",
        "ended",
        "expiries",
        "extra",
        "faults",
        "finished",
        "flow",
        "graph",
        "hard_failures",
        "holds",
        "inputs",
        "keep",
        "lacks",
        "last_at",
        "losses",
        "name",
        "open",
        "owner",
        "parent",
        "parked",
        "pending",
        "progress",
        "readers",
        "refusals",
        "results",
        "rules",
        "run",
        "seq",
        "since",
        "snapshot",
        "started",
        "state",
        "status",
        "stopping",
        "tenant",
        "timed_out",
        "to_undo",
        "undo_failures",
        "undoing",
        "unpaid",
        "wake_at",
    )

    def __init__(self, graph: Graph, rules: int = RULES) -> None:
        size = len(graph.nodes)

        # Identity, from `RunSubmitted`.

        #: The compiled workflow. Shared by all runs of a definition until this run generates a
        #: task; from then on a copy that only this run uses.
        self.graph = graph
        #: Id of the run; empty until it is submitted.
        self.run = ""
        #: Name of the workflow.
        self.name = ""
        #: Digest of the definition that the run is pinned to (hex).
        self.definition = ""
        self.tenant = "default"
        #: The principal that submitted the run.
        self.owner = "local"
        self.inputs: JSONObject = {}
        #: The task that this run is a sub-workflow of; None for a run of its own.
        self.parent: Parent | None = None

        # The run.

        #: The version of the machine's rules that the run was accepted under; it never changes.
        self.rules = rules
        self.status = RunStatus.QUEUED
        #: When the run was submitted.
        self.created: Micros = 0
        #: When the run got its slot; 0 before.
        self.started: Micros = 0
        #: When the run came to its final status.
        self.finished: Micros | None = None
        #: What the clock showed at the last event. All times here are times of the clock.
        self.last_at: Micros = 0
        #: Microseconds that ``at`` of the last event is ahead of that: the clock was set back.
        self.ahead: Micros = 0
        #: Microseconds that do not count for the run's time-out: the run waited for help from
        #: outside, or no process owned it.
        self.away: Micros = 0
        #: Since when the run can only continue with help from outside; None while it can work.
        self.parked: Micros | None = None
        #: Number of the last event that was applied, counted from 1.
        self.seq = 0
        #: The user cancelled the run: open tasks are cancelled, nothing is compensated.
        self.cancelling = False
        #: No further task of the author starts; set by a failure, the time-out or a cancellation.
        self.stopping = False
        #: The run's own time-out passed.
        self.timed_out = False
        #: Answers to approvals that were refused; the driver bounds how many it records.
        self.refusals = 0
        #: Number of the event after which the last snapshot was made; 0 for none.
        self.snapshot = 0
        #: Keep every result to the end of the run: for reports that show all of them. Without it
        #: a result is dropped when its last reader has ended.
        self.keep = False

        # Tasks, by index.

        self.state = [TaskState.WAITING] * graph.tasks + [TaskState.DORMANT] * (size - graph.tasks)
        #: Dependencies that have not ended. An item that may not begin yet counts one more.
        self.pending = [len(deps) for deps in graph.deps]
        #: Open tasks that will read the result of this one.
        self.readers = list(graph.readers)
        #: Number of the last attempt; 0 before the first.
        self.attempts = [0] * size
        #: When the task came into its state.
        self.since: list[Micros] = [0] * size

        # Tasks about which there is more to know; most tasks are in none of these.

        #: Tasks with a dependency that ended without a usable result.
        self.broken: set[int] = set()
        #: Results that an open task will still read. During a replay the `Blob` stands for a large
        #: one, until the value is filled in.
        self.results: dict[int, JSONValue] = {}
        #: Where the large results of ``results`` are stored, and the run's inputs under `INPUTS`.
        self.blobs: dict[int, Blob] = {}
        #: Why a task failed, or its last attempt.
        self.faults: dict[int, Fault] = {}
        #: When a task that backs off or is blocked continues by itself.
        self.wake_at: dict[int, Micros] = {}
        #: Attempts that do not count for the retry policy: lost with the process, refused for
        #: being too many, or the one repair of an invalid answer.
        self.losses: dict[int, int] = {}
        #: Reason and detail of blocked tasks, as `TaskBlocked` has them.
        self.blocked: dict[int, tuple[str, str]] = {}
        #: What an earlier attempt last reported about its progress.
        self.progress: dict[int, JSONValue] = {}

        # Money.

        #: (task, attempt) of calls that ended without a report of their usage.
        self.unpaid: set[tuple[int, int]] = set()
        #: What is reserved for a call, by (task, attempt).
        self.holds: dict[tuple[int, int], Hold] = {}
        #: When a hold in doubt counts as spent, if that is not a day after it was reserved: the
        #: clock was set since.
        self.expiries: dict[tuple[int, int], Micros] = {}
        #: Scope and amount that a task blocked for budget needs.
        self.lacks: dict[int, tuple[str, NanoUSD]] = {}

        # Counters. Each is what a walk over all tasks would give.

        #: Tasks in each state.
        self.counts = _ZERO_COUNTS.copy()
        self.counts[TaskState.WAITING] = graph.tasks
        self.counts[TaskState.DORMANT] = size - graph.tasks
        #: Tasks that keep the run from ending: see `counts_as_open`.
        self.open = graph.tasks
        #: Tasks of the author that failed where that is not tolerated.
        self.hard_failures = 0
        #: Generated tasks and compensations that succeeded; ``counts`` has them too.
        self.extra = 0

        # Compensation.

        #: Tasks that declare a compensation and succeeded, in the order in which they ended.
        self.ended: list[int] = []
        #: Compensations that still have to run; the last one runs next.
        self.to_undo: list[int] = []
        #: The compensation that runs now.
        self.undoing: int | None = None
        #: Compensations that ended badly.
        self.undo_failures = 0

        #: The state of control flow; None until a task needs it.
        self.flow: FlowState | None = None

    def ensure_flow(self) -> FlowState:
        """The state of control flow, created at first use."""
        if self.flow is None:
            self.flow = FlowState()
        return self.flow

    def current_step(self, task: int) -> Step:
        """The step that a task is at; its last one if it has not begun."""
        position = -1 if self.flow is None else self.flow.position.get(task, -1)
        return self.graph.nodes[task].steps[position]

    def add_task(
        self,
        owner: int,
        node: Node,
        key: str,
        *,
        held: bool = False,
        initial_state: TaskState = TaskState.WAITING,
    ) -> int:
        """Append a task made from a pattern of ``owner``; returns its index.

        A ``held`` task does not begin until its ``pending`` is set to 0.
        """
        self.graph = self.graph.ensure_growable()
        index = self.graph.add_node(owner, node, key)
        self.state.append(initial_state)
        self.counts[initial_state] += 1
        self.pending.append(int(held))
        self.readers.append(0)
        self.attempts.append(0)
        self.since.append(self.last_at)
        self.open += initial_state in OPEN
        return index

    def is_call_running(self, task: int, attempt: int) -> bool:
        """Whether the call of that attempt is in flight."""
        return self.state[task] is TaskState.RUNNING and self.attempts[task] == attempt

    @property
    def over_budget(self) -> bool:
        """Whether a task failed because the budget did not cover it."""
        return any(fault.kind == BUDGET_EXCEEDED for fault in self.faults.values())

    @property
    def strategy(self) -> FailureStrategy:
        """What a failure means for this run."""
        return self.graph.spec.failure_strategy

    @property
    def deadline(self) -> Micros | None:
        """When the run times out; None if it has no time-out or the time-out does not count now."""
        timeout = self.graph.spec.timeout
        is_timed = self.status in _TIMED_STATUSES and self.parked is None and not self.stopping
        if timeout is None or not is_timed:
            return None
        return self.started + self.away + to_micros(timeout)

    def expiry_of(self, task: int, attempt: int) -> Micros:
        """When the hold of a call counts as spent, should its cost be in doubt until then."""
        hold = self.holds[task, attempt]
        return self.expiries.get((task, attempt), hold.at + DAY)

    @property
    def takes_slot(self) -> bool:
        """Whether the run takes a run slot of the hive."""
        return self.would_take_slot(self.status, self.parked)

    def would_take_slot(self, status: RunStatus, parked: Micros | None) -> bool:
        """Whether the run would take a slot with that ``status`` and ``parked``.

        A sub-workflow runs in the slot of its parent.
        """
        return status in _SLOT_STATUSES and parked is None and self.parent is None

    @property
    def needs_help(self) -> bool:
        """Whether the run waits for help from outside alone, and for no timer that will fire."""
        return self.parked is not None and (self.flow is None or not self.flow.timed)

    @property
    def calls_in_flight(self) -> int:
        """How many calls are in flight."""
        return self.counts[TaskState.RUNNING]

    @property
    def succeeded_count(self) -> int:
        """How many of the author's tasks succeeded, those included that were compensated later."""
        compensated = sum(self.counts[task_state] for task_state in COMPENSATION_STATES)
        return self.counts[TaskState.SUCCEEDED] - self.extra + compensated

    def counts_as_open(self, state: TaskState) -> bool:
        """Whether a task in that state keeps the run from ending.

        A task of unknown outcome keeps a run open only while the run could still succeed: once the
        run is stopping, it ends without a decision about that task.
        """
        return state in OPEN and not (self.stopping and state is TaskState.UNKNOWN_OUTCOME)
