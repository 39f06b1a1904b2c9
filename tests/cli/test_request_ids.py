"""`--request-id`: a command that is repeated is carried out once, and answers the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from agenthive.cli.root import CommandGroup
from tests.cli.conftest import Cli, Result, workflow
from tests.cli.test_processes import Start
from tests.planted.bugs import copy_with_bug, find_bug

pytestmark = pytest.mark.slow

KNOWN = ("--agents", "agents.py")
ID = ("--request-id", "order-4711")
UNCHANGING = {
    "agents", "approvals", "completion", "config", "costs", "doctor", "du", "events",
    "export", "plan", "ps", "replay", "schedule list", "schedule show", "show", "simulate",
    "tools", "validate", "why", "budget show",
}  # fmt: skip
"""Commands that only read."""
ABOUT_THE_OWNER = {"resume", "work"}
"""Commands about the process that owns the home: harmless when repeated."""


def make_file(here: Path, name: str = "w", **changes: object) -> str:
    """Waits for an approval, two signals and the outcome of a call; the limit can be raised."""
    lost = {"agent": "broken", "effect": "once", "max_cost": 0.01}
    tasks = [
        {"name": "ap", "agent": "echo", "approval": True},
        {"name": "s1", "wait_for": "go"},
        {"name": "s2", "wait_for": "go", "depends_on": ["s1"]},
        {"name": "lost", **lost},
        {"name": "later", "agent": "echo", "depends_on": ["s2"], **changes},
    ]
    content = workflow(
        *tasks, name="w", budget={"limit": 1.0}, failure_strategy="continue_on_failure"
    )
    (here / f"{name}.json").write_text(content)
    return f"{name}.json"


@pytest.fixture
def run(cli: Cli, here: Path) -> str:
    """An open run."""
    result = cli("run", make_file(here), *KNOWN, "--json")
    assert result.code == 8, result
    return str(result.json["run_id"])


@pytest.fixture(params=["no-owner", "owner"])
def owner(request: pytest.FixtureRequest, here: Path, start: Start) -> Callable[[], None]:
    """Call it to give the home an owner, in half of the tests."""

    def take_home() -> None:
        if request.param == "owner":
            process = start("work", *KNOWN, "--home", "home")
            assert process.stderr is not None
            assert "processing" in process.stderr.readline()

    return take_home


def events(cli: Cli, run: str, kind: str) -> int:
    """The number of events of a kind in a run."""
    lines = cli("events", run, "--json").out.splitlines()
    return sum(json.loads(line)["fact"]["type"] == kind for line in lines)


def require_conflict(result: Result) -> None:
    assert result.code == 2, result
    assert "the request id 'order-4711' belongs to another request" in result.err
    assert "was not carried out" in result.err


def is_early(result: Result) -> bool:
    return "changed in the meantime" in result.err


def limit(cli: Cli, scope: str) -> int:
    rows = cli("budget", "show", "--all", "--json").json["budgets"]
    return next(int(row["limit"]) for row in rows if row["scope"].startswith(scope))


@pytest.mark.parametrize(
    ("words", "other", "kind"),
    [
        (["signal", "RUN", "go", "--data", "1"], ["--data", "2"], "run.signal_received"),
        (["approve", "RUN", "ap"], ["--comment", "well"], "task.approval_given"),
        (["reject", "RUN", "ap"], ["--comment", "no"], "task.approval_given"),
        (["resolve", "RUN", "lost", "--failed"], ["--reason", "seen"], "task.resolved"),
        (["cancel", "RUN"], ["--reason", "late"], "run.cancel_requested"),
    ],
)
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_request_about_a_run(
    words: list[str],
    other: list[str],
    kind: str,
    form: tuple[str, ...],
    run: str,
    cli: Cli,
    owner: Callable[[], None],
) -> None:
    owner()
    words = [run if word == "RUN" else word for word in words]
    first = cli(*words, *KNOWN, *ID, *form)
    assert first.code == 0, first
    assert cli(*words, *KNOWN, *ID, *form)[:2] == first[:2]
    cli("signal", run, "go", *KNOWN)
    cli("cancel", run, *KNOWN)
    assert cli("show", run, "--json").json["status"] == "cancelled"
    assert cli(*words, *KNOWN, *ID, *form)[:2] == first[:2], "after the run has ended"
    require_conflict(cli(*words, *other, *KNOWN, *ID))
    require_conflict(cli("budget", "set", "tenant", "5", *ID))
    assert events(cli, run, kind) - (kind == "run.signal_received") == 1


def test_limits(run: str, cli: Cli, owner: Callable[[], None]) -> None:
    owner()
    first = cli("budget", "top-up", run, "0.5", *KNOWN, *ID)
    assert first.code == 0, first
    assert cli("budget", "top-up", run, "0.5", *KNOWN, *ID)[:2] == first[:2]
    assert limit(cli, "run") == 1_500_000_000
    cli("cancel", run, *KNOWN)
    assert cli("budget", "top-up", run, "0.5", *KNOWN, *ID)[:2] == first[:2]
    require_conflict(cli("budget", "top-up", run, "0.6", *KNOWN, *ID))
    require_conflict(cli("budget", "set", run, "0.5", *KNOWN, *ID))
    shared = ("budget", "set", "tenant", "5", "--request-id", "t", "--json")
    assert cli(*shared)[:2] == cli(*shared)[:2]
    cli("budget", "set", "tenant", "7")
    assert cli(*shared).code == 0
    assert limit(cli, "tenant") == 7_000_000_000, "the first request is not carried out again"


def test_settled_once(run: str, cli: Cli, owner: Callable[[], None]) -> None:
    owner()
    words = ("budget", "settle", run, "lost")
    first = cli(*words, "0.004", *KNOWN, *ID)
    assert first.code == 0, first
    assert cli(*words, "0.004", *KNOWN, *ID)[:2] == first[:2]
    require_conflict(cli(*words, "0.005", *KNOWN, *ID))
    assert cli(*words, "0.004", *KNOWN).code == 3, "nothing is left to settle"
    rows = cli("budget", "show", run, "--json").json["budgets"]
    assert [row["spent"] for row in rows if row["scope"].startswith("run")] == [4_000_000]


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_one_run(form: tuple[str, ...], cli: Cli, here: Path, owner: Callable[[], None]) -> None:
    cli("schedule", "set", "x", make_file(here), "--every", "30d", *KNOWN)
    owner()
    words = ("run", make_file(here), *KNOWN, "--quiet", *ID, *form)
    first = cli(*words)
    assert first.code == 8, first
    assert cli(*words).code == 8
    [row] = cli("ps", "--json").json["runs"]
    cli("cancel", row["run"], *KNOWN)
    ended = cli(*words)
    assert ended.code == 130, "the run that the first request started is followed to its end"
    assert len(cli("ps", "--json").json["runs"]) == 1
    require_conflict(cli("run", make_file(here, action="other"), *KNOWN, *ID))


def test_one_fork(run: str, cli: Cli, owner: Callable[[], None]) -> None:
    owner()
    words = ("fork", run, "--from", "s1", "--again", *KNOWN, "--quiet", *ID, "--json")
    first = cli(*words)
    assert first.code == 8, first
    assert cli(*words).json["run_id"] == first.json["run_id"]
    cli("cancel", first.json["run_id"], *KNOWN)
    assert cli(*words).json["run_id"] == first.json["run_id"]
    assert len(cli("ps", "--json").json["runs"]) == 2
    require_conflict(cli("fork", run, "--from", "s2", "--again", *KNOWN, *ID))


def test_schedules(cli: Cli, here: Path, owner: Callable[[], None]) -> None:
    set_words = ("schedule", "set", "x", make_file(here), "--every", "30d", *KNOWN)
    first = cli(*set_words, "--request-id", "set")
    owner()
    assert cli(*set_words, "--request-id", "set")[:2] == first[:2]
    trigger = ("schedule", "trigger", "x", *KNOWN, *ID)
    first = cli(*trigger)
    assert "run schedule:x:" in first.out
    assert cli(*trigger)[:2] == first[:2]
    assert cli(*trigger, "--json").json["run_id"] in first.out
    assert len(cli("ps", "--json").json["runs"]) == 1
    for verb in ("pause", "resume", "remove"):
        words = ("schedule", verb, "x", "--request-id", verb)
        first = cli(*words)
        assert first.code == 0, first
        assert cli(*words)[:2] == first[:2]
    assert cli("schedule", "remove", "x").code == 3, "it is removed"
    assert cli("schedule", "remove", "x", "--request-id", "remove").code == 0
    require_conflict(cli("schedule", "remove", "x", *ID))


def test_migrated_once(run: str, cli: Cli, here: Path, owner: Callable[[], None]) -> None:
    owner()
    file = make_file(here, "w2", parameters={"more": 1})
    words = ("migrate", run, file, *KNOWN, *ID)
    # An owner that has just begun may still write what it finds in the run.
    first = next(result for result in (cli(*words) for _ in range(20)) if not is_early(result))
    assert first.code == 0, first
    assert "migrated" in first.out
    assert cli(*words)[:2] == first[:2]
    cli("cancel", run, *KNOWN)
    assert cli(*words)[:2] == first[:2], "after the run has ended"
    assert events(cli, run, "run.migrated") == 1
    require_conflict(cli("migrate", run, make_file(here), *KNOWN, *ID))


def test_imported_and_deleted_once(
    run: str, cli: Cli, here: Path, owner: Callable[[], None]
) -> None:
    cli("cancel", run, *KNOWN)
    cli("export", run, "--output", "r.jsonl")
    assert (here / "r.jsonl").exists()
    owner()
    gc = ("gc", "--older-than", "0s", "--json", *ID)
    first = cli(*gc)
    assert first.json["runs"] == 1
    cli("run", make_file(here), *KNOWN)
    repeated = cli(*gc).json
    assert (repeated["runs"], repeated["due"]) == (1, 1)
    words = ("import", "r.jsonl", "--json", "--request-id", "in")
    first = cli(*words)
    assert first.json["new"] is True, first
    assert cli(*words)[:2] == first[:2]
    assert cli("import", "r.jsonl", "--json").json["new"] is False
    require_conflict(cli("import", "r.jsonl", *ID))


def test_a_rejection_is_the_same(run: str, cli: Cli, owner: Callable[[], None]) -> None:
    owner()
    cli("approve", run, "ap", *KNOWN)
    late = cli("reject", run, "ap", *KNOWN, *ID)
    assert late.code == 2, late
    again = cli("reject", run, "ap", *KNOWN, *ID)
    assert again == late
    assert events(cli, run, "task.approval_refused") == 1


@pytest.mark.parametrize("text", ["", "two words", "é", "x" * 129])
def test_an_id_that_cannot_be_one(text: str, run: str, cli: Cli) -> None:
    result = cli("budget", "top-up", run, "0.5", *KNOWN, "--request-id", text)
    assert result.code == 2
    assert "cannot be a request id" in result.err
    assert "--request-id" in result.err
    assert limit(cli, "run") == 1_000_000_000


def list_commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, bool]]:
    """(words, has ``--request-id``) of every command."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from list_commands(command, (*path, name))
        elif command is not None:
            names = {option for item in command.params for option in item.opts}
            yield " ".join((*path, name)), "--request-id" in names


