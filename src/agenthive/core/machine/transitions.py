"""The tables: every move a task or a run can make. A move that is not a row is refused.

Two kinds. **Event-triggered**: in this state, on this fact, go there; where the next state depends
on policy, the row names a chooser. **State-triggered**: in this state, as soon as this guard holds,
go there; applied to every touched task until nothing moves. The diagram in the docs is drawn from
these tables, so nothing may change a state anywhere else.

To add a move: a row here, a guard or chooser in `rules/` if it needs one, a line in the row test.
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
"""Where a fact leads to; None is: the task stays where it is."""
Guard: TypeAlias = Callable[[RunState, int], bool]
RunGuard: TypeAlias = Callable[[RunState], bool]

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
        ev.RoundEnded: flow.after_round,
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
        ev.ApprovalGiven: flow.after_verdict,
        ev.TaskFaulted: S.FAILED,
    },
    S.UNKNOWN_OUTCOME: {
        ev.TaskResolved: flow.after_resolution,
    },
}
"""(state, fact) -> next state. `machine.STILL` are the facts that move nothing anywhere."""

MAY_END_IN: Final[dict[Chooser, tuple[TaskState, ...]]] = {
    outcome.after_failure: (S.BACKING_OFF, S.FAILED, S.UNKNOWN_OUTCOME, S.CANCELLED),
    outcome.after_loss: (S.READY, S.UNKNOWN_OUTCOME, S.CANCELLED, S.FAILED),
    outcome.after_cancel: (S.CANCELLED, S.UNKNOWN_OUTCOME),
    flow.after_decision: (S.BYPASSED,),
    flow.after_wake: (S.PREPARING, S.FAILED, S.SUCCEEDED, S.BYPASSED),
    flow.after_verdict: (S.PREPARING, S.FAILED, S.SUCCEEDED, S.BYPASSED),
    flow.after_round: (S.SUCCEEDED, S.FAILED),
    flow.after_child: (S.SUCCEEDED, S.FAILED, S.CANCELLED),
    flow.after_resolution: (S.SUCCEEDED, S.FAILED, S.READY),
}
"""What each chooser may answer: for the diagram, and checked in tests."""

STATE_MOVES: Final[dict[TaskState, tuple[tuple[Guard, TaskState], ...]]] = {
    S.WAITING: (
        (stopping.cancelled, S.CANCELLED),
        (stopping.stopped, S.SKIPPED),
        (dependencies.broken, S.SKIPPED),
        (flow.abandoned, S.SKIPPED),
        (dependencies.met_by_a_call, S.READY),
        (flow.bypassed, S.BYPASSED),
        (dependencies.met, S.PREPARING),
    ),
    S.PREPARING: (
        (stopping.cancelled, S.CANCELLED),
        (stopping.stopped, S.SKIPPED),
        (flow.at_call, S.READY),
        (flow.at_signal, S.BLOCKED),
        (flow.at_rounds, S.EXPANDED),
        (flow.at_turns, S.EXPANDED),
        (flow.at_end, S.SUCCEEDED),
    ),
    S.EXPANDED: (
        (flow.gathered, S.SUCCEEDED),
        (flow.answered, S.SUCCEEDED),
        (flow.cut_short, S.CANCELLED),
        (flow.fell_short, S.FAILED),
    ),
    S.UNKNOWN_OUTCOME: (
        (flow.it_happened, S.SUCCEEDED),
        (flow.it_did_not, S.READY),
    ),
    S.READY: (
        (stopping.cancelled, S.CANCELLED),
        (stopping.stopped, S.SKIPPED),
    ),
    S.BACKING_OFF: (
        (stopping.cancelled, S.CANCELLED),
        (stopping.stopped, S.FAILED),
    ),
    S.BLOCKED: (
        (stopping.cancelled, S.CANCELLED),
        (stopping.stopped, S.SKIPPED),
        (flow.signalled, S.PREPARING),
    ),
    S.DORMANT: ((compensation.its_turn, S.READY),),
    S.SUCCEEDED: ((compensation.undo_began, S.COMPENSATING),),
    S.COMPENSATING: (
        (compensation.undo_succeeded, S.COMPENSATED),
        (compensation.undo_failed, S.COMPENSATION_FAILED),
    ),
}
"""state -> guards in order, the first that holds wins."""

RUN_EVENT_MOVES: Final[dict[RunStatus, dict[type[ev.Event], RunStatus]]] = {
    R.QUEUED: {
        ev.RunStarted: R.RUNNING,
        ev.CancelRequested: R.QUEUED,
        ev.SignalReceived: R.QUEUED,
        ev.RunMigrated: R.QUEUED,
    },
    R.RUNNING: {
        ev.RunResumed: R.RUNNING,
        ev.CancelRequested: R.RUNNING,
        ev.RunTimedOut: R.RUNNING,
        ev.SignalReceived: R.RUNNING,
        ev.RunMigrated: R.RUNNING,
    },
    R.WAITING: {
        ev.RunResumed: R.WAITING,
        ev.CancelRequested: R.WAITING,
        ev.RunTimedOut: R.WAITING,
        ev.SignalReceived: R.WAITING,
        ev.RunMigrated: R.WAITING,
    },
    R.COMPENSATING: {ev.RunResumed: R.COMPENSATING, ev.SignalReceived: R.COMPENSATING},
}
"""(status, fact) -> next status. A request changes what the guards say, not the status itself."""

_ENDS: Final[tuple[tuple[RunGuard, RunStatus], ...]] = (
    (completion.cancelled, R.CANCELLED),
    (completion.compensation_due, R.COMPENSATING),
    (completion.succeeded, R.COMPLETED),
    (completion.partly_succeeded, R.PARTIALLY_COMPLETED),
    (completion.failed, R.FAILED),
)

RUN_STATE_MOVES: Final[dict[RunStatus, tuple[tuple[RunGuard, RunStatus], ...]]] = {
    R.QUEUED: ((completion.cancelled, R.CANCELLED),),
    R.RUNNING: (*_ENDS, (completion.only_waiting, R.WAITING)),
    R.WAITING: (*_ENDS, (completion.moving, R.RUNNING)),
    R.COMPENSATING: (
        (completion.undoing_failed, R.COMPENSATION_FAILED),
        (completion.undone, R.COMPENSATED),
    ),
}
"""status -> guards in order, looked at after every event; the first that holds wins."""
