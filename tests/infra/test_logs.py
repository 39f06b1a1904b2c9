"""Log lines: on standard error, as JSON or for people, from a level on."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from agenthive.infra import logs


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Leave the settings as they are when nobody has said anything."""
    yield
    logs.configure()


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json")
    logs.log("warning", "disk\nfull", run="r1", left=0)
    logs.log("debug", "not shown")
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()  # a line feed in a message makes no second line
    found = json.loads(line)
    assert found.pop("timestamp").endswith("Z")
    assert found == {"event": "disk\nfull", "level": "warning", "run": "r1", "left": 0}


def test_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("warning", "console")
    logs.log("error", "it broke", why="x")
    out, err = capsys.readouterr()
    assert out == ""
    assert "it broke" in err
    assert not err.startswith("{")


@pytest.mark.parametrize(
    ("least", "shown"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_levels(capsys: pytest.CaptureFixture[str], least: str, shown: list[str]) -> None:
    logs.configure(least, "json")
    for level in logs.LEVELS:
        logs.log(level, "x")
    assert [json.loads(line)["level"] for line in capsys.readouterr().err.splitlines()] == shown
    assert [level for level in logs.LEVELS if logs.shows(level)] == shown


def test_not_on_a_terminal_it_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("warning", "auto")
    logs.log("warning", "x")
    assert json.loads(capsys.readouterr().err)["event"] == "x"
