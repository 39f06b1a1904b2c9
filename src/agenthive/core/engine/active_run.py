"""A run that the driver has in hand: its state, and what is still to be written."""

from __future__ import annotations

from agenthive.core.engine.expression_scope import scope
from agenthive.core.graph.estimates import Estimates
from agenthive.core.history import blobs, snapshots
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Batch, Record, RunRow
from agenthive.core.machine.model_turns import arguments
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.calls import Call
from agenthive.core.model.idempotency import Keys
from agenthive.core.model.states import CLOSED, TaskState
from agenthive.core.model.workflow import AgentSpec
from agenthive.core.values import JSONObject


class Live:
    """One open run.

    ``written`` is the number of its last event that is in a batch, ``durable`` that of its last
    event on disk; a snapshot is made ``every`` so many. ``caching`` is the key under which the
    result of a call will be kept for equal ones; ``told`` how the run that waits for this one was
    last told that it stands; ``purses`` what the calls that hold money are spent from;
    ``call`` what ``intent`` is to make, if that has been looked at already; ``priced`` of which
    agents calls can cost something, by name.
    """

    __slots__ = (
        "_every", "_row_status", "caching", "call", "durable", "estimates", "intent", "key",
        "missing", "pending", "priced", "purses", "rank", "run", "state", "stopping", "told",
        "written",
    )  # fmt: skip

    def __init__(self, run: str, state: RunState, every: int = snapshots.EVERY) -> None:
        self.run = run
        self._every = every
        self.key = Keys(run)
        self.state = state
        self.missing: dict[str, str] = {}
        self.estimates = Estimates(state.graph)
        self.rank = state.graph.rank
        self.pending: list[ev.RunEvent] = []
        self.stopping: set[tuple[str, int]] = set()
        self.intent: ev.TaskStarted | None = None
        self.call: Call | None = None
        self.written = 0
        self.durable = 0
        self.caching: dict[int, str] = {}
        self.purses: dict[tuple[int, int], tuple[str, ...]] = {}
        self.priced: dict[str, bool] = {}
        self.told = "moving"
        self._row_status = ""

    @property
    def parked(self) -> bool:
        """Whether nothing moves the run without somebody's help, and that is on disk."""
        return self.state.helpless and self.durable == self.state.seq

    @property
    def over(self) -> bool:
        """Whether the run has ended, and that is on disk."""
        return self.state.status in CLOSED and self.durable == self.state.seq

    def agent(self, index: int) -> AgentSpec:
        """The agent of a task."""
        return self.state.graph.nodes[index].agent

    def parameters(self, index: int) -> JSONObject:
        """A task's parameters with their expressions evaluated. Raises ExpressionError."""
        template = self.state.graph.nodes[index].parameters
        value = template.value if template.constant else template.render(scope(self.state, index))
        assert isinstance(value, dict)
        return value

    def dependencies(self, index: int) -> JSONObject:
        """Name -> result of what a task depends on (a tolerated failure gives None).

        A compensation depends on nothing: what its task has read may be gone by then. Nor does a
        tool: a model says what it is given.
        """
        graph, results = self.state.graph, self.state.results
        if index < graph.static:
            deps = graph.deps[index]
        elif arguments(self.state, index) is not None:
            return {}
        else:
            deps = graph.deps[graph.origin(index)]
        if not deps or graph.nodes[index].undoes is not None:
            return {}
        return {graph.keys[dep]: results.get(dep) for dep in deps}

    def rank_of(self, index: int) -> float:
        """How far a task is from the end of the run; an item or a round as far as its task."""
        rank = self.rank
        return rank[index] if index < len(rank) else rank[self.state.graph.origin(index)]

    def record(self, rules: int, batch: Batch) -> Record:
        """What has not been written yet, as one record. Large values go into the batch."""
        events, self.pending = self.pending, []
        first = self.written + 1
        self.written += len(events)
        payload = blobs.written(self.run, events, batch)
        return Record(
            stream=self.run,
            seq=first,
            count=len(events),
            at=events[-1].at,
            type="run",
            payload=payload,
            rules=rules,
            cause=self._snapshot(batch),
        )

    def _snapshot(self, batch: Batch) -> str:
        """Make a snapshot if one is due: all facts so far are in a batch."""
        state = self.state
        if not snapshots.due(state, self._every) or state.status in CLOSED:
            return ""
        return snapshots.freeze(state, batch)

    def row_changed(self) -> bool:
        """Whether the list of runs must be told."""
        changed = self._row_status != self.state.status
        self._row_status = self.state.status
        return changed

    def row(self) -> RunRow:
        """This run's row in the list of runs."""
        return row_of(self.state)


def row_of(state: RunState) -> RunRow:
    """The row of a run in this state."""
    return RunRow(
        run=state.run,
        name=state.name,
        status=state.status,
        created=state.created,
        finished=state.finished,
        total_tasks=state.graph.tasks,
        completed_tasks=state.succeeded,
        failed_tasks=state.counts[TaskState.FAILED],
        tenant=state.tenant,
        owner=state.owner,
    )
