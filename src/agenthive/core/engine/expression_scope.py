"""The names that the expressions of a task can use, with their values: results, inputs, item, ...

`core.expressions.names` defines which names are allowed where; here they get their values. Reads a
run's state and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator

from agenthive.core.machine.model_turns import tool_arguments
from agenthive.core.machine.run_state import RunState
from agenthive.core.values import JSONObject, JSONValue


def build_scope(state: RunState, task: int) -> dict[str, JSONValue]:
    """Name -> value for the expressions of a task, a mapped item or an iteration."""
    graph = state.graph
    names: dict[str, JSONValue] = {
        "tasks": {
            graph.keys[read_task]: _task_view(state, read_task) for read_task in graph.reads[task]
        },
        "inputs": state.inputs,
        "run": {"id": state.run, "name": state.name},
    }
    if task >= graph.tasks and state.flow is not None:
        for index in _enclosing_tasks(state, task):
            _add_task_names(state, names, index)
    elif state.flow is not None and task in state.flow.received:
        names["signal"] = state.flow.received[task]
    return names


def run_result(state: RunState) -> JSONValue:
    """The result of a run: its outputs or, if none are declared, name -> result of its last tasks.

    Raises ExpressionError.
    """
    graph = state.graph
    if graph.outputs is None:
        return {graph.keys[task]: state.results.get(task) for task in graph.result_reads}
    tasks: JSONObject = {
        graph.keys[read_task]: _task_view(state, read_task) for read_task in graph.result_reads
    }
    run: JSONObject = {"id": state.run, "name": state.name}
    return graph.outputs.render({"tasks": tasks, "inputs": state.inputs, "run": run})


def _enclosing_tasks(state: RunState, task: int) -> Iterator[int]:
    """The task, and the tasks that it is an item or an iteration of, the nearest first."""
    current: int | None = task
    while current is not None:
        yield current
        current = state.graph.owner_of(current)


def _add_task_names(state: RunState, names: dict[str, JSONValue], index: int) -> None:
    """Add what a task contributes: its item, its iteration, its tool arguments, its signal."""
    flow, owner = state.flow, state.graph.owner_of(index)
    assert flow is not None
    if index in flow.received:
        names.setdefault("signal", flow.received[index])
    if owner is None:
        return
    call_arguments = tool_arguments(state, index)
    if call_arguments is not None:
        names.setdefault("arguments", call_arguments)
    compensated_task = state.graph.nodes[index].compensates
    tasks = names["tasks"]
    if compensated_task is not None and isinstance(tasks, dict):
        # The compensation of an item sees the item's result in place of the whole task's.
        tasks[state.graph.keys[state.graph.origin_of(index)]] = _task_view(state, compensated_task)
    mapping, loop = flow.each.get(owner), flow.rounds.get(owner)
    if mapping is not None:
        names.setdefault("index", index - mapping.first)
        names.setdefault("item", mapping.items[index - mapping.first])
    elif loop is not None and index in loop.members[-2:]:
        iteration = len(loop.members) - (index != loop.members[-1])
        names.setdefault("round", iteration)
        previous_member = loop.members[iteration - 2] if iteration > 1 else None
        names.setdefault(
            "previous", None if previous_member is None else state.results.get(previous_member)
        )


def _task_view(state: RunState, index: int) -> JSONObject:
    """What ``tasks.NAME`` gives: result, status, error, and errors by item."""
    fault = state.faults.get(index)
    view: JSONObject = {
        "result": state.results.get(index),
        "status": str(state.state[index]),
        "error": None if fault is None else fault.message,
    }
    mapping = None if state.flow is None else state.flow.each.get(index)
    if mapping is not None:
        members = range(mapping.first, mapping.first + len(mapping.items))
        view["errors"] = {
            str(member - mapping.first): state.faults[member].message
            for member in members
            if member in state.faults
        }
    return view
