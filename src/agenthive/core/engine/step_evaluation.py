"""Evaluates the next step of a task: conditions, delays, items, iterations, approvals.

Each result is journaled as an event, so that a replay reads the event and evaluates nothing. Pure:
state in, event out. An expression that cannot be evaluated gives an event too (`TaskFaulted`),
never an exception. To add a step: a function here and a line in `_EVALUATORS`.
"""

from __future__ import annotations

import math
from hashlib import sha256
from typing import Final

import msgspec

from agenthive.core.engine.expression_scope import build_scope
from agenthive.core.graph.nodes import Node, Step
from agenthive.core.journal import run_events as ev
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.calls import Fault
from agenthive.core.model.timestamps import parse_timestamp
from agenthive.core.policies.fault_classes import FaultClass
from agenthive.core.values import JSONObject, JSONValue, Micros, to_micros
from agenthive.errors import ExpressionError

MAX_TASKS: Final = 1_000_000
"""Tasks of one run, with mapped items and iterations."""
_MAX_DELAY: Final = 366 * 86_400.0 * 10
"""Seconds: ten years."""

_sorted_encoder = msgspec.json.Encoder(order="sorted")


def evaluate_step(state: RunState, task: int, now: Micros) -> ev.RunEvent:
    """The event that the current step of a task gives."""
    step, key = state.current_step(task), state.graph.keys[task]
    try:
        return _EVALUATORS[step](state, task, now)
    except ExpressionError as error:
        return task_faulted_event(now, key, "expression", error.message)
    except _UnusableValue as unusable:
        return task_faulted_event(now, key, unusable.kind, str(unusable))


class _UnusableValue(Exception):
    """An expression gave a value that its step cannot use; ``kind`` is that of the fault."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def task_faulted_event(now: Micros, key: str, kind: str, message: str) -> ev.TaskFaulted:
    """The event that fails a task before its call; the fault is never retried."""
    fault = Fault(
        kind=kind,
        message=message,
        retriable=False,
        counts=False,
        class_=FaultClass.NOT_SENT,
    )
    return ev.TaskFaulted(at=now, task=key, fault=fault)


def _evaluate_when(state: RunState, task: int, now: Micros) -> ev.RunEvent:
    around = state.graph.nodes[task].control_flow
    assert around is not None
    assert around.when is not None
    is_met = bool(around.when.evaluate(build_scope(state, task)))
    return ev.TaskDecided(at=now, task=state.graph.keys[task], go=is_met)


def _evaluate_timer(state: RunState, task: int, now: Micros) -> ev.RunEvent:
    around = state.graph.nodes[task].control_flow
    assert around is not None
    key, names = state.graph.keys[task], build_scope(state, task)
    if around.delay is not None:
        return ev.TaskDelayed(
            at=now, task=key, until=now + _parse_delay(around.delay.render(names))
        )
    assert around.until is not None
    text = around.until.render(names)
    until = parse_timestamp(text) if isinstance(text, str) else None
    if until is None:
        raise _UnusableValue(
            "not_a_time", f"until must be a time such as 2026-12-01T09:00Z, not {_shorten(text)}"
        )
    return ev.TaskDelayed(at=now, task=key, until=max(until, now))


def _parse_delay(value: JSONValue) -> Micros:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise _UnusableValue(
                "not_a_time", f"delay must be seconds, not {_shorten(value)}"
            ) from None
    seconds = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not 0 <= seconds <= _MAX_DELAY:
        raise _UnusableValue(
            "not_a_time", f"delay must be seconds from 0 to ten years, not {_shorten(value)}"
        )
    return to_micros(seconds)


def _evaluate_each(state: RunState, task: int, now: Micros) -> ev.RunEvent:
    node = state.graph.nodes[task]
    assert node.control_flow is not None
    assert node.control_flow.items is not None
    items = node.control_flow.items.render(build_scope(state, task))
    if not isinstance(items, list):
        raise _UnusableValue("not_a_list", f"for_each needs a list, not {_shorten(items)}")
    max_items = min(node.each.max_items, MAX_TASKS - len(state.graph.nodes))
    if len(items) > max_items:
        raise _UnusableValue(
            "too_many_items",
            f"for_each has {len(items):,} items, at most {max_items:,} are allowed",
        )
    label = node.control_flow.label
    labels = (
        []
        if label is None
        else [
            _shorten(label.evaluate({"item": item, "index": position}))
            for position, item in enumerate(items)
        ]
    )
    return ev.TaskExpanded(at=now, task=state.graph.keys[task], items=items, labels=labels)


def _evaluate_repeat(state: RunState, task: int, now: Micros) -> ev.RunEvent:
    node = state.graph.nodes[task]
    assert state.flow is not None
    assert node.control_flow is not None
    assert node.control_flow.round_end is not None
    members = state.flow.rounds[task].members
    names = build_scope(state, members[-1]) | {"result": state.results.get(members[-1])}
    done = bool(node.control_flow.round_end.evaluate(names))
    return ev.RoundEnded(at=now, task=state.graph.keys[task], round=len(members), done=done)


def _evaluate_approval(state: RunState, task: int, now: Micros) -> ev.RunEvent:
    return approval_requested_event(state, task, now)


def approval_requested_event(state: RunState, task: int, now: Micros) -> ev.ApprovalRequested:
    """The request for an approval of exactly what the task would do. Raises ExpressionError."""
    around = state.graph.nodes[task].control_flow
    assert around is not None
    assert around.message is not None
    names = build_scope(state, task)
    payload = _approval_payload(state.graph.nodes[task], names)
    message = around.message.render(names)
    return ev.ApprovalRequested(
        at=now,
        task=state.graph.keys[task],
        digest=payload_digest(payload),
        payload=payload,
        message=message if isinstance(message, str) else _shorten(message),
    )


def _approval_payload(node: Node, names: JSONObject) -> JSONValue:
    assert node.control_flow is not None
    if node.steps[-1] is Step.END:
        assert node.control_flow.payload is not None
        return node.control_flow.payload.render(names)
    parameters = node.parameters.render(names)
    if node.steps[-1] is Step.CHILD:
        assert node.control_flow.workflow is not None
        return {"workflow": node.control_flow.workflow.name, "inputs": parameters}
    turns: JSONObject = {}
    if node.voices:
        turns["tools"] = [tool.name for tool in node.voices[0].offers]
        turns["fallback"] = [voice.agent.name for voice in node.voices[1:]]
    return {"agent": node.agent.name, "action": node.action, "parameters": parameters} | turns


def is_approved(state: RunState, task: int) -> bool:
    """Whether what the task would do now was approved, or needs no approval.

    Raises ExpressionError.
    """
    node, flow = state.graph.nodes[task], state.flow
    if Step.APPROVAL not in node.steps:
        return True
    digest = None if flow is None else flow.approved.get(task)
    return digest == payload_digest(_approval_payload(node, build_scope(state, task)))


def payload_digest(payload: JSONValue) -> str:
    """The digest of a payload: SHA-256 of its canonical JSON, in hex."""
    return sha256(_sorted_encoder.encode(payload)).hexdigest()


def _shorten(value: JSONValue) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= 80 else text[:77] + "..."


_EVALUATORS: Final = {
    Step.WHEN: _evaluate_when,
    Step.TIMER: _evaluate_timer,
    Step.EACH: _evaluate_each,
    Step.REPEAT: _evaluate_repeat,
    Step.APPROVAL: _evaluate_approval,
}
