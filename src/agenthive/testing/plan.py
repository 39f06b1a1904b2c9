"""What is rehearsed: the workflow, its inputs, how each call is played, what goes wrong.

A parameter that reads a result of which there is no example cannot be worked out. Nothing in a
simulation depends on what a call is given, so such parameters are left out and told of, rather
than fail a run for want of an example. Inputs are checked as for a real run; secrets are not looked
for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from agenthive import authoring
from agenthive.core import definition
from agenthive.core.driver import Driver
from agenthive.core.graph import UNDO, Graph, Node
from agenthive.core.spec import TaskSpec, WorkflowSpec
from agenthive.core.values import JSONObject, JSONValue
from agenthive.errors import ExpressionError
from agenthive.insights.fit import Fit
from agenthive.testing.evidence import CheckedDriver
from agenthive.testing.examples import read_examples
from agenthive.testing.trouble import Trouble, parse
from agenthive.testing.world import Part, parts_of


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All that a seed needs to become a run.

    ``graphs`` is the one graph, by the digest of its definition. ``notes`` say what is not known of
    the workflow.
    """

    spec: WorkflowSpec
    graph: Graph
    inputs: JSONObject
    parts: dict[str, Part]
    trouble: Trouble
    notes: list[str]
    graphs: dict[str, Graph]
    make_driver: Callable[[], Driver] = CheckedDriver


def read_workflow(workflow: WorkflowSpec | str | Path) -> WorkflowSpec:
    """The workflow, read from its file if need be; secrets in it are replaced, never kept."""
    if isinstance(workflow, WorkflowSpec):
        return workflow
    return authoring.load(workflow, keep_secret=authoring.placeholder).spec


def make_plan(
    spec: WorkflowSpec,
    *,
    inputs: Mapping[str, Any] | None = None,
    faults: str | Trouble = "some",
    answers: Mapping[str, Any] | None = None,
    fit: Fit | None = None,
    make_driver: Callable[[], Driver] = CheckedDriver,
) -> Plan:
    """Raises ConfigurationError if the inputs, the faults or the answers cannot be used."""
    given = authoring.check_inputs(spec, inputs or {}, keep_secret=authoring.placeholder)
    bound = authoring.bind_inputs(spec, given)
    graph = Graph(bound)
    parts = parts_of(graph, fit, read_examples(answers or {}, graph.keys))
    unread = _unreadable(graph, given, parts)
    played = _without(bound, unread)
    graph = Graph(played) if unread else graph
    return Plan(
        spec=played,
        graph=graph,
        graphs={definition.digest(definition.encode(played)): graph},
        inputs=given,
        parts=parts,
        trouble=parse(faults) if isinstance(faults, str) else faults,
        notes=[*_unfounded(parts, fit), *_wanted(unread, parts)],
        make_driver=make_driver,
    )


def _unreadable(graph: Graph, inputs: JSONObject, parts: dict[str, Part]) -> dict[str, list[str]]:
    """Tasks whose parameters cannot be worked out -> those of which an example is missing."""
    found: dict[str, list[str]] = {}
    for node in graph.nodes:
        lacking = [name for name in sorted(node.parameters.task_names) if not parts[name].example]
        if lacking and not _renders(node, inputs, parts):
            found[node.key] = lacking
    return found


def _renders(node: Node, inputs: JSONObject, parts: dict[str, Part]) -> bool:
    views: JSONObject = {
        name: {"result": parts[name].result, "status": "succeeded", "error": None}
        for name in node.parameters.task_names
    }
    run: JSONObject = {"id": "simulated", "name": "simulated"}
    scope: dict[str, JSONValue] = {"tasks": views, "inputs": inputs, "run": run}
    try:
        node.parameters.render(scope)
    except ExpressionError:
        return False
    return True


def _without(spec: WorkflowSpec, unread: Mapping[str, Any]) -> WorkflowSpec:
    """The workflow without those parameters."""
    if not unread:
        return spec
    tasks = tuple(_bare(task, unread) for task in spec.tasks)
    return msgspec.structs.replace(spec, tasks=tasks)


def _bare(task: TaskSpec, unread: Mapping[str, Any]) -> TaskSpec:
    if task.name in unread:
        task = msgspec.structs.replace(task, parameters={})
    if task.compensate is not None and task.name + UNDO in unread:
        undo = msgspec.structs.replace(task.compensate, parameters={})
        task = msgspec.structs.replace(task, compensate=undo)
    return task


def _unfounded(parts: Mapping[str, Part], fit: Fit | None) -> list[str]:
    """What to say of tasks whose times are guessed."""
    guessed = [key for key, part in parts.items() if part.source.startswith("a guess")]
    if not guessed:
        return []
    where = "in the journal" if fit is not None else "declared (estimated_duration)"
    return [f"no time is {where} for {', '.join(guessed)}: guessed by kind of agent"]


def _wanted(unread: Mapping[str, list[str]], parts: Mapping[str, Part]) -> list[str]:
    """What to say of parameters that could not be worked out."""
    return [
        f"give an example result of {', '.join(lacking)}: the parameters of {key} read it, and are "
        "left out"
        for key, lacking in unread.items()
    ]
