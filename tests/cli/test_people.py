"""What people say: approvals across killed processes, signals, outcomes. Calls are counted."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.cli.test_processes import Start

KNOWN = ("--agents", "agents.py")
AGENTS = '''
import os
async def note(action, parameters, call):
    """One line a call, on disk before the answer."""
    with open(os.environ["LEDGER"], "a") as ledger:
        ledger.write(f"{call.task} {parameters}\\n")
        ledger.flush()
        os.fsync(ledger.fileno())
    return parameters
AGENTS = {"note": note}
'''


def call(name: str, *after: str, **more: Any) -> dict[str, Any]:
    about = {"name": name, "agent": "note", "action": "go", "depends_on": list(after)}
    return about | {"effect": "once"} | more


def write(here: Path, *tasks: dict[str, Any], name: str = "w.json") -> str:
    agents = [{"name": "note", "type": "custom", "endpoint": "custom://note"}]
    whole = {"agenthive": 1, "name": "pay", "max_parallel": 9, "agents": agents}
    (here / "agents.py").write_text(AGENTS)
    (here / name).write_text(json.dumps(whole | {"tasks": list(tasks)}))
    return name


def ledger(here: Path) -> list[str]:
    file = here / "ledger"
    return file.read_text().splitlines() if file.exists() else []


def branch(number: int, sum_: int) -> list[dict[str, Any]]:
    """Prepare, ask, pay."""
    paid = {"sum": sum_, "to": f"{{{{ tasks.prepare{number}.result.who }}}}"}
    ask = {"message": f"pay {number}?", "approvers": ["ann", "bob"]}
    return [
        call(f"prepare{number}", parameters={"who": f"bee {number}"}),
        call(f"pay{number}", f"prepare{number}", parameters=paid, approval=ask),
        call(f"book{number}", f"pay{number}"),
    ]


def wait_for(cli: Cli, run: str, count: int) -> list[dict[str, Any]]:
    """Until so many approvals of the run are waited for."""
    until = time.monotonic() + 20
    while len(found := cli("approvals", run, "--json").json["approvals"]) != count:
        assert time.monotonic() < until, found
        time.sleep(0.05)
    return list(found)


@pytest.mark.slow
def test_three_approvals_with_the_process_killed_in_between(
    cli: Cli, here: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(here, *[task for n in (1, 2, 3) for task in branch(n, 10 * n)])
    assert cli("run", file, *KNOWN, "--json").code == 8
    [row] = cli("ps", "--json").json["runs"]
    run = row["run"]
    asked = wait_for(cli, run, 3)
    assert sorted(ledger(here)) == [f"prepare{n} {{'who': 'bee {n}'}}" for n in (1, 2, 3)]
    for left, one in zip((2, 1, 0), asked, strict=True):
        worker = start("work", *KNOWN, "--home", "home")
        owner = wait_for_owner(cli, run)
        assert owner == worker.pid
        monkeypatch.setattr("getpass.getuser", lambda: "ann")
        said = cli("approve", run, one["task"], "--digest", one["digest"][:12], *KNOWN)
        assert said.code == 0, said.err
        until = time.monotonic() + 20
        while not any(line.startswith(f"book{one['task'][-1]} ") for line in ledger(here)):
            assert time.monotonic() < until
            time.sleep(0.02)
        wait_for(cli, run, left)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    cli("resume", *KNOWN)
    report = cli("show", run, "--json").json
    assert report["status"] == "completed", report
    lines = ledger(here)
    assert len(lines) == len(set(lines)) == 9, "something was called twice"
    paid = {line for line in lines if line.startswith("pay")}
    assert paid == {f"pay{n} {{'sum': {10 * n}, 'to': 'bee {n}'}}" for n in (1, 2, 3)}
    payloads = {one["task"]: one["payload"]["parameters"] for one in asked}
    assert payloads == {f"pay{n}": {"sum": 10 * n, "to": f"bee {n}"} for n in (1, 2, 3)}


def wait_for_owner(cli: Cli, run: str) -> int:
    until = time.monotonic() + 20
    while (owner := cli("why", run, "--json").json["owner"]) is None:
        assert time.monotonic() < until
        time.sleep(0.05)
    return int(owner)


def test_a_changed_payload_is_asked_about_again(
    cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The change comes with a new workflow, between the answer and the call."""
    monkeypatch.setattr("getpass.getuser", lambda: "ann")
    slow = {"name": "slow", "wait_for": {"signal": "go"}}
    ask = {"message": "pay?", "approvers": ["ann", "bob"], "quorum": 2}
    paid = call("pay", parameters={"sum": 1}, approval=ask)
    file = write(here, slow, paid)
    assert cli("run", file, *KNOWN).code == 8
    run = cli("ps", "--json").json["runs"][0]["run"]
    [before] = wait_for(cli, run, 1)
    assert cli("approve", run, "pay", *KNOWN).code == 0
    changed = write(here, slow, call("pay", parameters={"sum": 999}, approval=ask), name="x.json")
    assert cli("migrate", run, changed, *KNOWN).code == 0
    monkeypatch.setattr("getpass.getuser", lambda: "bob")
    assert cli("approve", run, "pay", *KNOWN).code == 0
    [again] = wait_for(cli, run, 1)
    assert (again["payload"]["parameters"], again["agreed"]) == ({"sum": 999}, [])
    assert again["digest"] != before["digest"]
    assert ledger(here) == []
    stale = cli("approve", run, "pay", "--digest", before["digest"], *KNOWN)
    assert (stale.code, "another payload" in stale.err) == (2, True), stale.err
    for who in ("ann", "bob"):
        monkeypatch.setattr("getpass.getuser", lambda who=who: who)
        assert cli("approve", run, "pay", *KNOWN).code == 0
    assert ledger(here) == ["pay {'sum': 999}"]


