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
from agenthive.core.machine.flow_state import ModelTurns, TurnState
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.calls import Fault, ModelTurn, ToolCall, ToolResult
from agenthive.core.model.states import TaskState
from agenthive.core.policies.loop_detection import LoopVerdict
from agenthive.core.values import JSONObject, JSONValue

TRAJECTORY: Final = "trajectory"
"""The kind of fault that a model ends in which gets nowhere."""
MAX_TURNS: Final = "max_turns"
BREAKER_OPEN: Final = "breaker_open"
"""The kind of fault of a turn that was not had: it would have waited, and another need not."""
TRUNCATION_MARK: Final = "\n[cut here]"


def begin_turns(state: RunState, task: int, touched: list[int]) -> None:
    """The first model has its first turn."""
    state.ensure_flow().turns[task] = ModelTurns()
    _begin_turn(state, task, touched)


def find_turns(state: RunState, member: int) -> ModelTurns | None:
    """The turns that this node is one of, or was asked for in."""
    owner = state.graph.owner_of(member)
    return None if owner is None or state.flow is None else state.flow.turns.get(owner)


def list_fallbacks(state: RunState, member: int) -> Sequence[Node]:
    """Who may speak in place of a turn that is not had; nobody for all that is no turn."""
    turns, owner = find_turns(state, member), state.graph.owner_of(member)
    if turns is None or owner is None or member != turns.had[-1].node or state.stopping:
        return ()
    return state.graph.nodes[owner].voices[turns.voice + 1 :]


def settle_member(state: RunState, member: int, owner: int, touched: list[int]) -> None:
    """A turn has ended, or a tool."""
    assert state.flow is not None
    turns = state.flow.turns[owner]
    if member == turns.had[-1].node:
        _settle_turn(state, turns, owner, touched)
        return
    turns.left -= 1
    if state.stopping:
        touched.append(owner)
    elif not turns.left:
        _begin_turn(state, owner, touched)


def _settle_turn(state: RunState, turns: ModelTurns, owner: int, touched: list[int]) -> None:
    turn_state, node = state.state[turns.had[-1].node], state.graph.nodes[owner]
    if turn_state is TaskState.FAILED and not state.stopping and turns.voice + 1 < len(node.voices):
        turns.voice += 1
        _begin_turn(state, owner, touched)
    elif turn_state is TaskState.SUCCEEDED and turns.had[-1].asks:
        _handle_tool_calls(state, turns, owner, touched)
    else:
        turns.done = turn_state is TaskState.SUCCEEDED
        touched.append(owner)


def _handle_tool_calls(state: RunState, turns: ModelTurns, owner: int, touched: list[int]) -> None:
    """It asks for tools: call them, unless there is to be no other turn."""
    node, last_turn = state.graph.nodes[owner], turns.had[-1]
    verdict = LoopVerdict() if state.stopping else _check_loops(state, turns, owner)
    assert node.task is not None
    succeeded_turns = [turn for turn in turns.had if state.state[turn.node] is TaskState.SUCCEEDED]
    if verdict.stop:
        _stop_turns(state, turns, owner, TRAJECTORY, f"it gets nowhere: {verdict.stop}")
    elif len(succeeded_turns) >= node.task.max_turns and not state.stopping:
        message = f"it still asks for '{last_turn.asks[0].name}' after {len(succeeded_turns)} turns"
        _stop_turns(state, turns, owner, MAX_TURNS, message)
    if turns.stopped or state.stopping:
        touched.append(owner)
        return
    last_turn.note = verdict.warning
    _start_tools(state, turns, owner, touched)


def _check_loops(state: RunState, turns: ModelTurns, owner: int) -> LoopVerdict:
    node, trajectory = state.graph.nodes[owner], state.ensure_flow().path
    assert node.task is not None
    repeat_limits = {tool.name: tool.repeats for tool in node.task.tools}
    tool_calls = [
        (tool_call.name, tool_call.arguments, repeat_limits.get(tool_call.name, 1))
        for tool_call in turns.had[-1].asks
    ]
    previous_calls = turns.had[-2].calls if len(turns.had) > 1 else []
    all_failed = bool(previous_calls) and not any(
        _call_succeeded(state, call) for call in previous_calls
    )
    turns.stale = turns.stale + 1 if all_failed or not trajectory.has_new_call(tool_calls) else 0
    return trajectory.assess_turn(tool_calls, turns.stale)


