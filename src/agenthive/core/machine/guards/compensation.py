"""Sagas: compensate the tasks that succeeded, the one that ended last first, one at a time.

H. Garcia-Molina, K. Salem, "Sagas", SIGMOD 1987.
"""

from __future__ import annotations

from agenthive.core.machine.run_state import RunState
from agenthive.core.model.states import TaskState

# No user has to decide about a compensation of unknown outcome before the run ends.
_BAD_END = frozenset({TaskState.FAILED, TaskState.UNKNOWN_OUTCOME})


def is_next_compensation(state: RunState, task: int) -> bool:
    """This compensation is the next one."""
    return state.undoing == task


def compensation_started(state: RunState, task: int) -> bool:
    """The compensation of this task is the current one."""
    compensation = state.graph.compensations.get(task)
    return compensation is not None and compensation == state.undoing


def compensation_succeeded(state: RunState, task: int) -> bool:
    """The compensation of this task succeeded."""
    return state.state[state.graph.compensations[task]] is TaskState.SUCCEEDED


def compensation_failed(state: RunState, task: int) -> bool:
    """The compensation of this task failed, or its outcome is unknown."""
    return state.state[state.graph.compensations[task]] in _BAD_END
