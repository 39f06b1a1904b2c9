"""Doing a run again from one task on: what is taken over, and what would act once more.

The new run has the results of everything that has succeeded and does not depend on that task. Pure;
the fork itself is an ordinary submission whose fact names what it takes over.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from agenthive.core.graph.graph import Graph
from agenthive.core.history.blobs import Contents
from agenthive.core.history.migration import list_differences
from agenthive.core.history.replay import decode_history, split_key
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Record
from agenthive.core.machine.machine import step
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.states import TaskState
from agenthive.core.model.workflow import Effect, TaskSpec
from agenthive.errors import NotFound


class ForkPlan(msgspec.Struct, frozen=True, kw_only=True):
    """``again`` are the tasks that may have acted already, must act once, and would act again."""

    fork: ev.Fork
    again: list[str]


def build_plan(
    old: Graph, new: Graph, records: Sequence[Record], contents: Contents, task: str
) -> ForkPlan:
    """What a fork of the run with these records would be. Raises NotFound."""
    if task not in new.index or new.index[task] >= new.tasks:
        raise NotFound(f"there is no task '{task}'", hint=f"There are: {_format_task_names(new)}")
    state, started = RunState(old), set()
    state.keep = True
    for _, event in decode_history(records, contents):
        step(state, event)
        if isinstance(event, ev.TaskStarted | ev.ChildOpened):
            started.add(split_key(event.task)[0])
    kept_results = {
        key: state.results.get(state.graph.index[key])
        for key in _list_kept_tasks(old, new, state, task)
    }
    repeated = [spec.name for spec in old.spec.tasks if spec.name in started - kept_results.keys()]
    specs = {spec.name: spec for spec in old.spec.tasks}
    fork = ev.Fork(
        run=state.run,
        task=task,
        taken=[ev.InheritedResult(task=key, result=result) for key, result in kept_results.items()],
    )
    return ForkPlan(fork=fork, again=[name for name in repeated if _acts_once(specs[name])])


def _list_kept_tasks(old: Graph, new: Graph, state: RunState, task: str) -> list[str]:
    """The tasks that are done, mean the same, and follow nothing that is done anew."""
    old_specs = {spec.name: spec for spec in old.spec.tasks}
    unchanged = {
        spec.name
        for spec in new.spec.tasks
        if spec.name in old_specs and not list_differences(old_specs[spec.name], spec, {})
    }
    pending = [
        i for i, name in enumerate(new.keys[: new.tasks]) if name == task or name not in unchanged
    ]
    repeated: set[int] = set()
    while pending:
        index = pending.pop()
        if index not in repeated:
            repeated.add(index)
            pending += new.dependents[index]
    return [
        name
        for i, name in enumerate(new.keys[: new.tasks])
        if i not in repeated and state.state[old.index[name]] is TaskState.SUCCEEDED
    ]


def _acts_once(task: TaskSpec) -> bool:
    inner_tasks = () if task.workflow is None else task.workflow.tasks
    return task.effect is Effect.ONCE or any(_acts_once(inner_task) for inner_task in inner_tasks)


def _format_task_names(graph: Graph) -> str:
    names = graph.keys[: graph.tasks]
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
