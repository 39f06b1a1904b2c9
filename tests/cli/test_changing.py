"""`migrate`, `fork` and `replay` as people use them; calls are counted at the agent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli

KNOWN = ("--agents", "agents.py")


def steps(first: str = "fetch", to: str = "ann", **fetch: Any) -> str:
    tasks: list[dict[str, Any]] = [
        {
            "name": first,
            "agent": "sleep",
            "action": "do",
            "parameters": {"seconds": 0} | fetch,
            "effect": "none",
        },
        {"name": "pay", "agent": "sleep", "action": "do", "depends_on": [first], "effect": "once"},
        {"name": "gate", "depends_on": ["pay"], "approval": {"message": "go on?"}},
        {
            "name": "mail",
            "agent": "echo",
            "action": "do",
            "depends_on": ["gate"],
            "parameters": {"to": to},
        },
    ]
    known = [{"name": n, "type": "custom", "endpoint": f"custom://{n}"} for n in ("echo", "sleep")]
    return json.dumps({"agenthive": 1, "name": "pay", "agents": known, "tasks": tasks})


@pytest.fixture
def run(cli: Cli, here: Path) -> str:
    """A run that stands at its gate; `fetch` and `pay` are done."""
    (here / "w.json").write_text(steps())
    (here / "renamed.json").write_text(steps("get", "bob"))
    (here / "other.json").write_text(steps(more=1))
    done = cli("run", "w.json", *KNOWN, "--json")
    assert done.code == 8
    return str(done.json["run_id"])


def calls(here: Path) -> list[str]:
    return [line.split()[0] for line in (here / "ledger").read_text().splitlines()]


def test_migrate_check_changes_nothing(cli: Cli, here: Path, run: str) -> None:
    before = cli("events", run, "--json").out
    done = cli("migrate", run, "renamed.json", *KNOWN, "--check")
    assert done.code == 0
    assert "renamed to get" in done.out
    assert "map - the run can move to the changed workflow, with its tasks renamed" in done.out
    stays = cli("migrate", run[:30], "other.json", *KNOWN, "--check", "--json")
    assert (stays.code, stays.json["verdict"]) == (1, "stay")
    assert cli("events", run, "--json").out == before


def test_migrate_then_approve(cli: Cli, here: Path, run: str) -> None:
    done = cli("migrate", run, "renamed.json", *KNOWN)
    assert (done.code, done.out.splitlines()[-1]) == (0, f"{run}: migrated")
    assert cli("approve", run, "gate", *KNOWN).code == 0
    shown = cli("show", run, "--json").json
    assert shown["status"] == "completed"
    assert shown["results"]["mail"]["to"] == "bob"
    assert calls(here) == ["fetch", "pay"]
    assert cli("doctor").code == 0
    cli("export", run, "-o", "run.jsonl")
    assert cli("import", "run.jsonl", home="other").code == 0
    there = cli("show", run, "--json", home="other").json
    assert there["results"] == shown["results"]


def test_what_must_stay_stays(cli: Cli, here: Path, run: str) -> None:
    done = cli("migrate", run, "other.json", *KNOWN)
    assert done.code == 2
    assert "the run must stay pinned: fetch parameters changed" in done.err
    assert "agenthive fork --from fetch" in done.err


def test_a_run_that_has_ended_is_not_migrated(cli: Cli, here: Path, run: str) -> None:
    cli("approve", run, "gate", *KNOWN)
    done = cli("migrate", run, "renamed.json", *KNOWN)
    assert (done.code, "has ended already" in done.err) == (2, True)


def test_renaming_that_is_declared(cli: Cli, run: str) -> None:
    done = cli("migrate", run, "renamed.json", *KNOWN, "--rename", "fetch=get", "--check", "--json")
    assert done.json["renamed"] == {"fetch": "get"}
    assert cli("migrate", run, "renamed.json", "--rename", "fetch").code == 2


def test_fork_acts_again_only_if_told(cli: Cli, here: Path, run: str) -> None:
    refused = cli("fork", run, "--from", "pay", *KNOWN)
    assert (refused.code, "would act again: pay" in refused.err) == (2, True)
    assert calls(here) == ["fetch", "pay"]
    done = cli("fork", run, "--from", "pay", *KNOWN, "--again", "--json")
    assert done.code == 8
    assert calls(here) == ["fetch", "pay", "pay"]
    first, second = (line.split()[1] for line in (here / "ledger").read_text().splitlines()[1:])
    assert first != second
    fact = json.loads(cli("events", done.json["run_id"], "--json").out.splitlines()[0])
    assert fact["fact"]["fork"]["run"] == run
    told = cli("events", done.json["run_id"]).out
    assert f"submitted as a fork of run {run} from task 'pay' on; results inherited: 1" in told


def test_fork_under_a_changed_workflow(cli: Cli, here: Path, run: str) -> None:
    done = cli("fork", run, "--from", "mail", "--file", "other.json", *KNOWN, "--again", "--json")
    assert done.json["completed_tasks"] == 2
    assert calls(here) == ["fetch", "pay"] * 2


def test_fork_from_nowhere(cli: Cli, run: str) -> None:
    done = cli("fork", run, "--from", "post", *KNOWN)
    assert done.code == 3
    assert "has no task 'post'" in done.err
    assert "fetch, pay, gate, mail" in done.err


def test_replay_calls_nobody(cli: Cli, here: Path, run: str) -> None:
    cli("approve", run, "gate", *KNOWN)
    before = (here / "home" / "journal.db").read_bytes()
    done = cli("replay", run)
    assert done.code == 0
    assert "events: completed; no agent was called" in done.out
    part = cli("replay", run, "--until", "4", "--json").json
    assert part["facts"] == 4
    assert part["tasks"] == {
        "fetch": "succeeded",
        "pay": "ready",
        "gate": "waiting",
        "mail": "waiting",
    }
    assert calls(here) == ["fetch", "pay"]
    assert (here / "home" / "journal.db").read_bytes() == before