def test_every_command_that_changes_something_has_it() -> None:
    commands = dict(list_commands(CommandGroup("agenthive")))
    without = {words for words, has_option in commands.items() if not has_option}
    assert without == UNCHANGING | ABOUT_THE_OWNER


def repeat(here: Path, source: Path, *words: str) -> list[str]:
    """What a command of the code in ``source`` prints, executed twice under one id."""
    environment = os.environ | {"PYTHONPATH": str(source)}
    command = [sys.executable, "-m", "agenthive", *words, "--home", "home"]
    return [
        subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True).stdout
        for _ in range(2)
    ]


def test_planted_bugs_are_caught(cli: Cli, here: Path, tmp_path: Path) -> None:
    cli("budget", "set", "tenant", "1")
    source = copy_with_bug(find_bug("forget_the_request_id_option"), tmp_path / "a")
    repeat(here, source, "budget", "top-up", "tenant", "0.5", *ID)
    assert limit(cli, "tenant") == 2_000_000_000, "topped up twice"
    source = copy_with_bug(find_bug("new_run_id_for_a_repeated_request"), tmp_path / "b")
    file = make_file(here)
    first, second = repeat(here, source, "run", file, *KNOWN, "--request-id", "run", "--json")
    assert "run_id" in first
    assert "belongs to another request" in second
