"""Sagas: undo what succeeded, the latest first, one at a time."""

from __future__ import annotations

from agenthive.core.machine.run_state import RunState
from agenthive.core.model.states import TaskState

_BAD_END = frozenset({TaskState.FAILED, TaskState.UNKNOWN_OUTCOME})


def its_turn(state: RunState, task: int) -> bool:
    """This compensation is the next one."""
    return state.undoing == task


def undo_began(state: RunState, task: int) -> bool:
    """The compensation of this task is being carried out."""
    undo = state.graph.undo.get(task)
    return undo is not None and undo == state.undoing


def undo_succeeded(state: RunState, task: int) -> bool:
    """The compensation of this task went well."""
    return state.state[state.graph.undo[task]] is TaskState.SUCCEEDED


def undo_failed(state: RunState, task: int) -> bool:
    """The compensation of this task ended badly, or nobody knows."""
    return state.state[state.graph.undo[task]] in _BAD_END