def test_answers_that_do_not_count_are_refused_and_recorded(
    cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = {"message": "pay?", "approvers": ["ann", "bob"], "quorum": 2, "deadline": 3600}
    run = started(cli, here, call("pay", approval=ask))
    monkeypatch.setattr("getpass.getuser", lambda: "mallory")
    assert "mallory" in cli("approve", run, "pay", *KNOWN).err
    monkeypatch.setattr("getpass.getuser", lambda: "ann")
    assert cli("approve", run, "pay", *KNOWN, "--comment", "fine").code == 0
    assert cli("approve", run, "pay", *KNOWN).code == 2
    assert "until" in cli("approvals").out
    assert cli("reject", run, "pay", *KNOWN, "--comment", "no").code in (1, 2)
    monkeypatch.setattr("getpass.getuser", lambda: "bob")
    assert cli("reject", run, "pay", *KNOWN, "--comment", "too much").code == 1
    assert cli("approve", run, "pay", *KNOWN).code == 2
    told = cli("events", run).out
    assert told.count("does not count") >= 2
    assert ledger(here) == []
    assert cli("approvals", "--json").json["approvals"] == []
    assert "no pending approvals" in cli("approvals").err


def started(cli: Cli, here: Path, *tasks: dict[str, Any]) -> str:
    assert cli("run", write(here, *tasks), *KNOWN).code == 8
    return str(cli("ps", "--json").json["runs"][0]["run"])


def test_signals(cli: Cli, here: Path) -> None:
    wait = {"signal": "go", "keep": False}
    run = started(
        cli,
        here,
        {"name": "a", "wait_for": wait},
        call("b", "a", parameters={"got": "{{ tasks.a.result.n }}"}),
    )
    assert cli("signal", run, "stop", *KNOWN).code == 3
    assert cli("signal", run, "go", "--data", "{n: 1}", *KNOWN).code == 2
    assert cli("signal", run, "go", "--data", '{"n": 1}', "--id", "x", *KNOWN).code == 0
    assert ledger(here) == ["b {'got': 1}"]


@pytest.mark.parametrize(
    ("says", "status", "calls"),
    [
        (("--succeeded", "--result", '{"paid": true}'), "completed", 1),
        (("--failed", "--reason", "the bank says so"), "failed", 1),
        (("--retry",), "completed", 2),
    ],
)
def test_a_call_that_nobody_knows_about(
    cli: Cli, here: Path, start: Start, says: tuple[str, ...], status: str, calls: int
) -> None:
    hang = 'import os, time\nif not os.path.exists("hung"):\n    open("hung", "w").close()\n'
    file = write(here, call("pay"))
    (here / "agents.py").write_text(
        AGENTS.replace("    return parameters", "    hang()\n    return parameters")
        + "def hang():\n    "
        + hang.replace("\n", "\n    ")
        + "    time.sleep(60)\n"
    )
    process = start("run", file, *KNOWN, "--home", "home")
    until = time.monotonic() + 20
    while not (here / "hung").exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert cli("resume", *KNOWN).code == 8
    run = cli("ps", "--json").json["runs"][0]["run"]
    assert cli("resolve", run, "pay", *KNOWN).code == 2
    assert cli("resolve", run, "pay", "--retry", "--result", "1", *KNOWN).code == 2
    assert len(ledger(here)) == 1
    done = cli("resolve", run, "pay", *says, *KNOWN, "--json")
    assert done.json["status"] == status
    assert len(ledger(here)) == calls
    assert cli("resolve", run, "pay", *says, *KNOWN).code == 3
