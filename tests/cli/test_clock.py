"""The clock of real processes is wrong for a while: a year or a day ahead, or a day back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.requires import find_faketime, require

pytestmark = pytest.mark.slow

PATIENCE = 60
FILE = "agenthive: 1\nname: {name}\ntasks: [{{name: t, {wait}}}]\n"
AT_ONCE = "delay: 0"


class ClockHome:
    """A home, and processes whose clock is ``offset`` ahead, such as ``+365d``."""

    def __init__(self, folder: Path) -> None:
        require("faketime")
        self.folder, self.home = folder, folder / "home"

    def write(self, name: str, wait: str) -> str:
        file = self.folder / f"{name}.yaml"
        file.write_text(FILE.format(name=name, wait=wait))
        return str(file)

    def start(self, *arguments: str, offset: str = "") -> subprocess.Popen[str]:
        environment = dict(os.environ)
        if offset:
            environment |= {
                "LD_PRELOAD": find_faketime(),
                "FAKETIME": offset,
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
        return subprocess.Popen(
            [sys.executable, "-m", "agenthive", *arguments, "--home", str(self.home)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def do(self, *arguments: str, offset: str = "") -> str:
        """What a command prints that succeeds."""
        process = self.start(*arguments, offset=offset)
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, (arguments, process.returncode, out, err)
        return out

    def clock_finding(self) -> str:
        checks: list[dict[str, Any]] = json.loads(self.do("doctor", "--json"))["checks"]
        return next(check["detail"] for check in checks if check["what"] == "clock")


@pytest.mark.parametrize(("offset", "text"), [("+365d", "8759 h"), ("+1d", "23 h")])
def test_after_a_clock_that_was_ahead(tmp_path: Path, offset: str, text: str) -> None:
    home = ClockHome(tmp_path)
    home.do("run", home.write("ahead", AT_ONCE), offset=offset)
    assert "behind the last record" in home.clock_finding(), "before any process has recorded it"
    later = (datetime.now(UTC) + timedelta(hours=12)).strftime("%Y-%m-%dT%H:%M:%SZ")
    process = home.start("run", home.write("dated", f'until: "{later}"'))
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(5)
    process.terminate()
    process.communicate(timeout=PATIENCE)
    assert f"was set back by {text}" in home.clock_finding()
    # A length of time is not longer, and the age of the run of the future is known.
    home.do("run", home.write("short", "delay: 1"))
    gone = json.loads(home.do("gc", "--older-than", "0s", "--json"))
    assert gone["runs"] == 2


def test_after_a_clock_that_was_behind(tmp_path: Path) -> None:
    home = ClockHome(tmp_path)
    home.do("run", home.write("behind", AT_ONCE), offset="-1d")
    past = (datetime.now(UTC) - timedelta(hours=12)).strftime("%Y-%m-%dT%H:%M:%SZ")
    home.do("run", home.write("dated", f'until: "{past}"'))
    assert "never set back" in home.clock_finding()
    gone = json.loads(home.do("gc", "--older-than", "12h", "--json"))
    assert gone["runs"] == 1, "the run of yesterday's clock is a day old"


class LiveClockHome(ClockHome):
    """A home whose owner, and every command, go by a clock that can be set while they work."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.clock, self.log = folder / "clock", folder / "owner.log"
        self.calls = folder / "calls"
        self.calls.touch()
        self.clock.write_text("+0\n")
        code = (
            "def note(parameters, call):\n"
            f"    open({str(self.calls)!r}, 'a').write(call.task + '\\n')\n"
            "AGENTS = {'note': note}\n"
        )
        (folder / "agents.py").write_text(code)
        self.agents = ("--agents", str(folder / "agents.py"))

    def start(self, *arguments: str, offset: str = "") -> subprocess.Popen[str]:
        environment = os.environ | {
            "LD_PRELOAD": find_faketime(),
            "FAKETIME_TIMESTAMP_FILE": str(self.clock),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        with self.log.open("a") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "agenthive", *arguments, "--home", str(self.home)],
                stdout=subprocess.PIPE,
                stderr=log if arguments[0] == "work" else subprocess.PIPE,
                text=True,
                env=environment,
            )

    def set_clock(self, offset: str) -> None:
        """Set the clock, and wait until the owner has seen it."""
        seen = self.log.read_text().count("the clock was set")
        new = self.clock.with_suffix(".new")
        new.write_text(offset + "\n")
        new.replace(self.clock)
        self.wait_until(lambda: self.log.read_text().count("the clock was set") > seen)

    def wait_until(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.1)

    def submit(self, name: str, wait: dict[str, Any]) -> str:
        """A run at the owner: it waits, then calls an agent. Returns the id of the run."""
        agent = {"name": "note", "type": "custom", "endpoint": "custom://note"}
        call = {"name": name, "agent": "note", "action": "go", "depends_on": ["t"]}
        file = self.folder / f"{name}.json"
        tasks = [{"name": "t", **wait}, call]
        flow = {"agenthive": 1, "name": name, "agents": [agent], "tasks": tasks}
        file.write_text(json.dumps(flow))
        before = self.list_runs()
        follower = self.start("run", str(file), *self.agents, "--quiet")
        self.wait_until(lambda: self.list_runs().keys() - before.keys())
        follower.kill()
        follower.communicate()
        return next(iter(self.list_runs().keys() - before.keys()))

    def list_runs(self) -> dict[str, str]:
        if not (self.home / "journal.db").exists():
            return {}
        return {run["run"]: run["status"] for run in json.loads(self.do("ps", "--json"))["runs"]}

    def list_calls(self) -> list[str]:
        return sorted(self.calls.read_text().split())


def in_time(**parts: float) -> str:
    return (datetime.now(UTC) + timedelta(**parts)).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_the_clock_is_set_while_an_owner_works(tmp_path: Path) -> None:
    home = LiveClockHome(tmp_path)
    owner = home.start("work", *home.agents)
    try:
        home.wait_until(lambda: "processing" in home.log.read_text())
        home.submit("half_a_day", {"until": in_time(hours=12)})
        two_years = home.submit("two_years", {"until": in_time(days=730)})
        approval = {"approval": {"message": "?", "deadline": 172_800, "on_deadline": "approve"}}
        lengths = {
            home.submit("two_days", {"delay": 172_800}),
            home.submit("approved", {"agent": "note", "action": "go", **approval}),
        }
        began = time.monotonic()
        short = home.submit("short", {"delay": 25})
        home.do("run", home.write("ended", AT_ONCE))

        home.set_clock("+365d")
        home.wait_until(lambda: "half_a_day" in home.list_calls())
        assert "short" not in home.list_calls() or time.monotonic() - began > 25
        home.set_clock("+0")
        home.set_clock("-1d")
        home.set_clock("+0")
        home.wait_until(lambda: home.list_runs()[short] == "completed")
        assert time.monotonic() - began > 25, "no shorter; no longer, or it would not have ended"
        assert home.list_calls() == ["half_a_day", "short"]
        open_runs = {run for run, status in home.list_runs().items() if status == "waiting"}
        assert open_runs == {two_years, *lengths}
        assert "was set back by 24 h" in home.clock_finding()
        # No run is old because the clock was wrong for a while.
        assert json.loads(home.do("gc", "--older-than", "1h", "--json"))["runs"] == 0
        home.do("run", home.write("dated", f'until: "{in_time(hours=-12)}"'))
    finally:
        owner.terminate()
        owner.communicate(timeout=PATIENCE)
    assert owner.returncode == 0
