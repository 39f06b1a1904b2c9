"""When a run ends, how, and when it only waits."""

from __future__ import annotations

from agenthive.core.machine.run_state import RunState
from agenthive.core.model.states import TaskState
from agenthive.core.model.workflow import FailureStrategy


def _no_open_tasks(state: RunState) -> bool:
    return state.open == 0


def run_cancelled(state: RunState) -> bool:
    """Cancelled, and nothing is under way any more."""
    return state.cancelling and _no_open_tasks(state)


def run_succeeded(state: RunState) -> bool:
    """Every task succeeded, or failed where that is tolerated."""
    return _no_open_tasks(state) and state.hard_failures == 0 and not state.timed_out


def run_partly_succeeded(state: RunState) -> bool:
    """Some task failed, at least one succeeded, and that is enough."""
    return (
        _no_open_tasks(state)
        and state.strategy is FailureStrategy.PARTIAL
        and not state.timed_out
        and state.succeeded_count > 0
    )


def compensation_due(state: RunState) -> bool:
    """The run failed and something that succeeded declares how to undo it."""
    return (
        _no_open_tasks(state)
        and not run_succeeded(state)
        and not run_partly_succeeded(state)
        and any(state.state[i] is TaskState.SUCCEEDED for i in state.ended)
    )


def run_failed(state: RunState) -> bool:
    """Nothing is left to do, and it was not enough."""
    return _no_open_tasks(state)


def compensations_succeeded(state: RunState) -> bool:
    """Every compensation went well."""
    return state.undoing is None and not state.to_undo and state.undo_failures == 0


def compensations_failed(state: RunState) -> bool:
    """Every compensation was tried, at least one ended badly."""
    return state.undoing is None and not state.to_undo and state.undo_failures > 0


def only_waiting(state: RunState) -> bool:
    """Nothing runs and nothing could; a time, an agent or a person is awaited."""
    counts, flow = state.counts, state.flow
    if counts[TaskState.RUNNING] or counts[TaskState.READY] or counts[TaskState.PREPARING]:
        return False
    return flow is None or flow.moving == 0


def can_progress(state: RunState) -> bool:
    """Something runs or could run."""
    return not only_waiting(state)
