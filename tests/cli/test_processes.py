"""Several processes on one home: handing over, taking over, interruption, kills."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from agenthive import AgentRegistry, Hive, Workflow
from agenthive.cli.support.session import Session
from agenthive.infra.home import Home
from agenthive.ipc.client import ControlClient
from agenthive.queries.journal_reader import EventView
from tests.cli.conftest import Cli, workflow

pytestmark = pytest.mark.slow
"""Most of its tests take more than a second."""

Start = Callable[..., "subprocess.Popen[str]"]
RUN = ("--agents", "agents.py", "--home", "home", "--json")


GO = "go"
"""The file that lets the tasks continue which are held."""


def chain(here: Path, name: str, tasks: int, seconds: float = 0.1, held: int | None = None) -> str:
    """A file with a chain of sleeping tasks; those from number ``held`` on wait for `GO`."""
    until = [GO if held is not None and i >= held else "." for i in range(tasks)]
    steps = [
        {
            "name": f"t{i}",
            "agent": "sleep",
            "parameters": {"seconds": seconds, "until": until[i]},
            "depends_on": [f"t{i - 1}"] if i else [],
        }
        for i in range(tasks)
    ]
    (here / name).write_text(workflow(*steps, name=name))
    return name


def lines(here: Path) -> list[str]:
    ledger = here / "ledger"
    return ledger.read_text().splitlines() if ledger.exists() else []


def wait_for_lines(here: Path, count: int) -> None:
    until = time.monotonic() + 20
    while len(lines(here)) < count:
        assert time.monotonic() < until, f"only {len(lines(here))} lines"
        time.sleep(0.01)


def wait_for_callers(here: Path, count: int) -> None:
    """Until so many are connected to the owner, we among them."""
    until = time.monotonic() + 20
    caller = ControlClient(Home(here / "home"))
    while asyncio.run(caller.status())["callers"] < count:
        assert time.monotonic() < until
        time.sleep(0.05)


def finish(process: subprocess.Popen[str], timeout: float = 30) -> tuple[int, dict, str]:
    out, err = process.communicate(timeout=timeout)
    return process.returncode, json.loads(out) if out else {}, err


def test_second_process_hands_its_run_to_the_first(here: Path, start: Start, cli: Cli) -> None:
    first = start("run", chain(here, "long.json", 4, held=1), *RUN)
    wait_for_lines(here, 1)
    code, found, _ = finish(start("run", chain(here, "short.json", 2), *RUN))
    assert (code, found["status"]) == (0, "completed")
    assert first.poll() is None, "the owner was still at work"
    (here / GO).touch()
    code, found, _ = finish(first)
    assert (code, found["completed_tasks"]) == (0, 4)
    assert len(lines(here)) == 6 == len(set(lines(here)))
    assert cli("doctor").code == 0


def test_run_for_an_owner_without_the_agent(here: Path, start: Start) -> None:
    (here / "other.py").write_text("AGENTS = {'other': lambda: 1}")
    owner = start("work", "--home", "home")
    assert owner.stderr is not None
    assert "processing" in owner.stderr.readline()
    code, found, _ = finish(start("run", chain(here, "w.json", 1), *RUN))
    assert code == 5
    assert "no agent is registered for custom://sleep" in found["error"]["message"]
    owner.send_signal(signal.SIGTERM)
    assert owner.wait(20) == 0


def test_watcher_takes_over_from_a_killed_owner(here: Path, start: Start) -> None:
    owner = start("work", "--agents", "agents.py", "--home", "home")
    assert owner.stderr is not None
    owner.stderr.readline()
    watcher = start("run", chain(here, "w.json", 6, held=3), *RUN)
    wait_for_lines(here, 3)
    owner.kill()
    (here / GO).touch()
    code, found, _ = finish(watcher)
    assert (code, found["completed_tasks"]) == (0, 6)
    assert sum(task["attempts"] for task in found["tasks"].values()) <= 7
    assert 6 <= len(lines(here)) <= 7
    assert len(set(lines(here))) == 6, "the call that was cut off kept its key"


def test_owner_that_ends_lets_its_visitor_go_on(here: Path, start: Start) -> None:
    owner = start("run", chain(here, "short.json", 2, held=1), *RUN)
    wait_for_lines(here, 1)
    visitor = start("run", chain(here, "long.json", 8), *RUN)
    wait_for_lines(here, 2)
    (here / GO).touch()
    assert finish(owner)[0] == 0
    assert len(lines(here)) < 10, "it left before the run of its visitor ended"
    code, found, _ = finish(visitor)
    assert (code, found["completed_tasks"]) == (0, 8)
    assert len(lines(here)) == 10 == len(set(lines(here))), "the owner drained before it left"


def test_interrupt_drains_and_resume_goes_on(here: Path, start: Start, cli: Cli) -> None:
    process = start(
        "run", chain(here, "w.json", 10, 0.05, 2), "--agents", "agents.py", "--home", "home"
    )
    wait_for_lines(here, 2)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None, "it waits for the call under way"
    (here / GO).touch()
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "waiting for calls in flight to finish" in err
    assert "next: agenthive resume " in err
    assert "not finished" in out
    before = lines(here)
    assert 3 <= len(before) < 10, "the call under way was let go to its end"
    done = cli("resume", "--agents", "agents.py", "--json")
    assert (done.code, done.json["runs"][0]["status"]) == (0, "completed")
    assert len(lines(here)) == 10, "nothing was done twice"


def test_second_interrupt_stops_at_once(here: Path, start: Start, cli: Cli) -> None:
    process = start("run", chain(here, "w.json", 2, 60), *RUN)
    until = time.monotonic() + 20
    while not (here / "home" / "journal.db").exists() or not _started(cli):
        assert time.monotonic() < until
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None, "it waits for the call under way"
    process.send_signal(signal.SIGINT)
    code, found, _ = finish(process, 10)
    assert (code, found["status"]) == (130, "running")
    assert cli("cancel", found["run_id"], "--agents", "agents.py").code == 0


def _started(cli: Cli) -> bool:
    rows = cli("ps", "--json").json["runs"]
    return bool(rows) and "task.started" in cli("events", rows[0]["run"]).out


def test_work_until_idle(here: Path, start: Start, cli: Cli) -> None:
    first = start("run", chain(here, "w.json", 6), *RUN)
    wait_for_lines(here, 2)
    first.kill()
    first.wait()
    worker = start("work", "--until-idle", "--agents", "agents.py", "--home", "home")
    _, err = worker.communicate(timeout=30)
    assert worker.returncode == 0
    assert "1 runs resumed" in err
    assert "completed, 6/6 tasks" in err
    assert len(set(lines(here))) == 6
    assert cli("resume", "--json").json["runs"] == []


def test_home_has_one_worker(here: Path, start: Start) -> None:
    owner = start("work", "--home", "home")
    assert owner.stderr is not None
    owner.stderr.readline()
    other = start("work", "--home", "home")
    _, err = other.communicate(timeout=20)
    assert other.returncode == 5
    assert "another process owns the home" in err


def test_commands_reach_the_owner(here: Path, start: Start, cli: Cli) -> None:
    owner = start("run", chain(here, "w.json", 50), *RUN)
    wait_for_lines(here, 1)
    [row] = cli("ps", "--open", "--json").json["runs"]
    assert f"process {owner.pid}" in cli("doctor").out
    waiting = cli("why", row["run"], "--json").json["reasons"]
    assert {reason["kind"] for reason in waiting} == {"call", "dependency"}
    resumed = start("resume", *RUN)
    wait_for_callers(here, 2)
    assert cli("cancel", row["run"], "--reason", "enough").code == 0
    code, found, _ = finish(resumed)
    assert (code, found["runs"][0]["status"]) == (130, "cancelled")
    code, found, _ = finish(owner)
    assert (code, found["status"]) == (130, "cancelled")


def test_several_runs_are_resumed_at_once(here: Path, start: Start, cli: Cli) -> None:
    owner = start("work", "--agents", "agents.py", "--home", "home")
    assert owner.stderr is not None
    owner.stderr.readline()
    visitors = [start("run", chain(here, f"w{i}.json", 8, 0.05, 1), *RUN) for i in range(3)]
    until = time.monotonic() + 20
    while sum(line.startswith("t0 ") for line in lines(here)) < len(visitors):
        assert time.monotonic() < until, "each run has ended its first task"
        time.sleep(0.01)
    for process in (*visitors, owner):
        process.kill()
    owner.wait()
    (here / GO).touch()
    done = cli("resume", "--agents", "agents.py")
    assert done.code == 0, done.err
    assert done.out.count("Completed tasks: 8/8") == 3
    assert done.err.count("completed, 8/8 tasks") == 3


@pytest.mark.skipif(os.geteuid() == 0 and not hasattr(os, "mkfifo"), reason="needs permissions")
def test_home_that_cannot_be_written(here: Path, cli: Cli) -> None:
    (here / "file").write_text("not a folder")
    (here / "w.json").write_text(workflow({"name": "t", "agent": "echo"}))
    result = cli("run", "w.json", "--agents", "agents.py", "--home", "file/home")
    assert result.code == 10
    assert "cannot be used" in result.err
    assert "Traceback" not in result.err


def test_readers_do_not_disturb_an_owner_that_begins(here: Path, start: Start, cli: Cli) -> None:
    """Many readers look at a journal while it is being made; neither side notices."""
    for number in range(3):
        home = here / f"home{number}"
        owner = start(
            "run",
            chain(here, "w.json", 1, 0.01),
            "--agents",
            "agents.py",
            "--json",
            "--home",
            str(home),
        )
        while owner.poll() is None:
            assert cli("ps", "--home", str(home)).code == 0
        assert finish(owner)[0] == 0


def test_owner_that_is_stopped_keeps_nobody(
    here: Path, start: Start, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = start("work", "--agents", "agents.py", "--home", "home")
    until = time.monotonic() + 20
    while not (here / "home" / "door").exists():
        assert time.monotonic() < until
        time.sleep(0.01)
    owner.send_signal(signal.SIGSTOP)
    try:
        run = start("run", chain(here, "one.json", 1), *RUN)
        time.sleep(1)
        assert run.poll() is None, "it waits for the owner"
        run.send_signal(signal.SIGINT)
        assert run.wait(timeout=5) == 130
        monkeypatch.setattr("agenthive.ipc.client.HANDSHAKE_SECONDS", 0.2)
        found = cli("doctor")
        assert found.code == 1
        assert "which does not answer" in found.out
    finally:
        owner.send_signal(signal.SIGCONT)


async def leave_unfinished(runs: int) -> None:
    agents = AgentRegistry()
    agents.register("sleep", asyncio.Event().wait)
    made = Workflow("flow")
    made.task("t", agent=made.agent("s", type="custom", endpoint="custom://sleep"), action="go")
    async with Hive.open("home", agents=agents) as hive:
        for _ in range(runs):
            await hive.submit(made.build())


def test_more_runs_are_followed_than_an_owner_hears_callers(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agenthive.cli.support.follow.WATCHED", 3)
    asyncio.run(leave_unfinished(5))
    watched = 0
    most = 0
    ask = Session.watch

    async def watch(self: Session, run: str, after: int = 0) -> AsyncIterator[EventView]:
        nonlocal watched, most
        watched += 1
        most = max(most, watched)
        await asyncio.sleep(0.05)
        async for fact in ask(self, run, after):
            yield fact
        watched -= 1

    monkeypatch.setattr(Session, "watch", watch)
    assert cli("resume", "--agents", "agents.py").code == 0
    assert most == 3
