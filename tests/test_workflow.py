"""The lead agent design: the engine, its statuses, and the observers of its state machine."""

from __future__ import annotations

from typing import Any

import pytest

from agenthive import Hive
from agenthive.facades import lead_agent as la
from agenthive.testing import ScriptedAgent
from tests.lead_agent_rig import config, home

__all__ = ["home"]
pytestmark = pytest.mark.usefixtures("home")


@pytest.mark.parametrize(
    ("strategy", "status"),
    [
        ("stop_on_first_failure", "failed"),
        ("continue_on_failure", "failed"),
        ("partial_completion_allowed", "completed"),
    ],
)
async def test_statuses(strategy: str, status: str) -> None:
    given = config(
        {"name": "a", "agent_name": "m"},
        {"name": "b", "agent_name": "c", "depends_on": ["a"]},
        failure_strategy=strategy,
    )
    async with Hive.open() as hive:
        hive.agents.register("c", ScriptedAgent(ValueError("it broke")))
        execution = await la.LeadAgent(hive).execute_workflow_from_dict(given)
    assert execution.status == status
    assert "it broke" in execution.errors["b"]
    assert list(execution.results) == ["a"]


async def test_observers_are_told_everything() -> None:
    told: list[tuple[str, str]] = []

    class Watcher(la.Observer):
        async def update(self, subject: la.Subject, event_type: str, data: Any) -> None:
            told.append((event_type, getattr(data, "name", "")))

    retried = {"max_attempts": 2, "strategy": "immediate"}
    given = config({"name": "t", "agent_name": "c", "retry_config": retried})
    async with Hive.open() as hive:
        hive.agents.register("c", ScriptedAgent(ValueError("once"), "good"))
        engine = la.WorkflowEngine(hive)
        watcher = Watcher()
        engine.state_machine.attach(watcher)
        engine.state_machine.attach(watcher)
        execution = await engine.execute(la.ConfigLoader.load_from_dict(given))
        assert told == [
            ("workflow_started", ""),
            ("task_started", "t"),
            ("task_failed", "t"),
            ("task_started", "t"),
            ("task_completed", "t"),
            ("workflow_completed", "flow"),
        ]
        task = engine.state_machine.tasks["t"]
        assert (task.status, task.attempts, task.result, task.error) == (
            la.TaskStatus.COMPLETED,
            2,
            "good",
            None,
        )
        assert task.execution_time >= 0
        assert engine.state_machine.status == execution.status
        engine.state_machine.detach(watcher)
        engine.state_machine.detach(watcher)
        told.clear()
        await engine.execute(la.ConfigLoader.load_from_dict(given))
        assert told == []
