"""When a waiting task may start, and when it never will."""

from __future__ import annotations

from agenthive.core.run_state import RunState


def met(state: RunState, task: int) -> bool:
    """Everything it depends on has ended, well or tolerated."""
    return state.pending[task] == 0


def broken(state: RunState, task: int) -> bool:
    """Something it depends on ended without a result that could be used."""
    return task in state.broken
