"""Results that a workflow reads and nobody has given an example of.

Nothing in a simulation depends on what a call is given: parameters, messages and payloads that
cannot be worked out are left out and told of, rather than fail a run for want of an example. What
decides where a run goes (conditions, times, items, ends of rounds, inputs of sub-workflows) cannot
be left out: there the example is asked for, and nothing is simulated without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from agenthive.core.expressions.template import Expression, Template
from agenthive.core.graph.graph import UNDO, Graph, Node
from agenthive.core.graph.nodes import Step
from agenthive.core.model.workflow import TaskSpec, WorkflowSpec
from agenthive.core.values import JSONObject, JSONValue
from agenthive.errors import ConfigurationError, ExpressionError
from agenthive.simulation.world import Part


def readable(
    spec: WorkflowSpec, inputs: JSONObject, parts: Mapping[str, Part]
) -> tuple[WorkflowSpec, list[str]]:
    """The workflow without what cannot be worked out, and what to say of that.

    Raises ConfigurationError if a decision needs an example that is not there.
    """
    reader = _Reader(parts)
    played = reader.workflow(spec, inputs, "")
    if reader.needed:
        raise ConfigurationError(
            "\n".join(reader.needed),
            hint="Give examples with --answers FILE (task: {result: ...}), or learn them: --fit.",
            problems=tuple(reader.needed),
        )
    return played, reader.notes


class _Reader:
    def __init__(self, parts: Mapping[str, Part]) -> None:
        self._parts = parts
        self.notes: list[str] = []
        self.needed: list[str] = []

    def workflow(self, spec: WorkflowSpec, inputs: JSONObject | None, above: str) -> WorkflowSpec:
        """``inputs`` are None where they are not known before the run."""
        graph = Graph(spec)
        tasks = []
        for task, node in zip(spec.tasks, graph.nodes[: graph.tasks], strict=True):
            self._decisions(graph, node, above)
            task = self._task(graph, task, node, inputs, above)
            if task.workflow is not None:
                inner = self.workflow(task.workflow, None, f"{above}{task.name}/")
                task = msgspec.structs.replace(task, workflow=inner)
            tasks.append(task)
        same = all(new is old for new, old in zip(tasks, spec.tasks, strict=True))
        return spec if same else msgspec.structs.replace(spec, tasks=tuple(tasks))

    def _decisions(self, graph: Graph, node: Node, above: str) -> None:
        for what, part in _deciding(node):
            lacking = self._lacking(graph, part.task_names, above)
            reads = _texts(part)
            if "result" in reads.replace(".result", "") and what == "the end of its rounds":
                lacking += [] if self._parts[above + node.key].example else [above + node.key]
            if lacking and "result" in reads:
                self.needed.append(
                    f"give an example result of {', '.join(lacking)}: without it nobody can tell "
                    f"{what} of {above}{node.key}"
                )

    def _task(
        self, graph: Graph, task: TaskSpec, node: Node, inputs: JSONObject | None, above: str
    ) -> TaskSpec:
        if self._unreadable(graph, node.parameters, node, inputs, above):
            task = msgspec.structs.replace(task, parameters={})
        around = node.around
        if task.approval is not None and around is not None:
            for name in ("message", "payload"):
                part = getattr(around, name)
                if part is not None and self._unreadable(graph, part, node, inputs, above):
                    asked = msgspec.structs.replace(task.approval, **{name: _NOTHING[name]})
                    task = msgspec.structs.replace(task, approval=asked)
        undo = next((one for one in node.patterns() if one.key.endswith(UNDO)), None)
        if (
            undo is not None
            and task.compensate is not None
            and self._unreadable(graph, undo.parameters, undo, inputs, above)
        ):
            bare = msgspec.structs.replace(task.compensate, parameters={})
            task = msgspec.structs.replace(task, compensate=bare)
        return task

    def _unreadable(
        self, graph: Graph, part: Template, node: Node, inputs: JSONObject | None, above: str
    ) -> bool:
        lacking = self._lacking(graph, part.task_names, above)
        if not lacking or Step.CHILD in node.steps:
            return False
        if inputs is not None and self._renders(graph, part, inputs, above):
            return False
        key = above + node.key
        self.notes.append(
            f"give an example result of {', '.join(lacking)}: the parameters of {key} read it, "
            "and are left out"
        )
        return True

    def _renders(self, graph: Graph, part: Template, inputs: JSONObject, above: str) -> bool:
        views: JSONObject = {
            name: {"result": self._result(graph, name, above), "status": "succeeded", "error": None}
            for name in part.task_names
        }
        run: JSONObject = {"id": "simulated", "name": "simulated"}
        try:
            part.render({"tasks": views, "inputs": inputs, "run": run})
        except ExpressionError:
            return False
        return True

    def _result(self, graph: Graph, name: str, above: str) -> JSONValue:
        result = self._parts[above + name].result
        steps = graph.nodes[graph.index[name]].steps
        return [result] if Step.EACH in steps else result

    def _lacking(self, graph: Graph, names: frozenset[str], above: str) -> list[str]:
        """Of which tasks an example is missing, to know the results of these."""
        found: list[str] = []
        for name in sorted(names):
            node = graph.nodes[graph.index[name]]
            child = node.around.workflow if node.around is not None else None
            if child is not None:
                inner = Graph(child)
                ends = frozenset(inner.keys[task] for task in inner.result_reads)
                found += self._lacking(inner, ends, f"{above}{name}/")
            elif not self._parts[above + name].example and _gives(node):
                found.append(above + name)
        return found


_NOTHING: dict[str, JSONValue] = {"message": "", "payload": None}


def _gives(node: Node) -> bool:
    """Whether an agent or a signal makes its result; else the core does."""
    return bool(node.agent.name) or Step.SIGNAL in node.steps


def _deciding(node: Node) -> Iterator[tuple[str, Expression | Template]]:
    """What of a task decides where the run goes."""
    around = node.around
    if around is None:
        return
    child = node.parameters if around.workflow is not None else None
    for what, part in (
        ("the condition", around.when),
        ("the delay", around.delay),
        ("the time", around.until),
        ("the items", around.items),
        ("the end of its rounds", around.round_end),
        ("the inputs", child),
    ):
        if part is not None:
            yield what, part


def _texts(part: Expression | Template) -> str:
    """The text of all its expressions, and of what is around them."""
    return part.text if isinstance(part, Expression) else str(part.value)
