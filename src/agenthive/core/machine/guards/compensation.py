"""Sagas: undo what succeeded, the latest first, one at a time."""

from __future__ import annotations

from agenthive.core.machine.run_state import RunState
from agenthive.core.model.states import TaskState

_BAD_END = frozenset({TaskState.FAILED, TaskState.UNKNOWN_OUTCOME})


def is_next_compensation(state: RunState, task: int) -> bool:
    """This compensation is the next one."""
    return state.undoing == task


def compensation_started(state: RunState, task: int) -> bool:
    """The compensation of this task is being carried out."""
    compensation = state.graph.compensations.get(task)
    return compensation is not None and compensation == state.undoing


def compensation_succeeded(state: RunState, task: int) -> bool:
    """The compensation of this task went well."""
    return state.state[state.graph.compensations[task]] is TaskState.SUCCEEDED


def compensation_failed(state: RunState, task: int) -> bool:
    """The compensation of this task ended badly, or nobody knows."""
    return state.state[state.graph.compensations[task]] in _BAD_END
