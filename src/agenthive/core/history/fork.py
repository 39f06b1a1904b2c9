"""Doing a run again from one task on: what is taken over, and what would act once more.

The new run has the results of everything that has succeeded and does not depend on that task. Pure;
the fork itself is an ordinary submission whose fact names what it takes over.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from agenthive.core.graph.graph import Graph
from agenthive.core.history.blobs import Contents
from agenthive.core.history.migration import differences
from agenthive.core.history.replay import history, split_key
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Record
from agenthive.core.machine.machine import step
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.states import TaskState
from agenthive.core.model.workflow import Effect, TaskSpec
from agenthive.errors import NotFound


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """``again`` are the tasks that may have acted already, must act once, and would act again."""

    fork: ev.Fork
    again: list[str]


def plan(old: Graph, new: Graph, records: Sequence[Record], contents: Contents, task: str) -> Plan:
    """What a fork of the run with these records would be. Raises NotFound."""
    if task not in new.index or new.index[task] >= new.tasks:
        raise NotFound(f"there is no task '{task}'", hint=f"There are: {_some(new)}")
    state, begun = RunState(old), set()
    state.keep = True
    for _, event in history(records, contents):
        step(state, event)
        if isinstance(event, ev.TaskStarted | ev.ChildOpened):
            begun.add(split_key(event.task)[0])
    taken = {key: state.results.get(state.graph.index[key]) for key in _kept(old, new, state, task)}
    again = [spec.name for spec in old.spec.tasks if spec.name in begun - taken.keys()]
    named = {spec.name: spec for spec in old.spec.tasks}
    fork = ev.Fork(
        run=state.run,
        task=task,
        taken=[ev.Taken(task=key, result=result) for key, result in taken.items()],
    )
    return Plan(fork=fork, again=[name for name in again if _acts_once(named[name])])


def _kept(old: Graph, new: Graph, state: RunState, task: str) -> list[str]:
    """The tasks that are done, mean the same, and follow nothing that is done anew."""
    before = {spec.name: spec for spec in old.spec.tasks}
    same = {
        spec.name
        for spec in new.spec.tasks
        if spec.name in before and not differences(before[spec.name], spec, {})
    }
    left = [i for i, name in enumerate(new.keys[: new.tasks]) if name == task or name not in same]
    anew: set[int] = set()
    while left:
        index = left.pop()
        if index not in anew:
            anew.add(index)
            left += new.dependents[index]
    return [
        name
        for i, name in enumerate(new.keys[: new.tasks])
        if i not in anew and state.state[old.index[name]] is TaskState.SUCCEEDED
    ]


def _acts_once(task: TaskSpec) -> bool:
    inner = () if task.workflow is None else task.workflow.tasks
    return task.effect is Effect.ONCE or any(_acts_once(one) for one in inner)


def _some(graph: Graph) -> str:
    names = graph.keys[: graph.tasks]
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
