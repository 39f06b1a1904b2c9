"""Results that a workflow reads and that have no example.

A simulation does not depend on what a call receives: parameters, messages and payloads that cannot
be evaluated are removed, with a note, because a missing example must not fail a run. Expressions
that decide how a run proceeds (conditions, times, items, ends of iterations, inputs of
sub-workflows) cannot be removed: for them an example is required, and nothing is simulated without
it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from agenthive.core.expressions.template import Expression, Template
from agenthive.core.graph.graph import COMPENSATION_SUFFIX, Graph, Node
from agenthive.core.graph.nodes import Step
from agenthive.core.model.workflow import TaskSpec, WorkflowSpec
from agenthive.core.values import JSONObject, JSONValue
from agenthive.errors import ConfigurationError, ExpressionError
from agenthive.simulation.world import TaskScript


def strip_unknown_parameters(
    spec: WorkflowSpec, inputs: JSONObject, scripts: Mapping[str, TaskScript]
) -> tuple[WorkflowSpec, list[str]]:
    """The workflow without the parameters that cannot be evaluated, and notes about them.

    Raises ConfigurationError if a decision needs an example that is missing.
    """
    stripper = _ParameterStripper(scripts)
    playable = stripper.strip_workflow(spec, inputs, "")
    if stripper.required:
        raise ConfigurationError(
            "\n".join(stripper.required),
            hint="Give examples with --answers FILE (task: {result: ...}), or learn them: --fit.",
            problems=tuple(stripper.required),
        )
    return playable, stripper.notes


class _ParameterStripper:
    def __init__(self, scripts: Mapping[str, TaskScript]) -> None:
        self._scripts = scripts
        self.notes: list[str] = []
        self.required: list[str] = []

    def strip_workflow(
        self, spec: WorkflowSpec, inputs: JSONObject | None, prefix: str
    ) -> WorkflowSpec:
        """Strip one workflow; ``inputs`` is None where they are known only during the run."""
        graph = Graph(spec)
        tasks = []
        for task, node in zip(spec.tasks, graph.nodes[: graph.tasks], strict=True):
            self._check_decisions(graph, node, prefix)
            task = self._strip_task(graph, task, node, inputs, prefix)
            if task.workflow is not None:
                inner = self.strip_workflow(task.workflow, None, f"{prefix}{task.name}/")
                task = msgspec.structs.replace(task, workflow=inner)
            tasks.append(task)
        unchanged = all(new is old for new, old in zip(tasks, spec.tasks, strict=True))
        return spec if unchanged else msgspec.structs.replace(spec, tasks=tuple(tasks))

    def _check_decisions(self, graph: Graph, node: Node, prefix: str) -> None:
        for subject, part in _decision_parts(node):
            missing = self._find_missing(graph, part.task_names, prefix)
            text = _expression_text(part)
            if "result" in text.replace(".result", "") and subject == "the end of its iterations":
                missing += [] if self._scripts[prefix + node.key].example else [prefix + node.key]
            if missing and "result" in text:
                self.required.append(
                    f"give an example result of {', '.join(missing)}: it is needed for "
                    f"{subject} of {prefix}{node.key}"
                )

    def _strip_task(
        self, graph: Graph, task: TaskSpec, node: Node, inputs: JSONObject | None, prefix: str
    ) -> TaskSpec:
        if self._note_unreadable(graph, node.parameters, node, inputs, prefix):
            task = msgspec.structs.replace(task, parameters={})
        control = node.control_flow
        if task.approval is not None and control is not None:
            for name in ("message", "payload"):
                part = getattr(control, name)
                if part is not None and self._note_unreadable(graph, part, node, inputs, prefix):
                    approval = msgspec.structs.replace(task.approval, **{name: _EMPTY_PARTS[name]})
                    task = msgspec.structs.replace(task, approval=approval)
        compensation = next(
            (
                pattern
                for pattern in node.iter_patterns()
                if pattern.key.endswith(COMPENSATION_SUFFIX)
            ),
            None,
        )
        if (
            compensation is not None
            and task.compensate is not None
            and self._note_unreadable(graph, compensation.parameters, compensation, inputs, prefix)
        ):
            bare = msgspec.structs.replace(task.compensate, parameters={})
            task = msgspec.structs.replace(task, compensate=bare)
        return task

    def _note_unreadable(
        self, graph: Graph, part: Template, node: Node, inputs: JSONObject | None, prefix: str
    ) -> bool:
        missing = self._find_missing(graph, part.task_names, prefix)
        if not missing or Step.CHILD in node.steps:
            return False
        if inputs is not None and self._can_render(graph, part, inputs, prefix):
            return False
        key = prefix + node.key
        self.notes.append(
            f"give an example result of {', '.join(missing)}: the parameters of {key} read it "
            "and are omitted"
        )
        return True

    def _can_render(self, graph: Graph, part: Template, inputs: JSONObject, prefix: str) -> bool:
        views: JSONObject = {
            name: {
                "result": self._example_result(graph, name, prefix),
                "status": "succeeded",
                "error": None,
            }
            for name in part.task_names
        }
        run: JSONObject = {"id": "simulated", "name": "simulated"}
        try:
            part.render({"tasks": views, "inputs": inputs, "run": run})
        except ExpressionError:
            return False
        return True

    def _example_result(self, graph: Graph, name: str, prefix: str) -> JSONValue:
        result = self._scripts[prefix + name].result
        steps = graph.nodes[graph.index[name]].steps
        return [result] if Step.EACH in steps else result

    def _find_missing(self, graph: Graph, names: frozenset[str], prefix: str) -> list[str]:
        """The tasks that need an example before these results are known."""
        missing: list[str] = []
        for name in sorted(names):
            node = graph.nodes[graph.index[name]]
            child = node.control_flow.workflow if node.control_flow is not None else None
            if child is not None:
                inner = Graph(child)
                result_tasks = frozenset(inner.keys[task] for task in inner.result_reads)
                missing += self._find_missing(inner, result_tasks, f"{prefix}{name}/")
            elif not self._scripts[prefix + name].example and _produces_result(node):
                missing.append(prefix + name)
        return missing


_EMPTY_PARTS: dict[str, JSONValue] = {"message": "", "payload": None}


def _produces_result(node: Node) -> bool:
    """Whether an agent or a signal produces its result; otherwise the core computes it."""
    return bool(node.agent.name) or Step.SIGNAL in node.steps


def _decision_parts(node: Node) -> Iterator[tuple[str, Expression | Template]]:
    """The expressions of a task that decide how the run proceeds, each with its description."""
    control = node.control_flow
    if control is None:
        return
    child = node.parameters if control.workflow is not None else None
    for subject, part in (
        ("the condition", control.when),
        ("the delay", control.delay),
        ("the time", control.until),
        ("the items", control.items),
        ("the end of its iterations", control.round_end),
        ("the inputs", child),
    ):
        if part is not None:
            yield subject, part


def _expression_text(part: Expression | Template) -> str:
    """The text of all expressions, including the text around them."""
    return part.text if isinstance(part, Expression) else str(part.value)
