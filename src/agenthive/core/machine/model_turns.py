"""Model turns: a model requests tools, the tools are called, and the model gets their results.

A task with tools or fallbacks generates one task for each turn (``ask~2``), and one for each tool
call that a turn requests (``ask~2[0]``). Both have an intent, an idempotency key, an effect and a
hold like any other task: a tool that has acted is not called a second time because the process
ended. The sequence is

    turn -> its tool calls, in parallel -> next turn -> ... -> a turn that requests no tools

and the result of the last turn is the result of the task. When a turn fails, the next model of
``fallback`` has a turn with the same history; there is no way back to an earlier model. The turns
end without an answer when all models failed, when ``max_turns`` turns succeeded and the last one
still requests tools, or when `policies.loop_detection` finds a loop.

Everything here follows from the run's own events and never needs the engine. `state_actions` calls
the first part; the engine calls the second one, for the history and the arguments of a call. To
change what a model receives: `build_history`.
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
from agenthive.core.policies.fault_classes import FaultClass
from agenthive.core.policies.loop_detection import TASK_RULES, LoopVerdict
from agenthive.core.values import JSONObject, JSONValue

TRAJECTORY: Final = "trajectory"
"""Fault kind of a task with a model that is in a loop."""
MAX_TURNS: Final = "max_turns"
"""Fault kind of a task with a model that still requests tools after its last turn."""
BREAKER_OPEN: Final = "breaker_open"
"""Fault kind of a turn that was not called: its circuit breaker is open and a fallback exists."""
TRUNCATION_MARK: Final = "\n[cut here]"
"""The end of a tool result of which the model gets only the beginning."""


def begin_turns(state: RunState, task: int, touched: list[int]) -> None:
    """Begin the first turn of the first model."""
    state.ensure_flow().turns[task] = ModelTurns()
    _begin_turn(state, task, touched)


def find_turns(state: RunState, member: int) -> ModelTurns | None:
    """The turns to which a generated task belongs, as a turn or as a tool call; else None."""
    owner = state.graph.owner_of(member)
    return None if owner is None or state.flow is None else state.flow.turns.get(owner)


def list_fallbacks(state: RunState, member: int) -> Sequence[Node]:
    """The models that may take over if this turn cannot be called now.

    Empty for a task that is not the current turn of a task.
    """
    turns, owner = find_turns(state, member), state.graph.owner_of(member)
    if turns is None or owner is None or member != turns.had[-1].node or state.stopping:
        return ()
    return state.graph.nodes[owner].voices[turns.voice + 1 :]


def settle_member(state: RunState, member: int, owner: int, touched: list[int]) -> None:
    """A turn or a tool call of ``owner`` has ended, well or badly."""
    assert state.flow is not None
    turns = state.flow.turns[owner]
    if member == turns.had[-1].node:
        _settle_turn(state, turns, owner, touched)
        return
    # The next turn needs the results of all tools, failed ones too: a model may try another way.
    turns.left -= 1
    if state.stopping:
        touched.append(owner)
    elif not turns.left:
        _begin_turn(state, owner, touched)


def _settle_turn(state: RunState, turns: ModelTurns, owner: int, touched: list[int]) -> None:
    # A turn that was cancelled or never started has no fallback: the run is stopping.
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
    """Call the tools that the last turn requested, unless no further turn may follow."""
    node, last_turn = state.graph.nodes[owner], turns.had[-1]
    verdict = LoopVerdict() if state.stopping else _check_loops(state, turns, owner)
    assert node.task is not None
    # Turns that failed brought nothing and do not count for ``max_turns``.
    succeeded_turns = [turn for turn in turns.had if state.state[turn.node] is TaskState.SUCCEEDED]
    if verdict.stop:
        _stop_turns(state, turns, owner, TRAJECTORY, f"the model is in a loop: {verdict.stop}")
    elif len(succeeded_turns) >= node.task.max_turns and not state.stopping:
        tool, count = last_turn.asks[0].name, len(succeeded_turns)
        message = f"the model still requests '{tool}' after {count} turns (max_turns)"
        _stop_turns(state, turns, owner, MAX_TURNS, message)
    if turns.stopped or state.stopping:
        touched.append(owner)
        return
    last_turn.note = verdict.warning
    _start_tools(state, turns, owner, touched)


def _check_loops(state: RunState, turns: ModelTurns, owner: int) -> LoopVerdict:
    """Count the tool calls of the last turn and judge them; called at most one time for a turn."""
    node = state.graph.nodes[owner]
    trajectory = turns.path if state.rules >= TASK_RULES else state.ensure_flow().path
    assert node.task is not None
    repeat_limits = {tool.name: tool.repeats for tool in node.task.tools}
    tool_calls = [
        (tool_call.name, tool_call.arguments, repeat_limits.get(tool_call.name, 1))
        for tool_call in turns.had[-1].asks
    ]
    previous_calls = turns.had[-2].calls if len(turns.had) > 1 else []
    # A turn is stale if it requests nothing new, or if no call before it succeeded: the order
    # matters, as `assess_turn` counts the calls and they are no longer new after it.
    all_failed = bool(previous_calls) and not any(
        _call_succeeded(state, call) for call in previous_calls
    )
    turns.stale = turns.stale + 1 if all_failed or not trajectory.has_new_call(tool_calls) else 0
    return trajectory.assess_turn(tool_calls, turns.stale)


def _call_succeeded(state: RunState, call: int | None) -> bool:
    return call is not None and state.state[call] is TaskState.SUCCEEDED


def _stop_turns(state: RunState, turns: ModelTurns, owner: int, kind: str, message: str) -> None:
    # The guard `parts_failed` ends the task now; the fault is there before, so that
    # `explain_failure` does not replace it.
    turns.stopped = True
    state.faults[owner] = Fault(
        kind=kind, message=message, retriable=False, counts=False, class_=FaultClass.BAD_END
    )


def _start_tools(state: RunState, turns: ModelTurns, owner: int, touched: list[int]) -> None:
    """Generate a task for each requested tool that exists and has valid arguments.

    The key has the position of the request within its turn, so it is the same in a replay.
    """
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
    # ``touched`` is a stack: reversed, the tools begin in their order.
    touched += reversed(started_tools)
    # No request can be called: the model learns why in its next turn.
    if not started_tools:
        _begin_turn(state, owner, touched)


def _begin_turn(state: RunState, owner: int, touched: list[int]) -> None:
    """Generate the next turn, of the model in use; its key counts failed turns too."""
    turns = state.ensure_flow().turns[owner]
    node = state.graph.nodes[owner].voices[turns.voice]
    key = f"{state.graph.keys[owner]}~{len(turns.had) + 1}"
    turns.had.append(TurnState(node=state.add_task(owner, node, key)))
    touched.append(turns.had[-1].node)


def keep_last_result(state: RunState, task: int) -> None:
    """Keep the result of the last turn as the result of its task."""
    assert state.flow is not None
    keep_result(state, task, state.results.get(state.flow.turns[task].had[-1].node))


def release_results(state: RunState, task: int) -> None:
    """Drop the results of turns and tool calls: their task has ended, no history needs them."""
    assert state.flow is not None
    turns = state.flow.turns[task]
    if not state.keep:
        for turn in turns.had:
            for node in (turn.node, *turn.calls):
                if node is not None:
                    state.results.pop(node, None)


# What a model receives.


def build_history(state: RunState, member: int) -> tuple[ModelTurn, ...]:
    """The turns before this one with their tool results, oldest first; failed turns are left out.

    Empty for a task that is not a model turn or a tool call.
    """
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
    message = f"the tool did not succeed ({call_state})" if fault is None else fault.message
    return ToolResult(asked=tool_call, content=message, failed=True)


def _render_text(value: JSONValue, max_length: int) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= max_length else text[:max_length] + TRUNCATION_MARK


def tool_arguments(state: RunState, member: int) -> JSONObject | None:
    """The arguments of a tool call; None for a task that is not one."""
    turns = find_turns(state, member)
    tool_call = None if turns is None else turns.find_tool_call(member)
    return None if tool_call is None else tool_call.arguments
