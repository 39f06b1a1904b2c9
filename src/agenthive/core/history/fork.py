"""Plans a fork: a new run that re-runs one task of an old run, and everything that depends on it.

The new run inherits the results of all other tasks that have succeeded and are unchanged. The fork
is submitted like any other run; its submission event names the old run and the inherited results.
Never submits anything: `build_plan` only says what a fork would inherit and repeat.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from agenthive.core.graph.graph import Graph
from agenthive.core.history.blobs import Contents
from agenthive.core.history.migration import list_differences
from agenthive.core.history.replay import decode_history, new_state, split_key
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Record
from agenthive.core.machine.machine import step
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.states import TaskState
from agenthive.core.model.workflow import Effect, TaskSpec
from agenthive.errors import NotFound


class ForkPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a fork would inherit and repeat."""

    #: The old run and the inherited results, for the submission of the new run.
    fork: ev.Fork
    #: Tasks with ``effect: once`` that have started in the old run and would act a second time.
    again: list[str]


def build_plan(
    old: Graph, new: Graph, records: Sequence[Record], contents: Contents, task: str
) -> ForkPlan:
    """The plan of a fork from ``task`` on, under the workflow ``new``.

    ``old`` and ``records`` are of the run that is forked, ``contents`` the blobs that its records
    refer to. Raises NotFound if the workflow has no such task.
    """
    if task not in new.index or new.index[task] >= new.tasks:
        hint = f"The tasks of the workflow are: {_format_task_names(new)}"
        raise NotFound(f"the workflow '{new.spec.name}' has no task '{task}'", hint=hint)
    state, started = new_state(old, records), set()
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
    """The tasks that succeeded, are unchanged, and depend on no task that is run again."""
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
    """Whether a task, or a task of its sub-workflow, has ``effect: once``."""
    inner_tasks = () if task.workflow is None else task.workflow.tasks
    return task.effect is Effect.ONCE or any(_acts_once(inner_task) for inner_task in inner_tasks)


def _format_task_names(graph: Graph) -> str:
    names = graph.keys[: graph.tasks]
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
