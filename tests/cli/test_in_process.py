"""What commands do as an owner, beside one, when interrupted, and on a terminal.

Here they run in this process; `test_processes` kills real ones.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agenthive.cli.support.output import format_duration, format_time
from agenthive.cli.support.progress import PlainProgress
from agenthive.queries.journal_reader import EventView
from tests.cli.conftest import Cli, workflow
from tests.cli.test_processes import Start, chain, wait_for_lines

pytestmark = pytest.mark.slow
"""Many of its tests start processes or wait."""

KNOWN = ("--agents", "agents.py")


class Screen(io.StringIO):
    """A standard error that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def later(here: Path) -> Iterator[Callable[..., None]]:
    """Send this process signals once the ledger has so many lines."""
    threads: list[threading.Thread] = []

    def watch(count: int, *numbers: int) -> None:
        def wait() -> None:
            wait_for_lines(here, count)
            for number in numbers:
                os.kill(os.getpid(), number)
                time.sleep(0.5)

        threads.append(threading.Thread(target=wait))
        threads[-1].start()

    yield watch
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_drains(
    cli: Cli, here: Path, later: Callable[..., None], number: int
) -> None:
    chain(here, "w.json", 20, 0.05)
    later(2, number)
    result = cli("run", "w.json", *KNOWN, "--json")
    assert result.code == 130
    assert "press Ctrl-C again to stop now" in result.err
    assert 2 <= result.json["completed_tasks"] < 20
    done = len((here / "ledger").read_text().splitlines())
    assert done == result.json["completed_tasks"], "what was under way has ended and counts"
    result = cli("resume", *KNOWN, "--json")
    assert (result.code, result.json["runs"][0]["completed_tasks"]) == (0, 20)
    assert len((here / "ledger").read_text().splitlines()) == 20


def test_second_interrupt_stops_at_once(cli: Cli, here: Path, later: Callable[..., None]) -> None:
    slow = {"name": "slow", "agent": "sleep", "parameters": {"seconds": 30}, "depends_on": ["t"]}
    (here / "w.json").write_text(workflow({"name": "t", "agent": "sleep"}, slow))
    later(1, signal.SIGINT, signal.SIGINT)
    began = time.monotonic()
    result = cli("run", "w.json", *KNOWN)
    assert result.code == 130
    assert time.monotonic() - began < 15
    assert "Workflow not finished, status: running" in result.out
    assert "the run has not ended:" in result.err
    assert "next: agenthive resume" in result.err


def test_work_until_idle(cli: Cli, here: Path, later: Callable[..., None]) -> None:
    chain(here, "w.json", 6)
    later(1, signal.SIGINT)
    run = cli("run", "w.json", *KNOWN, "--json").json["run_id"]
    result = cli("work", "--until-idle", *KNOWN)
    assert (result.code, result.out) == (0, "")
    assert "1 runs resumed" in result.err
    assert f"{run}  w.json: open" in result.err
    assert f"{run}  w.json: completed, 6/6 tasks" in result.err
    assert "0 runs resumed" in cli("work", "--until-idle").err


def test_worker_that_is_told_to_leave(cli: Cli, here: Path) -> None:
    def leave() -> None:
        for _ in range(1000):
            if (here / "home" / "door").exists():
                os.kill(os.getpid(), signal.SIGTERM)
                return
            time.sleep(0.02)

    teller = threading.Thread(target=leave)
    teller.start()
    result = cli("work")
    teller.join()
    assert result.code == 0
    assert "interrupted: waiting for calls in flight to finish" in result.err


def test_beside_an_owner(cli: Cli, here: Path, start: Start) -> None:
    """Everything goes through the owner, and ends as if we had done it."""
    owner = start("work", *KNOWN, "--home", "home")
    assert owner.stderr is not None
    assert "processing" in owner.stderr.readline()
    chain(here, "w.json", 3, 0.02)
    result = cli("run", "w.json", *KNOWN, "--json")
    assert (result.code, result.json["status"]) == (0, "completed")
    assert cli("resume", "--json").json["runs"] == []
    result = cli("work")
    assert result.code == 5
    assert "another process owns the home" in result.err
    assert f"process {owner.pid}" in cli("doctor").out
    chain(here, "long.json", 3, 20)
    asked = threading.Thread(target=_cancel_soon, args=(here,))
    asked.start()
    result = cli("run", "long.json", *KNOWN, "--json")
    asked.join()
    assert (result.code, result.json["status"]) == (130, "cancelled")
    owner.send_signal(signal.SIGTERM)
    assert owner.wait(20) == 0


def _cancel_soon(here: Path) -> None:
    import asyncio

    from agenthive.hive import Hive, open_journal
    from agenthive.infra.home import Home
    from agenthive.ipc.client import ControlClient

    async def ask() -> None:
        for _ in range(400):
            async with open_journal(here / "home") as archive:
                open_ones = await archive.list_runs(unfinished=True)
            if open_ones:
                owner = ControlClient(Home(here / "home")).proxy_for(Hive)
                await owner.cancel(open_ones[0].run, reason="enough")
                return
            await asyncio.sleep(0.05)

    asyncio.run(ask())


