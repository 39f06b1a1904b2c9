"""LeadAgent and the names around it, in this process (the document's blocks run elsewhere)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from agenthive import Hive
from agenthive.core.spec import AgentSpec, TaskSpec
from agenthive.errors import AgentUnavailable, ConfigurationError
from agenthive.facades import lead_agent as la
from agenthive.testing import ScriptedAgent

OFFLINE = {"name": "m", "type": "ai_agent", "endpoint": "offline://extractive"}


def config(*tasks: dict[str, Any], **keys: Any) -> dict[str, Any]:
    agents = [OFFLINE, {"name": "c", "type": "custom", "endpoint": "custom://c"}]
    used = {task["agent_name"] for task in tasks}
    return {
        "name": "flow",
        "agents": [agent for agent in agents if agent["name"] in used],
        "tasks": [{"action": "say", "retry_config": {"max_attempts": 1}, **t} for t in tasks],
        **keys,
    }


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, no settings from outside, no types of another test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("AGENTHIVE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AGENTHIVE_AGENTS", raising=False)
    monkeypatch.setattr(la.AgentFactory, "_types", {})
    return tmp_path / "home"


async def test_file_and_dict(tmp_path: Path, home: Path) -> None:
    (tmp_path / "flow.json").write_text(json.dumps(config({"name": "a", "agent_name": "m"})))
    lead = la.LeadAgent()
    first = await lead.execute_workflow_from_file(tmp_path / "flow.json")
    assert (first.status, first.completed_tasks, first.total_tasks) == ("completed", 1, 1)
    assert first.status is la.WorkflowStatus.COMPLETED
    assert first.execution_time >= 0
    second = await lead.execute_workflow_from_dict(config({"name": "a", "agent_name": "m"}))
    assert second.execution_id != first.execution_id
    async with Hive.open(home) as hive:
        assert {row.run for row in await hive.runs()} == {first.execution_id, second.execution_id}


async def test_inputs() -> None:
    task = {"name": "a", "agent_name": "c", "parameters": {"say": "{{ inputs.word }}"}}
    given = config(task, inputs={"word": {"type": "string", "required": True}})
    async with Hive.open() as hive:
        hive.agents.register("c", lambda parameters: parameters)
        lead = la.LeadAgent(hive)
        execution = await lead.execute_workflow_from_dict(given, {"word": "hello"})
        assert execution.results == {"a": {"say": "hello"}}
        with pytest.raises(ConfigurationError):
            await lead.execute_workflow_from_dict(given)


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
            la.TaskStatus.COMPLETED, 2, "good", None,
        )  # fmt: skip
        assert task.execution_time >= 0
        assert engine.state_machine.status == execution.status
        engine.state_machine.detach(watcher)
        engine.state_machine.detach(watcher)
        told.clear()
        await engine.execute(la.ConfigLoader.load_from_dict(given))
        assert told == []


def test_config_loader(tmp_path: Path, home: Path) -> None:
    with pytest.raises(ConfigurationError):
        la.ConfigLoader.load_from_dict({"name": "x"})
    with pytest.raises(ConfigurationError):
        la.ConfigLoader.load_from_file(tmp_path / "nope.yaml")
    agent = {
        "name": "h",
        "type": "http_api",
        "endpoint": "https://api.example.com",
        "authentication": {"type": "bearer", "token": "hunter2-hunter2"},
    }
    task = {"name": "t", "agent_name": "h", "action": "fetch"}
    spec = la.ConfigLoader.load_from_dict({"name": "x", "agents": [agent], "tasks": [task]})
    assert "hunter2-hunter2" not in repr(spec), "a literal token is moved out of the definition"
    kept = [file.read_text() for file in (home / "secrets").iterdir()]
    assert kept == ["hunter2-hunter2"]


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


async def test_main(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.py").write_text("def c(parameters):\n    raise ValueError('it broke')\n")
    monkeypatch.setenv("AGENTHIVE_AGENTS", f"c={tmp_path / 'broken.py'}:c")
    given = config(
        {"name": "a", "agent_name": "m"},
        {"name": "b", "agent_name": "c"},
        failure_strategy="continue_on_failure",
    )
    (tmp_path / "flow.json").write_text(json.dumps(given))
    monkeypatch.setattr(sys, "argv", ["lead_agent", str(tmp_path / "flow.json")])
    await la.main()
    out = capsys.readouterr().out
    assert out.startswith("Workflow completed with status: failed\nCompleted tasks: 1/2\n")
    assert "\n  b failed: ValueError: it broke\n" in out
    monkeypatch.setattr(sys, "argv", ["lead_agent"])
    with pytest.raises(SystemExit, match="usage"):
        await la.main()


def test_lazy_name_on_the_top_level() -> None:
    import agenthive

    assert agenthive.LeadAgent is la.LeadAgent
    assert [name for name in la.__all__ if not hasattr(la, name)] == []
