"""Fills the inputs of a run into the texts of its agents, once, before the run starts.

The run is pinned to the resulting workflow. The user who passes inputs may not be the author of the
workflow: an input must not introduce a reference to a secret, except that a secret input may be
used under ``authentication``, where it must be a reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from agenthive.authoring.checks import secret_references
from agenthive.authoring.dialect.dialect import AUTHENTICATION
from agenthive.authoring.readers.nodes import NOWHERE
from agenthive.authoring.readers.problems import Problems
from agenthive.core.expressions.template import Template
from agenthive.core.model.workflow import AgentSpec, WorkflowSpec
from agenthive.core.values import JSONObject, JSONValue
from agenthive.errors import ExpressionError

_SECRET_KEYS = tuple(field.key for field in AUTHENTICATION.fields if field.secret)


def bind_inputs(spec: WorkflowSpec, inputs: Mapping[str, JSONValue]) -> WorkflowSpec:
    """Replace ``{{ inputs.NAME }}`` in the texts of the agents of a workflow.

    ``inputs`` come from `check_inputs`. Returns the same object if the agents read no inputs.
    Raises ConfigurationError.
    """
    secrets = [
        inputs.get(name) for name, declared in spec.inputs.items() if declared.type == "secret"
    ]
    binder = _Binder(inputs, _reference_targets(secrets))
    agents = tuple(binder.bind_agent(agent) for agent in spec.agents)
    if all(new is old for new, old in zip(agents, spec.agents, strict=True)):
        return spec
    return msgspec.structs.replace(spec, agents=agents)


def agents_of(spec: WorkflowSpec) -> Iterator[AgentSpec]:
    """Yield the agents of a workflow, and those of its sub-workflows with a constant endpoint."""
    yield from spec.agents
    for child in embedded_workflows(spec):
        for agent in child.agents:
            if Template.compile(agent.endpoint, {"inputs"}).constant:
                yield agent


def embedded_workflows(spec: WorkflowSpec) -> Iterator[WorkflowSpec]:
    """Yield the sub-workflows of a workflow, on all levels, each once."""
    seen_ids: set[int] = set()
    pending = [spec]
    while pending:
        for task in pending.pop().tasks:
            if task.workflow is not None and id(task.workflow) not in seen_ids:
                seen_ids.add(id(task.workflow))
                pending.append(task.workflow)
                yield task.workflow


def _reference_targets(value: JSONValue) -> set[tuple[str, str]]:
    return {
        (reference.kind, reference.target)
        for reference in secret_references.find_references(value, "")
    }


class _Binder:
    def __init__(self, inputs: Mapping[str, JSONValue], secrets: set[tuple[str, str]]) -> None:
        self._scope: JSONObject = {"inputs": dict(inputs)}
        self._secrets = secrets

    def bind_agent(self, agent: AgentSpec) -> AgentSpec:
        """Fill in the inputs of an agent; return the same object if it reads none."""
        problems = Problems(f"agent {agent.name!r}")
        changed: JSONObject = {}
        for key in ("endpoint", "custom_params", "authentication"):
            before: JSONValue = getattr(agent, key)
            try:
                template = Template.compile(before, {"inputs"})
                if not template.constant:
                    changed[key] = template.render(self._scope)
                    self._check_value(key, before, changed[key], problems)
            except ExpressionError as fault:
                problems.add(NOWHERE, key, fault.message)
        problems.raise_if_any()
        return msgspec.structs.replace(agent, **changed) if changed else agent

    def _check_value(
        self, key: str, before: JSONValue, after: JSONValue, problems: Problems
    ) -> None:
        allowed = _reference_targets(before)
        if key == "authentication":
            allowed |= self._secrets
            self._check_authentication(after, problems)
        if _reference_targets(after) - allowed:
            message = "an input must not contain a reference to a secret here"
            problems.add(NOWHERE, key, message)
        if key == "endpoint" and not (isinstance(after, str) and after):
            problems.add(NOWHERE, key, "must be text, and not empty, with its inputs")

    def _check_authentication(self, after: JSONValue, problems: Problems) -> None:
        assert isinstance(after, dict)
        for key, value in after.items():
            path = f"authentication.{key}"
            if not isinstance(value, str):
                problems.add(NOWHERE, path, "must be text, with its inputs filled in")
            elif key in _SECRET_KEYS and secret_references.is_literal(value):
                message = "reads an input that is not secret; declare the input with type: secret"
                problems.add(NOWHERE, path, message)