def test_owner_that_is_killed_leaves_its_run_to_us(cli: Cli, here: Path, start: Start) -> None:
    owner = start("work", *KNOWN, "--home", "home")
    assert owner.stderr is not None
    assert "processing" in owner.stderr.readline()
    chain(here, "w.json", 8)

    def kill() -> None:
        wait_for_lines(here, 2)
        owner.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    result = cli("run", "w.json", *KNOWN, "--json")
    killer.join()
    assert (result.code, result.json["completed_tasks"]) == (0, 8)


def test_live_view(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal: a bar while it goes, only what failed afterwards, no escapes from outside."""
    screen = Screen()
    (here / "w.json").write_text(
        workflow(
            {"name": "good", "agent": "sleep", "parameters": {"seconds": 1.5}},
            {"name": "bad", "agent": "broken", "parameters": {"say": "ring \x1b[31mred\x07"}},
            failure_strategy="partial_completion_allowed",
            max_parallel=2,
        )
    )
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", screen)
    result = cli("run", "w.json", *KNOWN)
    shown = screen.getvalue()
    assert result.code == 7
    assert "good" in shown
    assert "of 2 tasks done" in shown
    assert "bad failed after" in shown
    assert "\x1b[31mred" not in shown
    assert "\x07" not in shown
    assert "\\x1b[31mred\\x07" in shown


def test_several_runs_beside_each_other(cli: Cli, here: Path) -> None:
    import asyncio

    from agenthive import AgentRegistry, Hive, load

    chain(here, "w.json", 2, 0.3)

    async def leave_open() -> list[str]:
        directory = AgentRegistry()
        directory.load_file(here / "agents.py")
        async with Hive.open(here / "home", agents=directory) as hive:
            return [await hive.submit(load(here / "w.json").spec) for _ in range(2)]

    runs = asyncio.run(leave_open())
    result = cli("resume", *KNOWN)
    assert result.code == 0
    for run in runs:
        assert f"{run} w.json" in result.out
        assert f"{run}  w.json: completed, 2/2 tasks" in result.err
    (here / "empty").mkdir()
    assert cli("resume", home="empty").out == "no unfinished runs\n"


def test_no_runs_and_nothing_to_sum(cli: Cli, here: Path) -> None:
    assert "no runs in" in cli("ps").err
    assert "success rate" in cli("ps", "--metrics").out
    assert not (here / "home").exists()


def test_events_are_followed_to_the_end(cli: Cli, here: Path, start: Start) -> None:
    chain(here, "w.json", 4)
    owner = start("run", "w.json", *KNOWN, "--home", "home", "--json")
    wait_for_lines(here, 1)
    (row,) = cli("ps", "--json").json["runs"]
    facts = [
        json.loads(line) for line in cli("events", row["run"], "-f", "--json").out.splitlines()
    ]
    assert [fact["seq"] for fact in facts] == list(range(1, len(facts) + 1))
    assert facts[-1]["fact"]["type"] == "task.succeeded"
    assert owner.wait(20) == 0


def test_tokens_are_told(cli: Cli, here: Path) -> None:
    agent = {"name": "m", "type": "ai_agent", "endpoint": "offline://extractive"}
    task = {"name": "t", "agent": "m", "action": "say", "parameters": {"text": "Bees dance."}}
    flow = {"agenthive": 1, "name": "w", "agents": [agent], "tasks": [task]}
    (here / "w.json").write_text(json.dumps(flow))
    result = cli("run", "w.json")
    (row,) = cli("ps", "--json").json["runs"]
    lines = cli("events", row["run"], "--json").out.splitlines()
    usages = [json.loads(line)["fact"].get("usage") or {} for line in lines]
    used = [n for u in usages for n in (u.get("input_tokens", 0), u.get("output_tokens", 0)) if n]
    assert len(used) == 2
    assert f"\n{sum(used)} tokens, $0.00\n" in result.err
    shown = cli("show", row["run"]).out
    assert f"\n{sum(used)} tokens, $0.00\n" in shown
    assert "m: say\n" in shown


def test_what_never_began_is_told(cli: Cli, here: Path) -> None:
    agent = {"name": "m", "type": "custom", "endpoint": "custom://echo", "max_cost": 2.0}
    task = {"name": "t", "agent": "m", "action": "say"}
    flow = {"agenthive": 1, "name": "w", "budget": 1.0, "agents": [agent], "tasks": [task]}
    (here / "w.json").write_text(json.dumps(flow))
    result = cli("run", "w.json", *KNOWN)
    assert result.code == 6
    assert "t                        failed     the call may cost $2.00" in result.err


def test_counts_of_many_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    view = PlainProgress("w", 100)
    view._next_counts = 0
    for number in range(3):
        data = json.dumps({"task": f"t{number}", "agent": "a", "attempt": 1}).encode()
        view.show_event(
            EventView(run="r", seq=number, at=1, type="task.started", text="", data=data)  # type: ignore[arg-type]
        )
    view.close()
    assert capsys.readouterr().err.splitlines() == [
        "  0 of 100 tasks done, 1 running",
        "  0 of 100 tasks done, 3 running",
    ]


def test_times_for_people() -> None:
    assert [format_duration(s) for s in (0.004, 59, 61, 3600, 7325)] == [
        "0.00 s",
        "59.00 s",
        "1 min 01 s",
        "1 h 00 min",
        "2 h 02 min",
    ]
    assert format_time(None) == "-"
    assert len(format_time(1_700_000_000_000_000)) == 19
