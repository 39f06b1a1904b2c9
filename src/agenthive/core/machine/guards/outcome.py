"""Choosers for an attempt that did not succeed: retry, failure, or unknown outcome."""

from __future__ import annotations

from typing import Final

from agenthive.core.budget.holds import CLASS_RULES, NOT_CARRIED_OUT
from agenthive.core.graph.nodes import Node
from agenthive.core.journal import run_events as ev
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.calls import Fault
from agenthive.core.model.states import TaskState
from agenthive.core.model.workflow import Effect
from agenthive.core.policies.fault_classes import FaultClass

INVALID_OUTPUT: Final = "invalid_output"
"""Fault kind of a result that does not match the output schema of its task."""

MAX_LOSSES: Final = 100
"""A task with so many lost calls fails: the call itself may be what ends the process."""


def after_failure(state: RunState, task: int, event: ev.RunEvent) -> TaskState:
    """Retry, fail, or unknown outcome, by the class of the fault and the effect of the task.

    A task with ``effect: once`` is called again only if nothing was sent. If its outcome is
    unknown, a reconcile call or a user decides.
    """
    assert isinstance(event, ev.TaskFailed)
    node, fault = state.graph.nodes[task], event.fault
    once = node.effect is Effect.ONCE
    by_class = state.rules >= CLASS_RULES
    unknown = fault.known_class is FaultClass.UNKNOWN if by_class else _once_in_doubt(fault)
    if once and unknown:
        return TaskState.UNKNOWN_OUTCOME
    if _run_is_stopping(state, task):
        return TaskState.CANCELLED if state.cancelling else TaskState.FAILED
    # Neither counts as an attempt: see `event_handlers`.
    if is_repairable(state, task, fault) or is_put_back(state, task, event):
        return TaskState.BACKING_OFF
    may_retry = _class_may_retry(node, fault) if by_class else _kind_may_retry(node, fault)
    attempts_used = event.attempt - state.losses.get(task, 0)
    if not may_retry or attempts_used >= node.retry.max_attempts:
        return TaskState.FAILED
    return TaskState.BACKING_OFF


def _class_may_retry(node: Node, fault: Fault) -> bool:
    if not fault.retriable:
        return False
    if node.effect is Effect.ONCE:
        return fault.known_class is FaultClass.NOT_SENT
    # A model receives what was wrong with its output, so its next attempt is a different one.
    is_model_output = fault.kind == INVALID_OUTPUT and node.agent.type == "ai_agent"
    return fault.known_class in node.retry.retry_on or is_model_output


# Rules 1 and 2 judge a fault by its kind.


def _once_in_doubt(fault: Fault) -> bool:
    return fault.kind not in NOT_CARRIED_OUT | {"agent_error"}


def _kind_may_retry(node: Node, fault: Fault) -> bool:
    once_acted = node.effect is Effect.ONCE and fault.kind not in NOT_CARRIED_OUT
    return fault.retriable and not once_acted


def is_put_back(state: RunState, task: int, event: ev.TaskFailed) -> bool:
    """Whether the task is called again after a pause, because the endpoint was called too often.

    That does not count as an attempt. A task with ``effect: once`` was refused, and fails.
    """
    return event.pause is not None and may_put_back(state, task, event.fault)


def may_put_back(state: RunState, task: int, fault: Fault) -> bool:
    """Whether a call that was throttled is repeated without counting as an attempt."""
    if state.rules < CLASS_RULES:
        return True
    once = state.graph.nodes[task].effect is Effect.ONCE
    return fault.known_class is FaultClass.REFUSED and not once


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
