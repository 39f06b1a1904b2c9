"""Commands for tests: in this process (`cli`) or in one of their own (`start`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from agenthive.cli import main

AGENTS = """
import asyncio, os, time
from agenthive import NonRetryableError

async def echo(action, parameters):
    return {"action": action, **parameters}

async def sleep(parameters, call):
    await asyncio.sleep(parameters.get("seconds", 0.1))
    while not os.path.exists(parameters.get("until", ".")):
        await asyncio.sleep(0.01)
    with open(os.environ["LEDGER"], "a") as ledger:
        ledger.write(f"{call.task} {call.key}\\n")
    return call.task

async def broken(parameters):
    raise ValueError(parameters.get("say", "it broke"))

def blocking(parameters):
    time.sleep(parameters["seconds"])

AGENTS = {"echo": echo, "sleep": sleep, "broken": broken, "blocking": blocking}
"""


class Result(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


Cli = Callable[..., Result]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with agents.py in it, and no settings from outside."""
    for name in [name for name in os.environ if name.startswith("AGENTHIVE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("LEDGER", str(tmp_path / "ledger"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "agents.py").write_text(AGENTS)
    return tmp_path


@pytest.fixture
def cli(here: Path, capfd: pytest.CaptureFixture[str]) -> Cli:
    """Run a command in this process, with ``--home home`` unless it says otherwise."""

    def run(*words: str, home: str | None = "home") -> Result:
        capfd.readouterr()
        given = list(words)
        if home is not None and "--home" not in given:
            given += ["--home", home]
        with pytest.raises(SystemExit) as ended:
            main.main(given, prog_name="agenthive")
        out, err = capfd.readouterr()
        code = ended.value.code
        return Result(code if isinstance(code, int) else 1, out, err)

    return run


@pytest.fixture
def start(here: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a command as a process of its own; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def run(*words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", "from agenthive.cli import main; main()", *words],
            cwd=here,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def workflow(*tasks: dict[str, Any], **keys: Any) -> str:
    """A workflow file as JSON: tasks at custom agents, native dialect."""
    used = sorted({task["agent"] for task in tasks if "agent" in task})
    agents = [{"name": n, "type": "custom", "endpoint": f"custom://{n}"} for n in used]
    call = {"action": "go", "retry_config": {"max_attempts": 1}}
    full = [{**call, **task} if "agent" in task else task for task in tasks]
    return json.dumps({"agenthive": 1, "name": "flow", **keys, "agents": agents, "tasks": full})
