"""When a waiting task may start, and when it never will."""

from __future__ import annotations

from agenthive.core.graph.nodes import PLAIN
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.states import TaskState

# Looked up once: asked of every task, and in Python 3.11 that costs more than the answer.
_BYPASSED = TaskState.BYPASSED


def plain_call_dependencies_met(state: RunState, task: int) -> bool:
    """Everything it depends on has ended, and it is a call with nothing around it.

    Where something was bypassed, `dependencies_met` comes after the question whether this is too.
    """
    if state.pending[task] or state.counts[_BYPASSED]:
        return False
    return state.graph.nodes[task].steps is PLAIN


def dependencies_met(state: RunState, task: int) -> bool:
    """Everything it depends on has ended, well or tolerated."""
    return state.pending[task] == 0


def dependency_failed(state: RunState, task: int) -> bool:
    """Something it depends on ended without a result that could be used."""
    return task in state.broken
