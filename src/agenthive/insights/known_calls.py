"""A call of a workflow as far as it is known before the run, for questions about its cost.

Expressions that need only the inputs are evaluated. A parameter that is an expression of anything
else is left out, because not even its type is known; within longer values expressions stay texts.
Never calls an agent.
"""

from __future__ import annotations

from typing import Final

from agenthive.core.expressions.template import Template
from agenthive.core.graph.nodes import Node
from agenthive.core.model.calls import Call
from agenthive.core.values import JSONObject, JSONValue
from agenthive.errors import ExpressionError

RUN_ID: Final = "0" * 36
"""A run id of the usual length, for templates that contain it."""
_DECISIVE: Final = frozenset({"model", "max_tokens", "max_completion_tokens", "max_output_tokens"})
"""Parameters without which nothing can be said about the cost of a call."""


def build_known_call(node: Node, inputs: JSONObject, workflow: str) -> Call | None:
    """The call of a node with these inputs; None if a decisive part of it is not known."""
    known = {}
    for name, value in render_known(node.parameters, inputs, workflow).items():
        if not isinstance(value, str) or "{{" not in value:
            known[name] = value
        elif name in _DECISIVE:
            return None
    return Call(
        run=RUN_ID,
        task=node.key,
        attempt=1,
        key="",
        agent=node.agent.name,
        action=node.action,
        parameters=known,
        description=node.description,
        output_schema=node.schema,
        tools=node.offers,
    )


def render_known(template: Template, inputs: JSONObject, workflow: str) -> JSONObject:
    """Parameters, or inputs of a sub-workflow; what is not known keeps its expressions."""
    value = template.value
    assert isinstance(value, dict)
    if template.constant:
        return value
    scope: JSONObject = {"inputs": inputs, "run": {"id": RUN_ID, "name": workflow}}
    return {name: _render_value(part, scope) for name, part in value.items()}


def _render_value(value: JSONValue, scope: JSONObject) -> JSONValue:
    try:
        return Template.compile(value).render(scope)
    except (ExpressionError, KeyError):
        return value
