"""Choosers for an attempt that did not succeed: retry, failure, or unknown outcome."""

from __future__ import annotations

from typing import Final

from agenthive.core.budget.holds import NOT_CARRIED_OUT
from agenthive.core.journal import run_events as ev
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.calls import Fault
from agenthive.core.model.states import TaskState
from agenthive.core.model.workflow import Effect

INVALID_OUTPUT: Final = "invalid_output"
"""Fault kind of a result that does not match the output schema of its task."""

MAX_LOSSES: Final = 100
"""A task with so many lost calls fails: the call itself may be what ends the process."""


def after_failure(state: RunState, task: int, event: ev.RunEvent) -> TaskState:
    """Retry, fail, or unknown outcome.

    A task with ``effect: once`` is retried only if the fault says for certain that the other side
    did nothing. ``agent_error`` says that it did something and failed, so the task fails.
    """
    assert isinstance(event, ev.TaskFailed)
    node = state.graph.nodes[task]
    fault = event.fault
    if node.effect is Effect.ONCE and fault.kind not in NOT_CARRIED_OUT | {"agent_error"}:
        return TaskState.UNKNOWN_OUTCOME
    if _run_is_stopping(state, task):
        return TaskState.CANCELLED if state.cancelling else TaskState.FAILED
    # Neither counts as an attempt: see `event_handlers`.
    if is_repairable(state, task, fault) or event.pause is not None:
        return TaskState.BACKING_OFF
    attempts_used = event.attempt - state.losses.get(task, 0)
    once_acted = node.effect is Effect.ONCE and fault.kind not in NOT_CARRIED_OUT
    if not fault.retriable or once_acted or attempts_used >= node.retry.max_attempts:
        return TaskState.FAILED
    return TaskState.BACKING_OFF


def is_repairable(state: RunState, task: int, fault: Fault) -> bool:
    """Whether a model gets its one more try, with the complaint about its invalid answer.

    A task with ``effect: once`` is not called a second time for that.
    """
    node = state.graph.nodes[task]
    if fault.kind != INVALID_OUTPUT or node.agent.type != "ai_agent" or node.effect is Effect.ONCE:
        return False
    return state.flow is None or task not in state.flow.repaired


def after_loss(state: RunState, task: int, event: ev.RunEvent) -> TaskState:
    """The process ended during the call: call again under the same key, unless `Effect.ONCE`."""
    assert isinstance(event, ev.TaskLost)
    if state.graph.nodes[task].effect is Effect.ONCE:
        return TaskState.UNKNOWN_OUTCOME
    if _run_is_stopping(state, task):
        return TaskState.CANCELLED
    if state.losses.get(task, 0) >= MAX_LOSSES:
        return TaskState.FAILED
    return TaskState.READY


def after_cancel(state: RunState, task: int, event: ev.RunEvent) -> TaskState:
    """agenthive cancelled the call; one with ``effect: once`` may have acted all the same."""
    if state.graph.nodes[task].effect is Effect.ONCE:
        return TaskState.UNKNOWN_OUTCOME
    return TaskState.CANCELLED


def _run_is_stopping(state: RunState, task: int) -> bool:
    # Compensations keep their retries while the run is stopping.
    return state.stopping and state.graph.nodes[task].compensates is None
