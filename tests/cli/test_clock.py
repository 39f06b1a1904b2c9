"""The clock of real processes is wrong for a while: a year or a day ahead, or a day back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
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
