"""The turns of a model: what it asks for is called, it is told what came of it, and goes on.

Each turn is a task of its own (``ask~2``), and so is each tool that a turn asks for (``ask~2[0]``),
with an intent, a key, an effect and a hold like any other: what has acted once is not asked again
because the process ended. A model that could not is followed by the next one, which is told what
has been said so far. Everything here follows from the run's own facts; called by `entries` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from agenthive.core.graph.nodes import Node
from agenthive.core.machine.event_handlers import keep_result
from agenthive.core.machine.flow_state import Had, Turns
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.calls import Asked, Fault, Outcome, Turn
from agenthive.core.model.states import TaskState
from agenthive.core.policies.loop_detection import Verdict
from agenthive.core.values import JSONObject, JSONValue

TRAJECTORY: Final = "trajectory"
"""The kind of fault that a model ends in which gets nowhere."""
MAX_TURNS: Final = "max_turns"
BREAKER_OPEN: Final = "breaker_open"
"""The kind of fault of a turn that was not had: it would have waited, and another need not."""
CUT: Final = "\n[cut here]"


def begin(state: RunState, task: int, touched: list[int]) -> None:
    """The first model has its first turn."""
    state.begin_flow().turns[task] = Turns()
    _next_turn(state, task, touched)


def turns_of(state: RunState, member: int) -> Turns | None:
    """The turns that this node is one of, or was asked for in."""
    owner = state.graph.owner_of(member)
    return None if owner is None or state.flow is None else state.flow.turns.get(owner)


def others(state: RunState, member: int) -> Sequence[Node]:
    """Who may speak in place of a turn that is not had; nobody for all that is no turn."""
    turns, owner = turns_of(state, member), state.graph.owner_of(member)
    if turns is None or owner is None or member != turns.had[-1].node or state.stopping:
        return ()
    return state.graph.nodes[owner].voices[turns.voice + 1 :]


def member_ended(state: RunState, member: int, owner: int, touched: list[int]) -> None:
    """A turn has ended, or a tool."""
    assert state.flow is not None
    turns = state.flow.turns[owner]
    if member == turns.had[-1].node:
        _turn_ended(state, turns, owner, touched)
        return
    turns.left -= 1
    if state.stopping:
        touched.append(owner)
    elif not turns.left:
        _next_turn(state, owner, touched)


def _turn_ended(state: RunState, turns: Turns, owner: int, touched: list[int]) -> None:
    kind, node = state.state[turns.had[-1].node], state.graph.nodes[owner]
    if kind is TaskState.FAILED and not state.stopping and turns.voice + 1 < len(node.voices):
        turns.voice += 1
        _next_turn(state, owner, touched)
    elif kind is TaskState.SUCCEEDED and turns.had[-1].asks:
        _asked(state, turns, owner, touched)
    else:
        turns.done = kind is TaskState.SUCCEEDED
        touched.append(owner)


def _asked(state: RunState, turns: Turns, owner: int, touched: list[int]) -> None:
    """It asks for tools: call them, unless there is to be no other turn."""
    node, had = state.graph.nodes[owner], turns.had[-1]
    verdict = Verdict() if state.stopping else _judged(state, turns, owner)
    assert node.task is not None
    well = [one for one in turns.had if state.state[one.node] is TaskState.SUCCEEDED]
    if verdict.stop:
        _stop(state, turns, owner, TRAJECTORY, f"it gets nowhere: {verdict.stop}")
    elif len(well) >= node.task.max_turns and not state.stopping:
        what = f"it still asks for '{had.asks[0].name}' after {len(well)} turns"
        _stop(state, turns, owner, MAX_TURNS, what)
    if turns.stopped or state.stopping:
        touched.append(owner)
        return
    had.note = verdict.warning
    _call(state, turns, owner, touched)


def _judged(state: RunState, turns: Turns, owner: int) -> Verdict:
    node, path = state.graph.nodes[owner], state.begin_flow().path
    assert node.task is not None
    most = {tool.name: tool.repeats for tool in node.task.tools}
    asked = [(one.name, one.arguments, most.get(one.name, 1)) for one in turns.had[-1].asks]
    before = turns.had[-2].calls if len(turns.had) > 1 else []
    vain = bool(before) and not any(_good(state, call) for call in before)
    turns.stale = turns.stale + 1 if vain or not path.new(asked) else 0
    return path.judge(asked, turns.stale)


def _good(state: RunState, call: int | None) -> bool:
    return call is not None and state.state[call] is TaskState.SUCCEEDED


def _stop(state: RunState, turns: Turns, owner: int, kind: str, message: str) -> None:
    turns.stopped = True
    state.faults[owner] = Fault(kind=kind, message=message, retriable=False, counts=False)


def _call(state: RunState, turns: Turns, owner: int, touched: list[int]) -> None:
    node, had = state.graph.nodes[owner], turns.had[-1]
    number = {offer.name: i for i, offer in enumerate(node.voices[0].offers)}
    key = state.graph.keys[had.node]
    begun: list[int] = []
    for at, one in enumerate(had.asks):
        pattern = None if one.problem else number.get(one.name)
        if pattern is None:
            had.calls.append(None)
        else:
            begun.append(state.grow(owner, node.tools[pattern], f"{key}[{at}]"))
            had.calls.append(begun[-1])
    turns.left = len(begun)
    # What is touched last moves first: tools begin in their order.
    touched += reversed(begun)
    if not begun:
        _next_turn(state, owner, touched)


def _next_turn(state: RunState, owner: int, touched: list[int]) -> None:
    turns = state.begin_flow().turns[owner]
    node = state.graph.nodes[owner].voices[turns.voice]
    key = f"{state.graph.keys[owner]}~{len(turns.had) + 1}"
    turns.had.append(Had(node=state.grow(owner, node, key)))
    touched.append(turns.had[-1].node)


def keep_last(state: RunState, task: int) -> None:
    """The result of the last turn is that of the task."""
    assert state.flow is not None
    keep_result(state, task, state.results.get(state.flow.turns[task].had[-1].node))


def let_go(state: RunState, task: int) -> None:
    """The task has ended: nobody reads any more what was said and done on the way."""
    assert state.flow is not None
    turns = state.flow.turns[task]
    if not state.keep:
        for had in turns.had:
            for node in (had.node, *had.calls):
                if node is not None:
                    state.results.pop(node, None)


# What a model is told.


def history(state: RunState, member: int) -> tuple[Turn, ...]:
    """What has been said before a turn; turns that failed have said nothing."""
    turns, owner = turns_of(state, member), state.graph.owner_of(member)
    if turns is None or owner is None:
        return ()
    return tuple(
        [
            Turn(
                said=state.results.get(had.node),
                outcomes=_outcomes(state, owner, had),
                note=had.note,
            )
            for had in turns.had[:-1]
            if state.state[had.node] is TaskState.SUCCEEDED
        ]
    )


def _outcomes(state: RunState, owner: int, had: Had) -> tuple[Outcome, ...]:
    task = state.graph.nodes[owner].task
    assert task is not None
    most = {tool.name: tool.max_result for tool in task.tools}
    return tuple(
        [
            _outcome(state, one, call, most.get(one.name, 0))
            for one, call in zip(had.asks, had.calls, strict=True)
        ]
    )


def _outcome(state: RunState, one: Asked, call: int | None, most: int) -> Outcome:
    if call is None:
        problem = one.problem or f"there is no tool '{one.name}'"
        return Outcome(asked=one, content=problem, failed=True)
    kind = state.state[call]
    if kind is TaskState.SUCCEEDED:
        return Outcome(asked=one, content=_text(state.results.get(call), most))
    fault = state.faults.get(call)
    message = f"it was not done ({kind})" if fault is None else fault.message
    return Outcome(asked=one, content=message, failed=True)


def _text(value: JSONValue, most: int) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= most else text[:most] + CUT


def arguments(state: RunState, member: int) -> JSONObject | None:
    """What a tool is asked for; None for what is none."""
    turns = turns_of(state, member)
    asked = None if turns is None else turns.asked(member)
    return None if asked is None else asked.arguments
