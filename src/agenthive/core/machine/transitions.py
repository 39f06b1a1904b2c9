"""The tables: every move a task or a run can make. A move that is not a row is refused.

There are two kinds. **Event-triggered**: in this state, on this event, go to that state; where the
next state depends on policy, the row names a chooser. **State-triggered**: in this state, as soon
as this guard holds, go to that state; applied to every touched task until none moves. The diagram
of the reference is drawn from these tables. `machine` applies them; nothing else moves a task or a
run.

To add a move: a row here, a guard or chooser in `guards` if it needs one, a line in the row test
(`tests/core/test_transitions.py` for tasks, `test_run_transitions.py` for runs). A row that changes
where an old journal leads must depend on the run's rules number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from agenthive.core.journal import run_events as ev
from agenthive.core.machine.guards import (
    compensation,
    completion,
    dependencies,
    flow,
    outcome,
    stopping,
)
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.states import RunStatus, TaskState

S = TaskState
R = RunStatus

Chooser: TypeAlias = Callable[[RunState, int, ev.RunEvent], TaskState | None]
"""The next state of a task for an event; None: the task stays in its state."""
Guard: TypeAlias = Callable[[RunState, int], bool]
"""Whether a task may move now."""
RunGuard: TypeAlias = Callable[[RunState], bool]
"""Whether the run may move now."""

EVENT_MOVES: Final[dict[TaskState, dict[type[ev.TaskEvent], TaskState | Chooser]]] = {
    S.READY: {
        ev.TaskStarted: S.RUNNING,
        ev.TaskBlocked: S.BLOCKED,
        ev.ApprovalRequested: S.BLOCKED,
        ev.TaskFaulted: S.FAILED,
    },
    S.PREPARING: {
        ev.TaskDecided: flow.after_decision,
        ev.TaskDelayed: S.BLOCKED,
        ev.ApprovalRequested: S.BLOCKED,
        ev.TaskExpanded: S.EXPANDED,
        ev.ChildOpened: S.EXPANDED,
        ev.TaskFaulted: S.FAILED,
    },
    S.EXPANDED: {
        ev.RoundEnded: flow.after_iteration,
        ev.TaskFaulted: S.FAILED,
        ev.ChildEnded: flow.after_child,
    },
    S.RUNNING: {
        ev.TaskSucceeded: S.SUCCEEDED,
        ev.TaskFailed: outcome.after_failure,
        ev.TaskLost: outcome.after_loss,
        ev.TaskCancelled: outcome.after_cancel,
    },
    S.BACKING_OFF: {
        ev.TaskWoke: S.READY,
    },
    S.BLOCKED: {
        ev.TaskUnblocked: S.READY,
        ev.TaskWoke: flow.after_wake,
        ev.ApprovalGiven: flow.after_approval,
        ev.TaskFaulted: S.FAILED,
    },
    S.UNKNOWN_OUTCOME: {
        ev.TaskResolved: flow.after_resolution,
    },
}
"""(state, event) -> next state, or the chooser of it.

