"""The lead agent design: whole workflows, from a file, a dict and the command line."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from agenthive import Hive
from agenthive.cli import root
from agenthive.cli.commands import run
from agenthive.errors import ConfigurationError
from agenthive.facades import lead_agent as la
from agenthive.testing import ScriptedAgent
from tests.lead_agent_rig import config, home

__all__ = ["home"]
pytestmark = pytest.mark.usefixtures("home")


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
    with pytest.raises(SystemExit) as ended:
        await la.main()
    assert ended.value.code == 1
    out = capsys.readouterr().out
    assert out.startswith("Workflow completed with status: failed\nCompleted tasks: 1/2\n")
    assert "\nErrors:\n  b: ValueError: it broke (it may have acted)\n" in out
    monkeypatch.setattr(sys, "argv", ["lead_agent"])
    with pytest.raises(SystemExit) as ended:
        await la.main()
    assert ended.value.code == 2
    assert "Missing argument 'FILE'" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["lead_agent", "--help"])
    await la.main()
    shown = capsys.readouterr().out
    assert "Exit codes:" in shown
    assert re.search(r"0 +completed.*\n.*1 +failed", shown)


@pytest.mark.parametrize("busy", [False, True])
async def test_main_returns_after_a_run_that_completed(
    busy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code after it goes on, unless a function holds the process, which then ends at once."""
    (tmp_path / "flow.json").write_text(json.dumps(config({"name": "a", "agent_name": "m"})))
    monkeypatch.setattr(sys, "argv", ["lead_agent", str(tmp_path / "flow.json")])
    monkeypatch.setattr(root, "has_running_functions", lambda: busy)
    codes: list[int] = []
    monkeypatch.setattr(root, "exit_process", codes.append)
    await la.main()
    assert codes == ([0] if busy else [])


@pytest.mark.parametrize(
    ("error", "code"),
    [(KeyboardInterrupt(), 130), (click.Abort(), 130), (click.UsageError("no"), 2)],
    ids=["Ctrl-C", "abort", "usage"],
)
async def test_main_ends_as_the_command_line_does(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupted(**options: Any) -> int:
        raise error

    monkeypatch.setattr(run, "execute_command", interrupted)
    monkeypatch.setattr(sys, "argv", ["lead_agent", "flow.json"])
    with pytest.raises(SystemExit) as ended:
        await la.main()
    assert ended.value.code == code


async def test_a_service_that_recovers() -> None:
    """Two failures, then an answer: the retry policy carries the workflow over them."""
    task = {"name": "a", "agent_name": "c", "action": "fetch"}
    given = config(task | {"retry_config": {"max_attempts": 3, "strategy": "immediate"}})
    async with Hive.open() as hive:
        service = ScriptedAgent(ConnectionError("down"), ConnectionError("down"), {"rows": 3})
        hive.agents.register("c", service)
        execution = await la.LeadAgent(hive).execute_workflow_from_dict(given)
    assert (execution.status, execution.results) == ("completed", {"a": {"rows": 3}})
    assert len({call.key for call in service.calls}) == 1
    assert [call.attempt for call in service.calls] == [1, 2, 3]
