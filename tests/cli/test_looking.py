"""The commands that only look, and `cancel`: what they print, as lines and as JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from agenthive.cli.root import describe_command, find_commands, load_command
from tests.cli.conftest import Cli, workflow

FLOW = workflow(
    {"name": "one", "agent": "echo", "parameters": {"x": 1}},
    {"name": "two", "agent": "broken", "depends_on": ["one"]},
)


@pytest.fixture
def run(cli: Cli, here: Path) -> str:
    """The id of a failed run in the home."""
    (here / "flow.json").write_text(FLOW)
    return str(cli("run", "flow.json", "--agents", "agents.py", "--json").json["run_id"])


@pytest.fixture
def blocked(cli: Cli, here: Path, run: str) -> str:
    """The id of a run that waits for an agent nobody has here."""
    (here / "later.json").write_text(
        workflow(
            {"name": "first", "agent": "blocking", "parameters": {"seconds": 0.2}},
            {"name": "next", "agent": "echo", "depends_on": ["first"]},
        )
    )
    import asyncio

    from agenthive import AgentRegistry, Hive, load

    async def leave_open() -> str:
        directory = AgentRegistry()
        directory.load_file(here / "agents.py")
        async with Hive.open(here / "home", agents=directory) as hive:
            return await hive.submit(load(here / "later.json").spec)

    found = asyncio.run(leave_open())
    result = cli("resume", "--json")
    assert result.code == 8
    assert result.json["runs"][0]["status"] == "waiting"
    return found


def test_help_names_every_command(cli: Cli) -> None:
    result = cli("--help", home=None)
    assert result.code == 0
    assert len(find_commands()) > 30
    for name in find_commands():
        assert f"\n  {name} " in result.out
        assert load_command(name).short_help == describe_command(name)
        assert cli(name, "--help", home=None).code == 0
    assert cli("--version", home=None).out.startswith("agenthive, version ")


def test_usage(cli: Cli) -> None:
    assert cli("dance", home=None).code == 2
    result = cli("run", "--no-such-option", home=None)
    assert result.code == 2
    assert "No such option" in result.err


def test_validate(cli: Cli, here: Path) -> None:
    (here / "flow.json").write_text(FLOW)
    (here / "bad.json").write_text(FLOW.replace('"one"', '"two"', 1))
    good = cli("validate", "flow.json", "--agents", "agents.py")
    assert (good.code, good.out) == (0, "flow.json: valid (flow, 2 tasks, 2 agents)\n")
    both = cli("validate", "flow.json", "bad.json", "--json")
    assert both.code == 2
    first, second = both.json["files"]
    assert first["valid"]
    assert "no agent is registered for custom://broken" in first["warnings"][0]
    assert not second["valid"]
    assert "bad.json:1:" in second["problems"][0]
    assert not (here / "home").exists()
    assert "bad.json:1:" in cli("validate", "bad.json").err


def test_validate_warns_of_what_is_not_here(cli: Cli, here: Path) -> None:
    agent = {"name": "a", "type": "http_api", "endpoint": "http://127.0.0.1:9"}
    agent["authentication"] = {"type": "bearer", "token": "${env:NOT_HERE}"}
    tasks = [{"name": "t", "agent_name": "a", "action": "fetch"}]
    (here / "w.json").write_text(json.dumps({"name": "w", "agents": [agent], "tasks": tasks}))
    result = cli("validate", "w.json")
    assert result.code == 0
    assert "the environment variable NOT_HERE is not set" in result.err


def test_ps(cli: Cli, run: str, here: Path) -> None:
    assert run in cli("ps").out
    assert "failed" in cli("ps").out
    rows = cli("ps", "--json").json["runs"]
    assert [(row["run"], row["completed_tasks"]) for row in rows] == [(run, 1)]
    assert cli("ps", "--open", "--json").json["runs"] == []
    empty = cli("ps", "--home", "nowhere")
    assert (empty.code, empty.out) == (0, "")
    assert not (here / "nowhere").exists()


@pytest.mark.parametrize("url", ["postgresql://host/db", "sqllite:home", "memory:", ""])
def test_home_is_a_folder_not_a_url(url: str, cli: Cli, here: Path) -> None:
    before = list(here.iterdir())
    refused = cli("ps", "--home", url)
    assert refused.code == 2
    assert "directory" in refused.err
    assert list(here.iterdir()) == before


def test_metrics(cli: Cli, run: str) -> None:
    found = cli("ps", "--metrics", "--json").json
    assert (found["runs"], found["tasks_succeeded"]) == ({"failed": 1}, 1)
    assert (found["tasks_failed"], found["success_rate"], found["retries"]) == (1, 0.5, 0)
    assert (found["agents"]["broken"]["failures"], found["agents"]["echo"]["calls"]) == (1, 1)
    shown = cli("ps", "--metrics").out
    assert "runs failed          1\n" in shown
    assert "success rate         0.500\n" in shown
    assert "AGENT   CALLS" in shown
    assert "AGENT" not in cli("ps", "--metrics", "--home", "nowhere").out


def test_ps_counts_what_an_open_run_has_done(cli: Cli, blocked: str) -> None:
    rows = cli("ps", "--open", "--json").json["runs"]
    assert [(row["run"], row["completed_tasks"]) for row in rows] == [(blocked, 0)]


def test_show(cli: Cli, run: str) -> None:
    shown = cli("show", run)
    assert "TASK" in shown.out
    assert "two: ValueError: it broke" in shown.out
    assert cli("show", run, "--json").json["errors"] == {"two": "ValueError: it broke"}
    assert cli("show", run[:20]).code == 0
    story = cli("show", run, "--task", "two")
    assert "attempt 1 failed: ValueError: it broke" in story.out
    types = [fact["type"] for fact in cli("show", run, "--task", "two", "--json").json["facts"]]
    assert types[-1] == "task.failed"
    missing = cli("show", "nope", "--json")
    assert (missing.code, missing.json["error"]["type"]) == (3, "RunNotFound")
    assert cli("show", run, "--task", "nope").code == 3


def test_why(cli: Cli, run: str, blocked: str) -> None:
    assert "no task is waiting: the run is failed" in cli("why", run).out
    found = cli("why", blocked)
    assert "first: agent, since " in found.out
    assert "unblocked when the agent is available and the run is resumed" in found.out
    kinds = [reason["kind"] for reason in cli("why", blocked, "--json").json["reasons"]]
    assert kinds == ["agent", "dependency"]


def test_resume_with_the_agent_supplied(cli: Cli, blocked: str) -> None:
    waiting = cli("resume", blocked)
    assert waiting.code == 8
    assert "Workflow not finished, status: waiting" in waiting.out
    assert "the run has not ended:" in waiting.err
    done = cli("resume", "--agents", "agents.py", "--json", blocked)
    assert (done.code, done.json["runs"][0]["status"]) == (0, "completed")
    again = cli("resume", "--agents", "agents.py", "--json", blocked)
    assert (again.code, again.json["runs"][0]["status"]) == (0, "completed")


def test_events(cli: Cli, run: str) -> None:
    lines = cli("events", run).out.splitlines()
    assert lines[0].split()[0] == "1"
    assert "run.submitted" in lines[0]
    facts = [json.loads(line) for line in cli("events", run, "--json").out.splitlines()]
    assert [fact["seq"] for fact in facts] == list(range(1, len(facts) + 1))
    assert len(cli("events", run, "--after", "3", "--json").out.splitlines()) == len(facts) - 3
    about = cli("events", run, "--task", "two", "--json", "--follow").out.splitlines()
    assert {json.loads(line)["fact"]["task"] for line in about} == {"two"}


def test_cancel(cli: Cli, run: str, blocked: str) -> None:
    ended = cli("cancel", run)
    assert ended.code == 3
    assert "has already ended: failed" in ended.err
    done = cli("cancel", blocked, "--reason", "enough", "--json")
    assert (done.code, done.json["status"]) == (0, "cancelled")
    assert "cancelled by local: enough" in cli("events", blocked).out
    assert cli("cancel", "nope").code == 3


def test_agents(cli: Cli, here: Path) -> None:
    assert "No custom agents are registered" in cli("agents").out
    (here / "agenthive.toml").write_text('[agents]\nours = "agents.py:echo"\n')
    found = cli("agents", "--agents", "agents.py", "--json").json["custom"]
    assert (
        found["ours"] == f"settings: {here / 'agents.py'}:echo" or "agents.py:echo" in found["ours"]
    )
    assert found["echo"] == "code: echo"
    assert "custom://ours" in cli("agents").out


def test_config(cli: Cli, here: Path) -> None:
    (here / "agenthive.toml").write_text("max_runs = 3\n")
    found = cli("config", "--json", "--home", "elsewhere").json["settings"]
    assert found["max_runs"] == {"value": 3, "origin": str(here / "agenthive.toml")}
    assert found["home"] == {"value": str(here / "elsewhere"), "origin": "--home"}
    shown = cli("config", "show").out
    assert "ORIGIN" in shown
    assert "ORIGIN" not in cli("config", "show", "--no-origin").out
    (here / "agenthive.toml").write_text("max_runs = 0\n")
    assert cli("config").code == 2


def test_doctor(cli: Cli, run: str, here: Path) -> None:
    healthy = cli("doctor", "--json")
    assert healthy.code == 0
    assert {check["what"] for check in healthy.json["checks"]} >= {"sqlite", "journal", "flush"}
    assert "all hash chains intact" in cli("doctor").out
    assert cli("doctor", "--home", "nowhere").code == 0
    assert not (here / "nowhere").exists()


def test_doctor_finds_what_is_wrong(cli: Cli, run: str, here: Path) -> None:
    journal = here / "home" / "journal.db"
    damaged = journal.read_bytes().replace(b"ValueError: it broke", b"ValueError: it brake")
    assert damaged != journal.read_bytes()
    journal.write_bytes(damaged)
    (here / "agenthive.toml").write_text('[agents]\nours = "agents.py:nothing"\n')
    result = cli("doctor")
    assert result.code == 10
    assert "the chain breaks at record" in result.out
    assert "custom agent 'ours' cannot be loaded" in result.out
    assert cli("show", run).code == 10


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str, cli: Cli) -> None:
    result = cli("completion", shell, home=None)
    assert result.code == 0
    assert "_AGENTHIVE_COMPLETE" in result.out


def test_log_lines_follow_the_settings(
    cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTHIVE_LOG_LEVEL", "loud")
    result = cli("ps")
    assert result.code == 2
    assert "log_level must be one of debug, info, warning, error" in result.err


def test_a_task_that_a_run_has_not(cli: Cli, run: str) -> None:
    assert cli("events", run, "--task", "one").code == 0
    assert cli("events", run, "--task", "nosuch").code == 3


def test_home_that_is_none(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "flow.json").write_text(FLOW)
    assert cli("run", "flow.json", "--agents", "agents.py", "--home", "").code == 2
    assert not (here / "journal.db").exists()
    monkeypatch.setenv("AGENTHIVE_HOME", "flow.json")
    assert cli("ps", home=None).code == 10
    result = cli("doctor", home=None)
    assert (result.code, "FAILED  home" in result.out) == (1, True)
    assert cli("run", "flow.json", "--agents", "agents.py", "--home", "h\udcff").code == 2


def test_names_that_are_no_text_or_steer_a_terminal(cli: Cli, here: Path) -> None:
    assert cli("run", "\udcff.yaml", "--json").json["error"]["type"] == "ConfigurationError"
    (here / "x\x1b[31m.json").write_text(FLOW)
    shown = cli("validate", "x\x1b[31m.json")
    assert shown.code == 0
    assert "\x1b" not in shown.out
    (here / "flow.json").write_text(FLOW)
    told = cli("run", "flow.json", "--agents", "agents.py", "--input", "a=\udcff")
    assert (told.code, "not text" in told.err) == (2, True)


def test_agents_file_that_exits(cli: Cli, here: Path) -> None:
    (here / "exit.py").write_text("raise SystemExit(5)")
    result = cli("agents", "--agents", "exit.py")
    assert (result.code, "SystemExit" in result.err) == (2, True)


@pytest.mark.parametrize(
    ("ends", "code", "says"),
    [(">/dev/full", 1, "No space left"), (">&-", 0, ""), ("2>&-", 0, ""), ("| true", 0, "")],
)
def test_outputs_that_take_nothing(ends: str, code: int, says: str, run: str, here: Path) -> None:
    command = f"{sys.executable} -c 'from agenthive.cli import main; main()' show {run} --home home"
    line = f"set -o pipefail; {command} {ends}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=30)
    assert done.returncode == code
    assert says in done.stderr
    assert "Traceback" not in done.stderr