Events that never move a task have no row: see `machine.STATIONARY_HANDLERS`.
"""

CHOOSER_RESULTS: Final[dict[Chooser, tuple[TaskState, ...]]] = {
    outcome.after_failure: (S.BACKING_OFF, S.FAILED, S.UNKNOWN_OUTCOME, S.CANCELLED),
    outcome.after_loss: (S.READY, S.UNKNOWN_OUTCOME, S.CANCELLED, S.FAILED),
    outcome.after_cancel: (S.CANCELLED, S.UNKNOWN_OUTCOME),
    flow.after_decision: (S.BYPASSED,),
    flow.after_wake: (S.PREPARING, S.FAILED, S.SUCCEEDED, S.BYPASSED),
    flow.after_approval: (S.PREPARING, S.FAILED, S.SUCCEEDED, S.BYPASSED),
    flow.after_iteration: (S.SUCCEEDED, S.FAILED),
    flow.after_child: (S.SUCCEEDED, S.FAILED, S.CANCELLED),
    flow.after_resolution: (S.SUCCEEDED, S.FAILED, S.READY),
}
"""The states that each chooser may return, for the diagram; tests compare them with the code."""

# The order within a state matters: the first guard that holds wins. The guards on stopping come
# first, so that nothing starts in a run that is stopping; `machine` leaves them out for other runs.
STATE_MOVES: Final[dict[TaskState, tuple[tuple[Guard, TaskState], ...]]] = {
    S.WAITING: (
        (stopping.run_is_cancelling, S.CANCELLED),
        (stopping.run_is_stopping, S.SKIPPED),
        (dependencies.dependency_failed, S.SKIPPED),
        (flow.sibling_item_failed, S.SKIPPED),
        # The common case, before the two rows that would come to the same in more time.
        (dependencies.plain_call_dependencies_met, S.READY),
        (flow.dependencies_bypassed, S.BYPASSED),
        (dependencies.dependencies_met, S.PREPARING),
    ),
    S.PREPARING: (
        (stopping.run_is_cancelling, S.CANCELLED),
        (stopping.run_is_stopping, S.SKIPPED),
        (flow.at_call, S.READY),
        (flow.at_signal, S.BLOCKED),
        (flow.at_iterations, S.EXPANDED),
        (flow.at_turns, S.EXPANDED),
        (flow.at_end, S.SUCCEEDED),
    ),
    S.EXPANDED: (
        (flow.all_items_succeeded, S.SUCCEEDED),
        (flow.turns_done, S.SUCCEEDED),
        # What has ended without success: the guards of success are above.
        (flow.parts_cancelled, S.CANCELLED),
        (flow.parts_failed, S.FAILED),
    ),
    S.UNKNOWN_OUTCOME: (
        (flow.call_acted, S.SUCCEEDED),
        (flow.call_did_not_act, S.READY),
    ),
    S.READY: (
        (stopping.run_is_cancelling, S.CANCELLED),
        (stopping.run_is_stopping, S.SKIPPED),
    ),
    S.BACKING_OFF: (
        (stopping.run_is_cancelling, S.CANCELLED),
        # It has started and failed: the fault of its last attempt is why it ends.
        (stopping.run_is_stopping, S.FAILED),
    ),
    S.BLOCKED: (
        (stopping.run_is_cancelling, S.CANCELLED),
        (stopping.run_is_stopping, S.SKIPPED),
        (flow.signal_received, S.PREPARING),
    ),
    S.DORMANT: ((compensation.is_next_compensation, S.READY),),
    S.SUCCEEDED: ((compensation.compensation_started, S.COMPENSATING),),
    S.COMPENSATING: (
        (compensation.compensation_succeeded, S.COMPENSATED),
        (compensation.compensation_failed, S.COMPENSATION_FAILED),
    ),
}
"""state -> (guard, next state) in order; the first guard that holds wins."""

RUN_EVENT_MOVES: Final[dict[RunStatus, dict[type[ev.Event], RunStatus]]] = {
    R.QUEUED: {
        ev.RunStarted: R.RUNNING,
        ev.CancelRequested: R.QUEUED,
        ev.SignalReceived: R.QUEUED,
        ev.RunMigrated: R.QUEUED,
    },
    R.RUNNING: {
        ev.RunResumed: R.RUNNING,
        ev.RunClockStepped: R.RUNNING,
        ev.CancelRequested: R.RUNNING,
        ev.RunTimeoutReached: R.RUNNING,
        ev.SignalReceived: R.RUNNING,
        ev.RunMigrated: R.RUNNING,
    },
    R.WAITING: {
        ev.RunResumed: R.WAITING,
        ev.RunClockStepped: R.WAITING,
        ev.CancelRequested: R.WAITING,
        ev.RunTimeoutReached: R.WAITING,
        ev.SignalReceived: R.WAITING,
        ev.RunMigrated: R.WAITING,
    },
    R.COMPENSATING: {
        ev.RunResumed: R.COMPENSATING,
        ev.RunClockStepped: R.COMPENSATING,
        ev.SignalReceived: R.COMPENSATING,
    },
}
"""(status, event) -> next status.

Most rows keep the status: a request to cancel, for example, only sets what the guards of
`RUN_STATE_MOVES` read, and the run ends once its calls have.
"""

# Each guard assumes that those before it do not hold: `run_failed` only sees that nothing is open.
_RUN_ENDS: Final[tuple[tuple[RunGuard, RunStatus], ...]] = (
    (completion.run_cancelled, R.CANCELLED),
    (completion.compensation_due, R.COMPENSATING),
    (completion.run_succeeded, R.COMPLETED),
    (completion.run_partly_succeeded, R.PARTIALLY_COMPLETED),
    (completion.run_failed, R.FAILED),
)

RUN_STATE_MOVES: Final[dict[RunStatus, tuple[tuple[RunGuard, RunStatus], ...]]] = {
    R.QUEUED: ((completion.run_cancelled, R.CANCELLED),),
    R.RUNNING: (*_RUN_ENDS, (completion.only_waiting, R.WAITING)),
    R.WAITING: (*_RUN_ENDS, (completion.can_progress, R.RUNNING)),
    R.COMPENSATING: (
        (completion.compensations_failed, R.COMPENSATION_FAILED),
        (completion.compensations_succeeded, R.COMPENSATED),
    ),
}
"""status -> (guard, next status) in order, after every event; the first guard that holds wins."""