def _call_succeeded(state: RunState, call: int | None) -> bool:
    return call is not None and state.state[call] is TaskState.SUCCEEDED


def _stop_turns(state: RunState, turns: ModelTurns, owner: int, kind: str, message: str) -> None:
    turns.stopped = True
    state.faults[owner] = Fault(kind=kind, message=message, retriable=False, counts=False)


def _start_tools(state: RunState, turns: ModelTurns, owner: int, touched: list[int]) -> None:
    node, turn = state.graph.nodes[owner], turns.had[-1]
    tool_numbers = {offer.name: i for i, offer in enumerate(node.voices[0].offers)}
    key = state.graph.keys[turn.node]
    started_tools: list[int] = []
    for position, tool_call in enumerate(turn.asks):
        pattern = None if tool_call.problem else tool_numbers.get(tool_call.name)
        if pattern is None:
            turn.calls.append(None)
        else:
            started_tools.append(state.add_task(owner, node.tools[pattern], f"{key}[{position}]"))
            turn.calls.append(started_tools[-1])
    turns.left = len(started_tools)
    # What is touched last moves first: tools begin in their order.
    touched += reversed(started_tools)
    if not started_tools:
        _begin_turn(state, owner, touched)


def _begin_turn(state: RunState, owner: int, touched: list[int]) -> None:
    turns = state.ensure_flow().turns[owner]
    node = state.graph.nodes[owner].voices[turns.voice]
    key = f"{state.graph.keys[owner]}~{len(turns.had) + 1}"
    turns.had.append(TurnState(node=state.add_task(owner, node, key)))
    touched.append(turns.had[-1].node)


def keep_last_result(state: RunState, task: int) -> None:
    """The result of the last turn is that of the task."""
    assert state.flow is not None
    keep_result(state, task, state.results.get(state.flow.turns[task].had[-1].node))


def release_results(state: RunState, task: int) -> None:
    """The task has ended: nobody reads any more what was said and done on the way."""
    assert state.flow is not None
    turns = state.flow.turns[task]
    if not state.keep:
        for turn in turns.had:
            for node in (turn.node, *turn.calls):
                if node is not None:
                    state.results.pop(node, None)


# What a model is told.


def build_history(state: RunState, member: int) -> tuple[ModelTurn, ...]:
    """What has been said before a turn; turns that failed have said nothing."""
    turns, owner = find_turns(state, member), state.graph.owner_of(member)
    if turns is None or owner is None:
        return ()
    return tuple(
        [
            ModelTurn(
                said=state.results.get(turn.node),
                outcomes=_list_tool_results(state, owner, turn),
                note=turn.note,
            )
            for turn in turns.had[:-1]
            if state.state[turn.node] is TaskState.SUCCEEDED
        ]
    )


def _list_tool_results(state: RunState, owner: int, turn: TurnState) -> tuple[ToolResult, ...]:
    task = state.graph.nodes[owner].task
    assert task is not None
    length_limits = {tool.name: tool.max_result for tool in task.tools}
    return tuple(
        [
            _build_tool_result(state, tool_call, call, length_limits.get(tool_call.name, 0))
            for tool_call, call in zip(turn.asks, turn.calls, strict=True)
        ]
    )


def _build_tool_result(
    state: RunState, tool_call: ToolCall, call: int | None, max_length: int
) -> ToolResult:
    if call is None:
        problem = tool_call.problem or f"there is no tool '{tool_call.name}'"
        return ToolResult(asked=tool_call, content=problem, failed=True)
    call_state = state.state[call]
    if call_state is TaskState.SUCCEEDED:
        return ToolResult(
            asked=tool_call, content=_render_text(state.results.get(call), max_length)
        )
    fault = state.faults.get(call)
    message = f"it was not done ({call_state})" if fault is None else fault.message
    return ToolResult(asked=tool_call, content=message, failed=True)


def _render_text(value: JSONValue, max_length: int) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= max_length else text[:max_length] + TRUNCATION_MARK


def tool_arguments(state: RunState, member: int) -> JSONObject | None:
    """What a tool is asked for; None for what is none."""
    turns = find_turns(state, member)
    tool_call = None if turns is None else turns.find_tool_call(member)
    return None if tool_call is None else tool_call.arguments
