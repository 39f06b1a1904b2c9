"""The Python builder makes the same graph as a file, through the same checks."""

from __future__ import annotations

import pytest

from agenthive.authoring import Workflow, loads
from agenthive.errors import ConfigurationError

YAML = """\
agenthive: 1
name: notes
max_parallel: 4
inputs: {topic: {type: string, default: bees}}
agents:
  - {name: api, type: http_api, endpoint: "https://api.example.com", timeout: 5}
tasks:
  - name: 'fe"tch'
    agent: api
    action: fetch
    effect: none
    parameters: {q: '{{ inputs["topic"] }}'}
  - name: publish
    agent: api
    action: request
    depends_on: ['fe"tch']
    parameters: {json: '{{ tasks["fe\\"tch"].result }}'}
"""


def build() -> Workflow:
    flow = Workflow("notes", max_parallel=4)
    topic = flow.input("topic", "string", default="bees")
    api = flow.agent("api", "http_api", "https://api.example.com", timeout=5)
    data = flow.task('fe"tch', api, "fetch", effect="none", parameters={"q": topic})
    flow.task("publish", "api", "request", depends_on=[data], parameters={"json": data.result})
    return flow


def test_same_as_a_file() -> None:
    assert build().build() == loads(YAML).spec


def test_same_checks_and_all_at_once() -> None:
    flow = build()
    flow.task("late", "nobody", "x", depends_on=["gone"], priority=99)
    with pytest.raises(ConfigurationError) as caught:
        flow.build()
    assert len(caught.value.problems) == 3
    assert "workflow 'notes': tasks[2].agent_name: Task 'late' references undefined agent" in str(
        caught.value
    )


def test_secrets_are_kept() -> None:
    flow = Workflow("w")
    agent = flow.agent(
        "a", "http_api", "https://x", authentication={"type": "bearer", "token": "hunter2"}
    )
    flow.task("t", agent, "fetch")
    with pytest.raises(ConfigurationError, match="contains a secret; replace it"):
        flow.build()
    loaded = flow.load(keep_secret=lambda label, value: "${secret:s}")
    assert loaded.spec.agents[0].authentication == {"type": "bearer", "token": "${secret:s}"}
