"""What is known of one run: the state that `machine.step` changes, and nobody else.

Arrays by task index and a few counters, so that an event costs the same however large the run is.
Plain data: everything here follows from the run's events alone.
"""

from __future__ import annotations

from typing import Final

from agenthive.core.budget.holds import BUDGET_EXCEEDED, Hold
from agenthive.core.graph.graph import Graph
from agenthive.core.graph.nodes import Node, Step
from agenthive.core.journal.records import Blob
from agenthive.core.journal.run_events import Parent
from agenthive.core.machine.flow_state import FlowState
from agenthive.core.model.calls import Fault
from agenthive.core.model.states import COMPENSATION_STATES, OPEN, RunStatus, TaskState
from agenthive.core.model.workflow import FailureStrategy
from agenthive.core.values import JSONObject, JSONValue, Micros, NanoUSD, to_micros

_TIMED_STATUSES = frozenset({RunStatus.RUNNING, RunStatus.WAITING})
_SLOT_STATUSES = frozenset({RunStatus.RUNNING, RunStatus.COMPENSATING})


INPUTS: Final = -1
"""Where `RunState.blobs` notes the run's inputs."""

_ZERO_COUNTS = dict.fromkeys(TaskState, 0)


class RunState:
    """One run.

    ``seq`` counts the events applied. ``pending[i]`` counts dependencies of i that have not ended;
    ``broken`` holds tasks with a dependency that ended badly. ``open`` counts the tasks that keep
    the run from ending. ``results`` keeps what some open task will still read. ``since[i]`` is when
    i came into its state. ``parked`` is since when only somebody's help is awaited; that, and the
    time during which no process had the run, is ``away`` from its time-out. ``unpaid`` holds (task,
    attempt) of calls that ended without saying what they used, ``holds`` what is put aside for
    calls by the same; ``lacks`` is what blocked tasks need (nano-dollars) of which scope. ``extra``
    counts what succeeded and is no task of the author's. ``flow`` is None until a task needs it.
    ``keep`` lets go of no result: for whoever wants to see them all. ``blobs`` says where large
    results (and `INPUTS`) are that a replay has met; in ``results`` the same references stand for
    them until somebody fills them in. ``snapshot`` is after which fact the last one was made.
    """

    __slots__ = (
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

    def __init__(self, graph: Graph) -> None:
        size = len(graph.nodes)
        self.graph = graph
        self.run = ""
        self.name = ""
        self.definition = ""
        self.tenant = "default"
        self.owner = "local"
        self.inputs: JSONObject = {}
        self.status = RunStatus.QUEUED
        self.created: Micros = 0
        self.started: Micros = 0
        self.finished: Micros | None = None
        self.last_at: Micros = 0
        self.away: Micros = 0
        self.parked: Micros | None = None
        self.seq = 0
        self.state = [TaskState.WAITING] * graph.tasks + [TaskState.DORMANT] * (size - graph.tasks)
        self.pending = [len(deps) for deps in graph.deps]
        self.readers = list(graph.readers)
        self.attempts = [0] * size
        self.since: list[Micros] = [0] * size
        self.broken: set[int] = set()
        self.results: dict[int, JSONValue] = {}
        self.blobs: dict[int, Blob] = {}
        self.faults: dict[int, Fault] = {}
        self.wake_at: dict[int, Micros] = {}
        self.losses: dict[int, int] = {}
        self.blocked: dict[int, tuple[str, str]] = {}
        self.unpaid: set[tuple[int, int]] = set()
        self.holds: dict[tuple[int, int], Hold] = {}
        self.lacks: dict[int, tuple[str, NanoUSD]] = {}
        self.counts = _ZERO_COUNTS.copy()
        self.counts[TaskState.WAITING] = graph.tasks
        self.counts[TaskState.DORMANT] = size - graph.tasks
        self.open = graph.tasks
        self.hard_failures = 0
        self.cancelling = False
        self.stopping = False
        self.timed_out = False
        self.ended: list[int] = []
        self.to_undo: list[int] = []
        self.undoing: int | None = None
        self.undo_failures = 0
        self.extra = 0
        self.refusals = 0
        self.progress: dict[int, JSONValue] = {}
        self.flow: FlowState | None = None
        self.parent: Parent | None = None
        self.keep = False
        self.snapshot = 0

    def ensure_flow(self) -> FlowState:
        """What is known beyond plain tasks, made at first use."""
        if self.flow is None:
            self.flow = FlowState()
        return self.flow

    def current_step(self, task: int) -> Step:
        """The step that a task has come to."""
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
        """A new task made from a pattern of ``owner``'s; ``held`` until somebody releases it."""
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
        """Whether the call of that attempt has not ended."""
        return self.state[task] is TaskState.RUNNING and self.attempts[task] == attempt

    @property
    def over_budget(self) -> bool:
        """Whether a task has failed because there was too little left."""
        return any(fault.kind == BUDGET_EXCEEDED for fault in self.faults.values())

    @property
    def strategy(self) -> FailureStrategy:
        """What a failure means for this run."""
        return self.graph.spec.failure_strategy

    @property
    def deadline(self) -> Micros | None:
        """When the run times out; None if never, or not as things stand."""
        timeout = self.graph.spec.timeout
        is_timed = self.status in _TIMED_STATUSES and self.parked is None and not self.stopping
        if timeout is None or not is_timed:
            return None
        return self.started + self.away + to_micros(timeout)

    @property
    def takes_slot(self) -> bool:
        """Whether the run is one of those under way."""
        return self.would_take_slot(self.status, self.parked)

    def would_take_slot(self, status: RunStatus, parked: Micros | None) -> bool:
        """Whether it would be if it stood so."""
        return status in _SLOT_STATUSES and parked is None and self.parent is None

    @property
    def needs_help(self) -> bool:
        """Whether nothing goes on without somebody's help; a time that comes is none."""
        return self.parked is not None and (self.flow is None or not self.flow.timed)

    @property
    def calls_in_flight(self) -> int:
        """How many calls are under way."""
        return self.counts[TaskState.RUNNING]

    @property
    def succeeded_count(self) -> int:
        """How many of the author's own tasks succeeded (whether undone later or not)."""
        compensated = sum(self.counts[task_state] for task_state in COMPENSATION_STATES)
        return self.counts[TaskState.SUCCEEDED] - self.extra + compensated

    def counts_as_open(self, state: TaskState) -> bool:
        """Whether a task in that state keeps the run from ending.

        An unknown outcome keeps a run open only while it could still succeed: once the run is
        stopping, nobody has to decide before it ends.
        """
        return state in OPEN and not (self.stopping and state is TaskState.UNKNOWN_OUTCOME)
