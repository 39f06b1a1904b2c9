"""The lead agent design: agents by type, made by a factory, called by an executor."""

from __future__ import annotations

from typing import Any

import pytest

from agenthive.core.model.workflow import AgentSpec, TaskSpec
from agenthive.errors import AgentUnavailable
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
