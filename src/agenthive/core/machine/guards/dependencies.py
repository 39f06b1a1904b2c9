"""When a waiting task may start, and when it can never start."""

from __future__ import annotations

from agenthive.core.graph.nodes import PLAIN
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.states import TaskState

# Looked up once: read for every task, and in Python 3.11 the look-up of an enum member costs more
# than the rest of the guard.
_BYPASSED = TaskState.BYPASSED


def plain_call_dependencies_met(state: RunState, task: int) -> bool:
    """All dependencies have ended, and the task is a plain call.

    Not used in a run with bypassed tasks: `flow.dependencies_bypassed` must come first there, and
    `dependencies_met` after it.
    """
    if state.pending[task] or state.counts[_BYPASSED]:
        return False
    return state.graph.nodes[task].steps is PLAIN


def dependencies_met(state: RunState, task: int) -> bool:
    """All dependencies have ended, well or tolerated."""
    return state.pending[task] == 0


def dependency_failed(state: RunState, task: int) -> bool:
    """A dependency ended without a usable result."""
    return task in state.broken
