"""Tools and fallbacks in files: what is accepted, what it means, what everything else is told."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from agenthive import authoring
from agenthive.authoring import loads
from agenthive.authoring.dialect.json_schema import build_schema
from agenthive.authoring.readers.problems import Problems
from agenthive.authoring.readers.size_limits import OPERATOR
from agenthive.authoring.readers.sources import read_text
from agenthive.core.model.control_flow import ApprovalSpec, ReconcileSpec
from agenthive.core.model.workflow import Effect, FallbackSpec, TaskSpec, ToolSpec
from agenthive.core.policies.retry import RetryPolicy
from agenthive.errors import ConfigurationError

VALIDATOR = jsonschema.Draft202012Validator(build_schema())
HEAD = """\
agenthive: 1
name: w
inputs: {topic: x}
agents:
  - {name: a, type: ai_agent, endpoint: "https://x.example"}
  - {name: b, type: custom, endpoint: "custom://b"}
  - {name: web, type: http_api, endpoint: "https://y.example"}
tasks:
"""
TOOL = "{name: look, agent: b}"


def text(rest: str, agent: str = "a") -> str:
    return HEAD + f"  - {{name: t, agent: {agent}, action: go, {rest}}}\n"


def task(rest: str) -> TaskSpec:
    return loads(text(rest)).spec.tasks[0]


GOOD = {
    "a tool": f"tools: [{TOOL}]",
    "two tools": f"tools: [{TOOL}, {{name: pay_2, agent_name: web, action: fetch}}], max_turns: 3",
    "in full": (
        "tools: [{name: look, agent: b, action: see, description: Look., input_schema: {type: "
        "object}, parameters: {x: '{{ arguments.x }}', y: '{{ inputs.topic }}'}, effect: once, "
        "timeout: 5, retry_config: {max_attempts: 1}, approval: {approvers: [ann], message: "
        "'{{ arguments }}?'}, reconcile: {action: was, parameters: {x: '{{ arguments.x }}'}}, "
        "max_cost: 0.5, repeats: 2, max_result: 100}]"
    ),
    "for each item": f"for_each: [1], tools: [{TOOL}]",
    "fallback by name": "fallback: [b]",
    "fallback in full": "fallback: [{agent: b, model: m}, web]",
    "nobody": "fallback: [], tools: []",
}


@pytest.mark.parametrize("name", GOOD)
def test_accepted(name: str) -> None:
    loaded = loads(text(GOOD[name]), "f.yaml")
    assert authoring.parse_spec(authoring.dump(loaded.spec)) == loaded.spec
    VALIDATOR.validate(read_text(text(GOOD[name]), "yaml", OPERATOR, Problems("x")).to_plain())


BAD: dict[str, tuple[str, str]] = {
    "twice": (f"tools: [{TOOL}, {TOOL}]", "there is already a tool named 'look'"),
    "a strange name": ("tools: [{name: look up, agent: b}]", "1 to 64 letters, digits, _ and -"),
    "nobody does it": ("tools: [{name: look}]", "the key 'agent_name' is required"),
    "who is that": ("tools: [{name: look, agent: c}]", "references undefined agent 'c'"),
    "no such key": ("tools: [{name: look, agent: b, args: {}}]", "unknown key 'args' in tool"),
    "a name elsewhere": (
        "parameters: {x: '{{ arguments.x }}'}, tools: [{name: look, agent: b}]",
        "unknown name 'arguments'",
    ),
    "no schema": ("tools: [{name: look, agent: b, input_schema: {type: wrong}}]", "input_schema"),
    "told of twice": (
        f"parameters: {{tools: []}}, tools: [{TOOL}]",
        "the parameter 'tools' exclude each other",
    ),
    "from the cache": (f"effect: none, cache: true, tools: [{TOOL}]", "would skip the tool calls"),
    "turns of nothing": ("max_turns: 3", "has no effect without tools"),
    "no turn": (f"tools: [{TOOL}], max_turns: 0", "must be at least 1"),
    "nobody goes on": ("fallback: [c]", "references undefined agent 'c'"),
    "a strange agent": ("fallback: [7]", "must be text"),
    "too many": (
        f"tools: [{', '.join(f'{{name: t{i}, agent: b}}' for i in range(129))}]",
        "tools: can have at most 128 entries",
    ),
    "too many others": (
        f"fallback: [{', '.join(['b'] * 129)}]",
        "fallback: can have at most 128 entries",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_refused_with_a_reason(name: str) -> None:
    rest, why = BAD[name]
    with pytest.raises(ConfigurationError) as caught:
        loads(text(rest), "f.yaml")
    assert any(why in line for line in caught.value.problems) or why in str(caught.value)


def test_only_models_ask_for_tools() -> None:
    with pytest.raises(ConfigurationError, match="agent 'web' is of type http_api"):
        loads(text(f"tools: [{TOOL}]", agent="web"))


def test_a_workflow_has_none_of_its_own() -> None:
    child = "workflow: {tasks: [{name: x, agent: a, action: go}]}"
    with pytest.raises(ConfigurationError, match="tools does not apply to a task with workflow"):
        loads(HEAD + f"  - {{name: t, {child}, tools: [{TOOL}]}}\n")


def test_what_the_words_mean() -> None:
    assert task(GOOD["a tool"]).tools == (ToolSpec(name="look", agent="b", action="look"),)
    assert task(GOOD["a tool"]).max_turns == 10
    found = task(GOOD["in full"]).tools[0]
    assert found == ToolSpec(
        name="look",
        agent="b",
        action="see",
        description="Look.",
        input_schema={"type": "object"},
        parameters={"x": "{{ arguments.x }}", "y": "{{ inputs.topic }}"},
        effect=Effect.ONCE,
        timeout=5.0,
        retry=RetryPolicy(max_attempts=1),
        approval=ApprovalSpec(approvers=("ann",), message="{{ arguments }}?"),
        reconcile=ReconcileSpec(
            agent="b", action="was", parameters={"x": "{{ arguments.x }}"}, timeout=None
        ),
        max_cost=500_000_000,
        repeats=2,
        max_result=100,
    )
    assert task(GOOD["fallback in full"]).fallback == (
        FallbackSpec(agent="b", model="m"),
        FallbackSpec(agent="web"),
    )


def test_who_acts_once_is_better_asked_about() -> None:
    loaded: Any = loads(text("tools: [{name: pay, agent: b, effect: once}]"))
    assert any("add approval: true" in line for line in loaded.warnings)
    asked = "tools: [{name: pay, agent: b, effect: once, approval: {approvers: [ann]}}]"
    assert loads(text(asked)).warnings == ()
