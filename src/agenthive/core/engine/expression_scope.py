"""What the expressions of a task see: results, inputs, its item, its round, its signal.

The values for the names that `roots` allows. Reads a run's state and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator

from agenthive.core.machine.model_turns import arguments
from agenthive.core.machine.run_state import RunState
from agenthive.core.values import JSONObject, JSONValue


def scope(state: RunState, task: int) -> dict[str, JSONValue]:
    """Name -> value for the parameters of a task, or of an item or a round of one."""
    graph = state.graph
    names: dict[str, JSONValue] = {
        "tasks": {graph.keys[i]: _view(state, i) for i in graph.reads[task]},
        "inputs": state.inputs,
        "run": {"id": state.run, "name": state.name},
    }
    if task >= graph.tasks and state.flow is not None:
        for index in _up(state, task):
            _add(state, names, index)
    elif state.flow is not None and task in state.flow.received:
        names["signal"] = state.flow.received[task]
    return names


def run_result(state: RunState) -> JSONValue:
    """The result of a run: its outputs, or name -> result of its last tasks.

    Raises ExpressionError.
    """
    graph = state.graph
    if graph.outputs is None:
        return {graph.keys[task]: state.results.get(task) for task in graph.result_reads}
    tasks: JSONObject = {graph.keys[i]: _view(state, i) for i in graph.result_reads}
    run: JSONObject = {"id": state.run, "name": state.name}
    return graph.outputs.render({"tasks": tasks, "inputs": state.inputs, "run": run})


def _up(state: RunState, task: int) -> Iterator[int]:
    """The task, and those from whose patterns it was made, the nearest first."""
    at: int | None = task
    while at is not None:
        yield at
        at = state.graph.owner_of(at)


def _add(state: RunState, names: dict[str, JSONValue], index: int) -> None:
    """What this task brings in: as an item, as a round, or by the signal it took."""
    flow, owner = state.flow, state.graph.owner_of(index)
    assert flow is not None
    if index in flow.received:
        names.setdefault("signal", flow.received[index])
    if owner is None:
        return
    asked = arguments(state, index)
    if asked is not None:
        names.setdefault("arguments", asked)
    undoes = state.graph.nodes[index].undoes
    tasks = names["tasks"]
    if undoes is not None and isinstance(tasks, dict):
        # What undoes an item sees its result where that of the whole task would be.
        tasks[state.graph.keys[state.graph.origin(index)]] = _view(state, undoes)
    each, rounds = flow.each.get(owner), flow.rounds.get(owner)
    if each is not None:
        names.setdefault("index", index - each.first)
        names.setdefault("item", each.items[index - each.first])
    elif rounds is not None and index in rounds.members[-2:]:
        number = len(rounds.members) - (index != rounds.members[-1])
        names.setdefault("round", number)
        before = rounds.members[number - 2] if number > 1 else None
        names.setdefault("previous", None if before is None else state.results.get(before))


def _view(state: RunState, index: int) -> JSONObject:
    fault = state.faults.get(index)
    view: JSONObject = {
        "result": state.results.get(index),
        "status": str(state.state[index]),
        "error": None if fault is None else fault.message,
    }
    each = None if state.flow is None else state.flow.each.get(index)
    if each is not None:
        members = range(each.first, each.first + len(each.items))
        view["errors"] = {
            str(member - each.first): state.faults[member].message
            for member in members
            if member in state.faults
        }
    return view
