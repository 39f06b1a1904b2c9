"""What happens to tasks that have not started when the run stops."""

from __future__ import annotations

from agenthive.core.run_state import RunState


def cancelled(state: RunState, task: int) -> bool:
    """Somebody cancelled the run. Compensations are not cancelled half-way."""
    return state.cancelling and task < state.graph.tasks


def stopped(state: RunState, task: int) -> bool:
    """A failure or the run's time-out stopped the run; compensations still run."""
    return state.stopping and task < state.graph.tasks
