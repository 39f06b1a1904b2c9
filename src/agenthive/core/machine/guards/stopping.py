"""What happens to tasks without a call in flight when the run stops."""

from __future__ import annotations

from agenthive.core.machine.run_state import RunState


def run_is_cancelling(state: RunState, task: int) -> bool:
    """The user cancelled the run. A cancelled run compensates nothing, so this is for all tasks."""
    return state.cancelling


def run_is_stopping(state: RunState, task: int) -> bool:
    """A failure or the run's time-out stopped the run, and the task is not a compensation."""
    return state.stopping and state.graph.nodes[task].compensates is None
