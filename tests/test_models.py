"""The lead agent design: its values, and what they are in the house."""

from __future__ import annotations

import pytest

import agenthive
from agenthive.core.model.workflow import AgentSpec, TaskSpec
from agenthive.facades import lead_agent as la
from tests.lead_agent_rig import home

__all__ = ["home"]
pytestmark = pytest.mark.usefixtures("home")


def test_lazy_name_on_the_top_level() -> None:
    import agenthive

    assert agenthive.LeadAgent is la.LeadAgent
    assert [name for name in la.__all__ if not hasattr(la, name)] == []


def test_values_are_those_of_the_house() -> None:
    assert (la.AgentConfig, la.TaskConfig) == (AgentSpec, TaskSpec)
    assert [kind.value for kind in la.AgentType] == ["ai_agent", "mcp_server", "http_api", "custom"]
    response = la.AgentResponse(success=False, error="Request timeout")
    assert (response.success, response.result, response.error) == (False, None, "Request timeout")
    execution = la.TaskExecution(name="t")
    assert (execution.status, execution.attempts, execution.error) == ("pending", 0, None)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("queued", "queued"),
        ("running", "running"),
        ("waiting", "running"),
        ("completed", "completed"),
        ("partially_completed", "completed"),
        ("compensated", "failed"),
        ("compensation_failed", "failed"),
        ("cancelled", "cancelled"),
    ],
)
def test_ten_statuses_become_five(ours: str, theirs: str) -> None:
    report = agenthive.RunReport(
        run_id="r",
        name="w",
        status=ours,
        tasks={},
        results={},
        errors={},
        completed_tasks=0,
        total_tasks=0,
        execution_time=0.0,
        cost_usd=0.0,
        tokens=0,
    )
    assert la.WorkflowExecution.of(report).status == theirs
