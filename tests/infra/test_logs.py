"""Log lines: on standard error, structured, and free of charge until something is logged."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from agenthive.infra import logging as logs


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    logs.configure()


def test_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json")
    logs.log("info", "run started", run="r1", tasks=3)
    logs.log("error", "disk full", path="/x", why='a "quote"\nand a line')
    out, err = capsys.readouterr()
    assert out == ""
    first, second = (json.loads(line) for line in err.splitlines())
    at = datetime.datetime.fromisoformat(first.pop("timestamp"))
    assert abs((datetime.datetime.now(datetime.UTC) - at).total_seconds()) < 60
    assert first == {"event": "run started", "level": "info", "run": "r1", "tasks": 3}
    assert (second["level"], second["why"]) == ("error", 'a "quote"\nand a line')


@pytest.mark.parametrize("least", list(logs.LEVELS))
def test_levels(least: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(least, "json")
    for level in logs.LEVELS:
        logs.log(level, "said")
    shown = [json.loads(line)["level"] for line in capsys.readouterr().err.splitlines()]
    names = list(logs.LEVELS)
    assert shown == names[names.index(least) :]
    assert [level for level in names if logs.is_shown(level)] == shown


@pytest.mark.parametrize("form", ["console", "auto"])
def test_line_for_people(
    form: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    logs.configure("warning", form)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    logs.log("warning", "slow", task="t1")
    out, err = capsys.readouterr()
    assert out == ""
    assert "slow" in err
    assert "t1" in err
    with pytest.raises(json.JSONDecodeError):
        json.loads(err)


def test_no_terminal_means_json(capsys: pytest.CaptureFixture[str]) -> None:
    logs.log("warning", "slow")
    assert json.loads(capsys.readouterr().err)["event"] == "slow"


def test_later_configuration_wins(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("error", "json")
    logs.log("warning", "unseen")
    logs.configure("debug", "json")
    logs.log("debug", "seen")
    assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == ["seen"]


def test_unknown_level() -> None:
    with pytest.raises(KeyError):
        logs.configure("loud")


def test_costs_nothing_until_something_is_logged() -> None:
    script = (
        "import sys; from agenthive.infra.logging import log; log('debug', 'x');"
        "assert 'structlog' not in sys.modules; log('error', 'y');"
        "assert 'structlog' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stderr)["event"] == "y"


def test_nobody_takes_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    full = open("/dev/full", "w")  # noqa: SIM115 - closing it fails too
    monkeypatch.setattr(sys, "stderr", full)
    logs.configure("info", "json")
    logs.log("error", "the journal failed")
    logs.log("error", "again")
    with pytest.raises(OSError, match="No space"):
        full.close()
