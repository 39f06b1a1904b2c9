"""When a run ends, with which status, and when it only waits.

The guards are rows of `RUN_STATE_MOVES` and called in its order: each may assume that those above
it do not hold.
"""

from __future__ import annotations

from agenthive.core.machine.run_state import RunState
from agenthive.core.model.states import TaskState
from agenthive.core.model.workflow import FailureStrategy


def _no_open_tasks(state: RunState) -> bool:
    return state.open == 0


def run_cancelled(state: RunState) -> bool:
    """The run was cancelled, and no task is open any more."""
    return state.cancelling and _no_open_tasks(state)


def run_succeeded(state: RunState) -> bool:
    """Every task succeeded, was bypassed, or failed where that is tolerated."""
    return _no_open_tasks(state) and state.hard_failures == 0 and not state.timed_out


def run_partly_succeeded(state: RunState) -> bool:
    """A task failed, at least one succeeded, and the failure strategy accepts that."""
    return (
        _no_open_tasks(state)
        and state.strategy is FailureStrategy.PARTIAL
        and not state.timed_out
        and state.succeeded_count > 0
    )


def compensation_due(state: RunState) -> bool:
    """The run failed, and a task that succeeded declares a compensation."""
    return (
        _no_open_tasks(state)
        and not run_succeeded(state)
        and not run_partly_succeeded(state)
        and any(state.state[i] is TaskState.SUCCEEDED for i in state.ended)
    )


def run_failed(state: RunState) -> bool:
    """No task is open, and no other end applies."""
    return _no_open_tasks(state)


def compensations_succeeded(state: RunState) -> bool:
    """Every compensation succeeded."""
    return state.undoing is None and not state.to_undo and state.undo_failures == 0


def compensations_failed(state: RunState) -> bool:
    """Every compensation was tried, and at least one ended badly."""
    return state.undoing is None and not state.to_undo and state.undo_failures > 0


def only_waiting(state: RunState) -> bool:
    """No task runs or could run: the run waits for a time, an agent, a signal or an approval."""
    counts, flow = state.counts, state.flow
    if counts[TaskState.RUNNING] or counts[TaskState.READY] or counts[TaskState.PREPARING]:
        return False
    return flow is None or flow.moving == 0


def can_progress(state: RunState) -> bool:
    """A task runs or could run."""
    return not only_waiting(state)
