"""Inputs in agents: filled in once, and no way to bring a secret where it does not belong."""

from __future__ import annotations

from typing import Any

import pytest

from agenthive.authoring import bind_inputs, check_inputs, loads
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.errors import ConfigurationError

TEXT = """\
name: w
inputs: {api: {type: string}, count: 3, key: {type: secret}, free: null}
agents:
  - name: a
    type: http_api
    endpoint: "{{ inputs.api }}/v1/${env:TAIL}"
    authentication: {type: bearer, token: "{{ inputs.key }}"}
    custom_params: {k: ["{{ inputs.count }}", "{{ inputs.free }}"]}
  - {name: b, type: custom, endpoint: "custom://b"}
tasks:
  - {name: t, agent_name: a, action: go}
"""


def bound(text: str = TEXT, **given: Any) -> WorkflowSpec:
    spec = loads(text).spec
    return bind_inputs(spec, check_inputs(spec, given))


def test_filled_in_once() -> None:
    spec = bound(api="http://h", key="${env:KEY}", count=4)
    assert spec.agents[0].endpoint == "http://h/v1/${env:TAIL}"
    assert spec.agents[0].authentication == {"type": "bearer", "token": "${env:KEY}"}
    assert spec.agents[0].custom_params == {"k": [4, None]}
    assert spec.agents[1] == loads(TEXT).spec.agents[1]
    assert bind_inputs(spec, {}) is spec


BAD: list[tuple[str, dict[str, Any], str]] = [
    (TEXT, {"api": "http://h/${env:JWT_SECRET}", "key": "${env:K}"}, "endpoint: an input must not"),
    (TEXT, {"free": "${file:/etc/shadow}", "key": "${env:K}"}, "custom_params: an input must not"),
    (
        TEXT.replace("inputs.key", "inputs.api"),
        {"api": "${env:K}"},
        "authentication: an input must",
    ),
    (
        TEXT.replace("inputs.key", "inputs.api"),
        {"api": "hunter2"},
        "token: reads an input that is not secret",
    ),
    (TEXT, {"api": "x"}, "token: must be text"),
    (
        TEXT.replace("/v1/${env:TAIL}", ""),
        {"key": "${env:K}"},
        "endpoint: must be text, and not empty",
    ),
    (TEXT.replace("inputs.count", "inputs.count.x"), {"key": "${env:K}"}, "k[0]: column 1: cannot"),
]


@pytest.mark.parametrize(("text", "given", "why"), BAD)
def test_refused(text: str, given: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        bound(text, **given)
    assert why in str(caught.value)
    assert "agent 'a'" in str(caught.value)
    assert "hunter2" not in str(caught.value)
