"""A run that the driver has in hand: its state, and what is still to be written."""

from __future__ import annotations

from agenthive.core.engine.expression_scope import build_scope
from agenthive.core.graph.estimates import Estimates
from agenthive.core.history import blobs, snapshots
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Batch, Record, RunRow
from agenthive.core.machine.model_turns import tool_arguments
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.calls import Call
from agenthive.core.model.idempotency import IdempotencyKeys
from agenthive.core.model.states import CLOSED, TaskState
from agenthive.core.model.workflow import AgentSpec
from agenthive.core.values import JSONObject


class ActiveRun:
    """One open run.

    ``written`` is the number of its last event that is in a batch, ``durable_seq`` that of its last
    event on disk; a snapshot is made ``every`` so many. ``cache_keys`` is the key under which the
    result of a call will be kept for equal ones; ``reported_wait_state`` how the run that waits for
    this one was last told that it stands; ``hold_scopes`` what the calls that hold money are spent
    from; ``prepared_call`` what ``intent`` is to make, if that has been looked at already;
    ``priced_agents`` of which agents calls can cost something, by name.
    """

    __slots__ = (
        "_row_status",
        "_snapshot_every",
        "cache_keys",
        "cancelling_calls",
        "durable_seq",
        "estimates",
        "hold_scopes",
        "id",
        "intent",
        "key_for",
        "missing_agents",
        "pending_events",
        "prepared_call",
        "priced_agents",
        "ranks",
        "reported_wait_state",
        "state",
        "written_seq",
    )

    def __init__(
        self, run_id: str, state: RunState, snapshot_every: int = snapshots.SNAPSHOT_INTERVAL
    ) -> None:
        self.id = run_id
        self._snapshot_every = snapshot_every
        self.key_for = IdempotencyKeys(run_id)
        self.state = state
        self.missing_agents: dict[str, str] = {}
        self.estimates = Estimates(state.graph)
        self.ranks = state.graph.rank
        self.pending_events: list[ev.RunEvent] = []
        self.cancelling_calls: set[tuple[str, int]] = set()
        self.intent: ev.TaskStarted | None = None
        self.prepared_call: Call | None = None
        self.written_seq = 0
        self.durable_seq = 0
        self.cache_keys: dict[int, str] = {}
        self.hold_scopes: dict[tuple[int, int], tuple[str, ...]] = {}
        self.priced_agents: dict[str, bool] = {}
        self.reported_wait_state = "moving"
        self._row_status = ""

    @property
    def is_parked(self) -> bool:
        """Whether nothing moves the run without somebody's help, and that is on disk."""
        return self.state.needs_help and self.durable_seq == self.state.seq

    @property
    def has_ended(self) -> bool:
        """Whether the run has ended, and that is on disk."""
        return self.state.status in CLOSED and self.durable_seq == self.state.seq

    def agent_of(self, index: int) -> AgentSpec:
        """The agent of a task."""
        return self.state.graph.nodes[index].agent

    def evaluate_parameters(self, index: int) -> JSONObject:
        """A task's parameters with their expressions evaluated. Raises ExpressionError."""
        template = self.state.graph.nodes[index].parameters
        value = (
            template.value if template.constant else template.render(build_scope(self.state, index))
        )
        assert isinstance(value, dict)
        return value

    def dependency_results(self, index: int) -> JSONObject:
        """Name -> result of what a task depends on (a tolerated failure gives None).

        A compensation depends on nothing: what its task has read may be gone by then. Nor does a
        tool: a model says what it is given.
        """
        graph, results = self.state.graph, self.state.results
        if index < graph.static:
            dependencies = graph.deps[index]
        elif tool_arguments(self.state, index) is not None:
            return {}
        else:
            dependencies = graph.deps[graph.origin_of(index)]
        if not dependencies or graph.nodes[index].compensates is not None:
            return {}
        return {graph.keys[dependency]: results.get(dependency) for dependency in dependencies}

    def rank_of(self, index: int) -> float:
        """How far a task is from the end of the run; an item or a round as far as its task."""
        ranks = self.ranks
        return ranks[index] if index < len(ranks) else ranks[self.state.graph.origin_of(index)]

    def build_record(self, rules: int, batch: Batch) -> Record:
        """What has not been written yet, as one record. Large values go into the batch."""
        events, self.pending_events = self.pending_events, []
        first_seq = self.written_seq + 1
        self.written_seq += len(events)
        payload = blobs.encode_events(self.id, events, batch)
        return Record(
            stream=self.id,
            seq=first_seq,
            count=len(events),
            at=events[-1].at,
            type="run",
            payload=payload,
            rules=rules,
            cause=self._take_due_snapshot(batch),
        )

    def _take_due_snapshot(self, batch: Batch) -> str:
        """Make a snapshot if one is due: all facts so far are in a batch."""
        state = self.state
        if not snapshots.is_due(state, self._snapshot_every) or state.status in CLOSED:
            return ""
        return snapshots.freeze_state(state, batch)

    def update_row_status(self) -> bool:
        """Whether the list of runs must be told."""
        changed = self._row_status != self.state.status
        self._row_status = self.state.status
        return changed

    def build_row(self) -> RunRow:
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
        completed_tasks=state.succeeded_count,
        failed_tasks=state.counts[TaskState.FAILED],
        tenant=state.tenant,
        owner=state.owner,
    )
