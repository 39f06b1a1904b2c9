"""What an attempt that did not succeed leads to."""

from __future__ import annotations

from typing import Final

from agenthive.core.budget.holds import NOT_CARRIED_OUT
from agenthive.core.journal import run_events as ev
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.calls import Fault
from agenthive.core.model.states import TaskState
from agenthive.core.model.workflow import Effect

INVALID_OUTPUT: Final = "invalid_output"
"""The kind of fault that a result is which is not as its schema says."""

MAX_LOSSES: Final = 100
"""A task whose calls are lost this often (say, because it ends the process) is given up."""


def after_failure(state: RunState, task: int, event: ev.RunEvent) -> TaskState:
    """Try again, give up, or admit not knowing.

    A ``once`` task is tried again only if the other side certainly did nothing.
    """
    assert isinstance(event, ev.TaskFailed)
    node = state.graph.nodes[task]
    fault = event.fault
    if node.effect is Effect.ONCE and fault.kind not in NOT_CARRIED_OUT | {"agent_error"}:
        return TaskState.UNKNOWN_OUTCOME
    if _run_is_stopping(state, task):
        return TaskState.CANCELLED if state.cancelling else TaskState.FAILED
    if is_repairable(state, task, fault) or event.pause is not None:
        return TaskState.BACKING_OFF
    attempts_used = event.attempt - state.losses.get(task, 0)
    once_acted = node.effect is Effect.ONCE and fault.kind not in NOT_CARRIED_OUT
    if not fault.retriable or once_acted or attempts_used >= node.retry.max_attempts:
        return TaskState.FAILED
    return TaskState.BACKING_OFF


def is_repairable(state: RunState, task: int, fault: Fault) -> bool:
    """A model gets one more try, told what was wrong with its answer; not if it acts once."""
    node = state.graph.nodes[task]
    if fault.kind != INVALID_OUTPUT or node.agent.type != "ai_agent" or node.effect is Effect.ONCE:
        return False
    return state.flow is None or task not in state.flow.repaired


def after_loss(state: RunState, task: int, event: ev.RunEvent) -> TaskState:
    """The process ended during the call: call again under the same key, unless it acts once."""
    assert isinstance(event, ev.TaskLost)
    if state.graph.nodes[task].effect is Effect.ONCE:
        return TaskState.UNKNOWN_OUTCOME
    if _run_is_stopping(state, task):
        return TaskState.CANCELLED
    if state.losses.get(task, 0) >= MAX_LOSSES:
        return TaskState.FAILED
    return TaskState.READY


def after_cancel(state: RunState, task: int, event: ev.RunEvent) -> TaskState:
    """The call was stopped on our side; a ``once`` call may have acted all the same."""
    if state.graph.nodes[task].effect is Effect.ONCE:
        return TaskState.UNKNOWN_OUTCOME
    return TaskState.CANCELLED


def _run_is_stopping(state: RunState, task: int) -> bool:
    return state.stopping and state.graph.nodes[task].compensates is None
