"""`agenthive schedule`: through the command line, fired by a real process that is killed."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, workflow

KNOWN = ("--agents", "agents.py")
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def tick(here: Path) -> str:
    """A file with a workflow that needs to know when it was planned."""
    task = {"name": "t", "agent": "sleep", "parameters": {"seconds": 0, "at": "{{ inputs.when }}"}}
    inputs = {"when": {"type": "string"}, "count": {"type": "integer", "default": 1}}
    (here / "tick.json").write_text(workflow(task, name="tick", inputs=inputs))
    return "tick.json"


def set_it(cli: Cli, tick: str, *rule: str, name: str = "tick") -> int:
    words = ("schedule", "set", name, tick, "--time-input", "when", *KNOWN)
    return cli(*words, *(rule or ("--every", "1s"))).code


def test_set_list_show_pause_resume_remove(cli: Cli, tick: str) -> None:
    assert cli("schedule", "list").err == "no schedules\n"
    assert set_it(cli, tick, "--cron", "30 9 * * mon", "--zone", "Europe/Berlin") == 0
    listed = cli("schedule", "list")
    assert "30 9 * * mon (Europe/Berlin)" in listed.out
    row = cli("schedule", "list", "--json").json["schedules"][0]
    assert (row["name"], row["workflow"], row["paused"]) == ("tick", "tick", False)
    planned = datetime.fromtimestamp(row["next"] / 1e6).astimezone()
    assert planned.isoweekday() == 1
    paused = cli("schedule", "pause", "tick", "--reason", "holidays")
    assert paused.out == "tick: paused\n"
    assert "paused" in cli("schedule", "list").out
    assert cli("schedule", "resume", "tick", "--json").json["done"] == "resumed"
    shown = cli("schedule", "show", "tick")
    assert [line.split()[2] for line in shown.out.splitlines()[8:]] == ["set", "paused", "resumed"]
    assert cli("schedule", "remove", "tick").code == 0
    assert cli("schedule", "show", "tick").code == 3


def test_triggered_by_hand(cli: Cli, tick: str) -> None:
    set_it(cli, tick, "--every", "1d", "--input", "count=3")
    done = cli("schedule", "trigger", "tick", *KNOWN, "--json").json
    assert cli("resume", *KNOWN).code == 0
    assert cli("show", done["run_id"], "--json").json["status"] == "completed"
    first = json.loads(cli("events", done["run_id"], "--json").out.splitlines()[0])["fact"]
    assert first["inputs"]["count"] == 3


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (("--cron", "0 0 30 2 *"), "never fires: its months have no day 30"),
        (("--cron", "0 0 * * *", "--zone", "Europe/Berln"), "there is no time zone"),
        (("--cron", "99 * * * *"), "'99 * * * *'"),
        (("--every", "0.1s"), "is not an interval of at least 1 second"),
        (("--every", "1h", "--cron", "@daily"), "either a cron expression or an interval"),
        (("--every", "1h", "--start", "soon"), "'soon' is not a valid time"),
        (("--every", "1h", "--input", "when=now"), "receives the scheduled time; do not pass"),
        (("--every", "1h", "--input", "count=many"), "count"),
    ],
)
def test_what_cannot_be_set(
    cli: Cli, here: Path, tick: str, rule: tuple[str, ...], says: str
) -> None:
    done = cli("schedule", "set", "tick", tick, "--time-input", "when", *KNOWN, *rule)
    assert (done.code, says in done.err) == (2, True), done.err
    assert cli("schedule", "list", "--json").json["schedules"] == []


def test_what_is_not_there(cli: Cli, here: Path) -> None:
    for what in ("pause", "resume", "remove", "trigger", "show"):
        done = cli("schedule", what, "nope")
        assert (done.code, "there is no schedule 'nope'" in done.err) == (3, True)


@pytest.mark.slow
def test_each_time_starts_one_run_though_its_process_is_killed(
    cli: Cli, here: Path, start: Start, tick: str
) -> None:
    assert set_it(cli, tick) == 0
    ledger = here / "ledger"
    for count in (1, 2, 4):
        worker = start("work", *KNOWN, "--home", "home")
        until = time.monotonic() + 30
        # A call that was killed is made again, under its key: lines that are the same are one.
        while not ledger.exists() or len(set(ledger.read_text().splitlines())) < count:
            assert time.monotonic() < until
            time.sleep(0.02)
        worker.kill()
        worker.wait()
    facts = cli("schedule", "show", "tick", "--json", "-n", "1000").json["facts"]
    fired = [fact["planned"] for fact in facts if "run" in fact]
    assert len(fired) >= 4
    assert len(set(fired)) == len(fired)
    skipped = [n for f in facts if "count" in f for n in range(f["first"], f["last"] + 1, 10**6)]
    waits = {f["planned"] for f in facts if "planned" in f}
    dealt = sorted({*waits, *skipped})
    assert dealt == list(range(dealt[0], dealt[-1] + 1, 10**6)), "a planned time is unaccounted for"
    runs = cli("ps", "--json", "-n", "1000").json["runs"]
    assert sorted(run["run"] for run in runs) == sorted(f["run"] for f in facts if "run" in f)
