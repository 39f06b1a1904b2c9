"""Evaluating what a task's next step needs: the choices that are journaled as facts.

Asked once for each step; replay reads the fact instead. Pure: state in, fact out. What cannot be
evaluated is a fact too (`TaskFaulted`), never an exception.
"""

from __future__ import annotations

import math
from hashlib import sha256
from typing import Final

import msgspec

from agenthive.core.engine.expression_scope import scope
from agenthive.core.graph.nodes import Node, Step
from agenthive.core.journal import run_events as ev
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.calls import Fault
from agenthive.core.model.timestamps import parse_instant
from agenthive.core.values import JSONObject, JSONValue, Micros, micros
from agenthive.errors import ExpressionError

MOST_TASKS: Final = 1_000_000
"""Tasks one run may make of items and rounds."""
_LONGEST_DELAY: Final = 366 * 86_400.0 * 10

_sorted = msgspec.json.Encoder(order="sorted")


def prepared(state: RunState, task: int, now: Micros) -> ev.RunEvent:
    """What the step that a task has come to is about, as a fact."""
    step, key = state.step_of(task), state.graph.keys[task]
    try:
        return _PREPARE[step](state, task, now)
    except ExpressionError as error:
        return faulted(now, key, "expression", error.message)
    except _Unfit as unfit:
        return faulted(now, key, unfit.kind, str(unfit))


class _Unfit(Exception):
    """A value that cannot be used for what it is for."""

    def __init__(self, kind: str, what: str) -> None:
        super().__init__(what)
        self.kind = kind


def faulted(now: Micros, key: str, kind: str, message: str) -> ev.TaskFaulted:
    """The fact that a task cannot begin."""
    fault = Fault(kind=kind, message=message, retriable=False, counts=False)
    return ev.TaskFaulted(at=now, task=key, fault=fault)


def _condition(state: RunState, task: int, now: Micros) -> ev.RunEvent:
    around = state.graph.nodes[task].around
    assert around is not None
    assert around.when is not None
    go = bool(around.when.evaluate(scope(state, task)))
    return ev.TaskDecided(at=now, task=state.graph.keys[task], go=go)


def _timer(state: RunState, task: int, now: Micros) -> ev.RunEvent:
    around = state.graph.nodes[task].around
    assert around is not None
    key, names = state.graph.keys[task], scope(state, task)
    if around.delay is not None:
        return ev.TaskDelayed(at=now, task=key, until=now + _length(around.delay.render(names)))
    assert around.until is not None
    text = around.until.render(names)
    until = parse_instant(text) if isinstance(text, str) else None
    if until is None:
        raise _Unfit(
            "not_a_time", f"until must be a time such as 2026-12-01T09:00Z, not {_short(text)}"
        )
    return ev.TaskDelayed(at=now, task=key, until=max(until, now))


def _length(value: JSONValue) -> Micros:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise _Unfit("not_a_time", f"delay must be seconds, not {_short(value)}") from None
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not 0 <= number <= _LONGEST_DELAY:
        raise _Unfit(
            "not_a_time", f"delay must be seconds from 0 to ten years, not {_short(value)}"
        )
    return micros(number)


def _items(state: RunState, task: int, now: Micros) -> ev.RunEvent:
    node = state.graph.nodes[task]
    assert node.around is not None
    assert node.around.items is not None
    items = node.around.items.render(scope(state, task))
    if not isinstance(items, list):
        raise _Unfit("not_a_list", f"for_each needs a list, not {_short(items)}")
    most = min(node.each.max_items, MOST_TASKS - len(state.graph.nodes))
    if len(items) > most:
        raise _Unfit(
            "too_many_items", f"for_each has {len(items):,} items, at most {most:,} are allowed"
        )
    label = node.around.label
    labels = (
        []
        if label is None
        else [
            _short(label.evaluate({"item": item, "index": number}))
            for number, item in enumerate(items)
        ]
    )
    return ev.TaskExpanded(at=now, task=state.graph.keys[task], items=items, labels=labels)


def _round(state: RunState, task: int, now: Micros) -> ev.RunEvent:
    node = state.graph.nodes[task]
    assert state.flow is not None
    assert node.around is not None
    assert node.around.round_end is not None
    members = state.flow.rounds[task].members
    names = scope(state, members[-1]) | {"result": state.results.get(members[-1])}
    done = bool(node.around.round_end.evaluate(names))
    return ev.RoundEnded(at=now, task=state.graph.keys[task], round=len(members), done=done)


def _approval(state: RunState, task: int, now: Micros) -> ev.RunEvent:
    return requested(state, task, now)


def requested(state: RunState, task: int, now: Micros) -> ev.ApprovalRequested:
    """The question to people: exactly what this task is going to do. Raises ExpressionError."""
    around = state.graph.nodes[task].around
    assert around is not None
    assert around.message is not None
    names = scope(state, task)
    payload = _payload(state.graph.nodes[task], names)
    message = around.message.render(names)
    return ev.ApprovalRequested(
        at=now,
        task=state.graph.keys[task],
        digest=payload_digest(payload),
        payload=payload,
        message=message if isinstance(message, str) else _short(message),
    )


def _payload(node: Node, names: JSONObject) -> JSONValue:
    assert node.around is not None
    if node.steps[-1] is Step.END:
        assert node.around.payload is not None
        return node.around.payload.render(names)
    parameters = node.parameters.render(names)
    if node.steps[-1] is Step.CHILD:
        assert node.around.workflow is not None
        return {"workflow": node.around.workflow.name, "inputs": parameters}
    turns: JSONObject = {}
    if node.voices:
        turns["tools"] = [tool.name for tool in node.voices[0].offers]
        turns["fallback"] = [voice.agent.name for voice in node.voices[1:]]
    return {"agent": node.agent.name, "action": node.action, "parameters": parameters} | turns


def approved(state: RunState, task: int) -> bool:
    """Whether what the task would do now is what was approved. Raises ExpressionError."""
    node, flow = state.graph.nodes[task], state.flow
    if Step.APPROVAL not in node.steps:
        return True
    digest = None if flow is None else flow.approved.get(task)
    return digest == payload_digest(_payload(node, scope(state, task)))


def payload_digest(payload: JSONValue) -> str:
    """The name of a payload: SHA-256 of its canonical JSON, in hex."""
    return sha256(_sorted.encode(payload)).hexdigest()


def _short(value: JSONValue) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= 80 else text[:77] + "..."


_PREPARE: Final = {
    Step.WHEN: _condition,
    Step.TIMER: _timer,
    Step.EACH: _items,
    Step.REPEAT: _round,
    Step.APPROVAL: _approval,
}
