"""The lead agent design: agents by type, made by a factory, called by an executor."""

from __future__ import annotations

from typing import Any

import pytest

from agenthive.core.model.workflow import AgentSpec, TaskSpec
from agenthive.errors import AgentUnavailable
from agenthive.facades import agent_kinds
from agenthive.facades import lead_agent as la
from tests.lead_agent_rig import home

__all__ = ["home"]
pytestmark = pytest.mark.usefixtures("home")


async def test_factory_and_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    class Loud(la.BaseAgent):
        async def execute(self, action: str, parameters: dict[str, Any]) -> la.AgentResponse:
            if action == "fail":
                return la.AgentResponse(success=False, error="too loud")
            return la.AgentResponse(success=True, result=action.upper())

    spec = AgentSpec(name="x", type="custom", endpoint="custom://x")
    with pytest.raises(AgentUnavailable):
        la.AgentFactory.create_agent(spec)
    la.AgentFactory.register_agent_type(la.AgentType.CUSTOM, Loud)
    agent = la.AgentFactory.create_agent(spec)
    executor = la.TaskExecutor()
    done = await executor.execute(TaskSpec(name="t", agent="x", action="go"), agent)
    assert (done.status, done.result, done.error) == ("completed", "GO", None)
    done = await executor.execute(TaskSpec(name="t", agent="x", action="fail"), agent)
    assert (done.status, done.attempts) == ("failed", 1)
    assert "too loud" in str(done.error)
    monkeypatch.setenv("AGENTHIVE_AGENTS", "extra=nowhere:thing")
    assert "extra" in la.AgentFactory.directory().names


@pytest.mark.parametrize(
    ("agent_class", "kind", "endpoint"),
    [
        (agent_kinds.AIAgent, la.AgentType.AI_AGENT, "offline://extractive"),
        (agent_kinds.HTTPAPIAgent, la.AgentType.HTTP_API, "https://api.example.com"),
        (agent_kinds.MCPServerAgent, la.AgentType.MCP_SERVER, "stdio:mcp-server-time"),
    ],
)
def test_factory_makes_the_classes_of_the_design(
    agent_class: type[la.BaseAgent], kind: la.AgentType, endpoint: str
) -> None:
    spec = AgentSpec(name="x", type=kind, endpoint=endpoint)
    assert type(la.AgentFactory.create_agent(spec)) is agent_class
