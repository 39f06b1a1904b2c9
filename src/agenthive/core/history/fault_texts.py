"""Faults in words for users: the message, and what is certain about the call.

A fault without a class is from an old journal: then only its message is shown. Nothing is decided
here.
"""

from __future__ import annotations

from agenthive.core.machine.run_state import RunState
from agenthive.core.model.calls import Fault
from agenthive.core.model.states import TaskState
from agenthive.core.model.workflow import Effect
from agenthive.core.policies.fault_classes import CLASS_TEXTS, FaultClass

_RAN = "it ran"


def describe_fault(fault: Fault) -> str:
    """The message, followed by what its class says."""
    if fault.class_ is None or (fault.class_ is FaultClass.BAD_END and _RAN in fault.message):
        return fault.message
    return f"{fault.message} ({CLASS_TEXTS[fault.class_]})"


def failure_message(state: RunState, task: int, fault: Fault) -> str:
    """The message of a fault as the report of its task has it.

    For a task that failed with ``effect: once`` it says that the call ran: that is why it is not
    repeated. A call with the kind ``refused`` had no beginning.
    """
    is_once = state.graph.nodes[task].effect is Effect.ONCE
    ended_badly = fault.class_ is FaultClass.BAD_END and fault.kind != "refused"
    if not (is_once and ended_badly and state.state[task] is TaskState.FAILED):
        return fault.message
    if _RAN in fault.message:
        return f"{fault.message}; it is not repeated (effect: once)"
    return f"{fault.message}; {_RAN}, and is not repeated (effect: once)"
