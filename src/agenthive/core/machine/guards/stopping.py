"""What happens to tasks that have not started when the run stops."""

from __future__ import annotations

from agenthive.core.machine.run_state import RunState


def run_is_cancelling(state: RunState, task: int) -> bool:
    """Somebody cancelled the run; such a run undoes nothing, so it has no compensations."""
    return state.cancelling


def run_is_stopping(state: RunState, task: int) -> bool:
    """A failure or the run's time-out stopped the run; compensations still run."""
    return state.stopping and state.graph.nodes[task].compensates is None
