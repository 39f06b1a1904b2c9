"""A run that the engine owns: its state, and its events that are not written yet.

The state itself (`RunState`) belongs to the machine and changes in `step` only; `ActiveRun` has
what the engine needs besides. It is made when a run is accepted or recovered, and dropped when the
end of the run is on disk.
"""

from __future__ import annotations

from agenthive.core.engine.budget_queues import WaitingCall
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
    """One open run. It gets a snapshot whenever it has ``snapshot_every`` more events."""

    __slots__ = (
        "_row_status",
        "_snapshot_every",
        "cache_keys",
        "call_scopes",
        "cancelling_calls",
        "durable_seq",
        "estimates",
        "hold_scopes",
        "id",
        "intent",
        "is_set_apart",
        "key_for",
        "missing_agents",
        "pending_events",
        "prepared_call",
        "priced_agents",
        "ranks",
        "reported_wait_state",
        "state",
        "waiting_calls",
        "written_seq",
    )

    def __init__(
        self, run_id: str, state: RunState, snapshot_every: int = snapshots.SNAPSHOT_INTERVAL
    ) -> None:
        self.id = run_id
        self._snapshot_every = snapshot_every
        #: Gives the idempotency key of a task's call.
        self.key_for = IdempotencyKeys(run_id)
        #: Whether it was set apart: its state may be half changed, and takes no more events.
        self.is_set_apart = False
        #: The machine's state, up to the last event that was applied.
        self.state = state
        #: Agents that are not registered: name -> how to supply them.
        self.missing_agents: dict[str, str] = {}
        #: Durations learnt in this run, from which `ranks` are computed anew.
        self.estimates = Estimates(state.graph)
        #: Upward rank of each task of the workflow file: estimated seconds to the end of the run.
        self.ranks = state.graph.rank
        #: Events that were applied and are in no batch yet, in order.
        self.pending_events: list[ev.RunEvent] = []
        #: (task key, attempt) of calls in progress that were requested to stop.
        self.cancelling_calls: set[tuple[str, int]] = set()
        #: The intent that is being applied: `CommandHandlers` makes its call.
        self.intent: ev.TaskStarted | None = None
        #: The call of that intent if admission has built it already.
        self.prepared_call: Call | None = None
        #: Number of the last event that is in a batch.
        self.written_seq = 0
        #: Number of the last event that is on disk.
        self.durable_seq = 0
        #: Index of a task with a call in progress -> key under which its result will be cached.
        self.cache_keys: dict[int, str] = {}
        #: (index, attempt) of a call that holds money -> scopes that it is spent from.
        self.hold_scopes: dict[tuple[int, int], tuple[str, ...]] = {}
        #: (agent name, task name or empty, day) -> scopes of such a call: see `BudgetManager`.
        self.call_scopes: dict[tuple[str, str, int], tuple[str, ...]] = {}
        #: Index of a ready task -> its place among those that wait for money, or that were woken.
        self.waiting_calls: dict[int, WaitingCall] = {}
        #: Agent name -> whether its calls can cost anything.
        self.priced_agents: dict[str, bool] = {}
        #: How this run waits, as last recorded in the parent run (`child_wait_state`).
        self.reported_wait_state = "moving"
        #: Status in the row of the run list that was written last.
        self._row_status = ""

    @property
    def is_parked(self) -> bool:
        """Whether the run waits for help from outside (a user, a signal), and that is on disk."""
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

        Empty for a compensation, because the results that its task has read may be dropped by
        then, and for a tool, whose arguments come from the model.
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
        """The upward rank of a task; a mapped item or an iteration has that of its task."""
        ranks = self.ranks
        return ranks[index] if index < len(ranks) else ranks[self.state.graph.origin_of(index)]

    def build_record(self, batch: Batch) -> Record:
        """The pending events as one record. Large values and a due snapshot go into the batch."""
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
            rules=self.state.rules,
            cause=self._take_due_snapshot(batch),
        )

    def _take_due_snapshot(self, batch: Batch) -> str:
        """Make a snapshot if one is due; returns its digest, else an empty text."""
        state = self.state
        if not snapshots.is_due(state, self._snapshot_every) or state.status in CLOSED:
            return ""
        return snapshots.freeze_state(state, batch)

    def update_row_status(self) -> bool:
        """Whether the row of the run list must be written, because the status has changed."""
        changed = self._row_status != self.state.status
        self._row_status = self.state.status
        return changed

    def build_row(self) -> RunRow:
        """This run's row of the run list."""
        return row_of(self.state)


def row_of(state: RunState) -> RunRow:
    """The row of the run list for a run in this state."""
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
