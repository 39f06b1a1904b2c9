"""du, gc, export and import as commands: alone, beside an owner, and asked for nonsense."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from agenthive.cli.commands import gc
from agenthive.core.history import blobs
from tests.cli.conftest import Cli, workflow
from tests.cli.test_processes import Start, chain

KNOWN = ("--agents", "agents.py")
LARGE = "z" * (blobs.LARGE_BYTES + 1)


@pytest.fixture
def two(cli: Cli, here: Path) -> tuple[str, str]:
    """A run that completed with a large result, and one that failed."""
    (here / "good.json").write_text(
        workflow({"name": "one", "agent": "echo", "parameters": {"text": LARGE}})
    )
    (here / "bad.json").write_text(workflow({"name": "one", "agent": "broken"}))
    good, bad = (cli("run", f"{name}.json", *KNOWN, "--json").json for name in ("good", "bad"))
    return good["run_id"], bad["run_id"]


def test_nothing_there_yet(cli: Cli, here: Path) -> None:
    result = cli("du", "--json")
    assert (result.code, result.json["content"]["records"]) == (0, 0)
    assert cli("gc", "--older-than", "0s", "--json").json["runs"] == 0
    assert not (here / "home").exists()


def test_du(cli: Cli, here: Path, two: tuple[str, str]) -> None:
    good, bad = two
    found = cli("du", "--json").json
    assert found["content"]["blobs"] > len(LARGE) > found["content"]["records"] / 20
    assert found["largest"][0]["run"] == good
    assert {one["run"] for one in found["largest"]} == {good, bad, "hive"}
    assert found["gc"]["runs"] == 0
    assert found["files"]["journal"] > len(LARGE)
    told = cli("du", "-n", "1").out
    assert "gc would free 0 B in 0 runs" in told
    assert good in told
    assert bad not in told
    one = cli("du", good[:-1], "--json").json
    assert (one["run_id"], one["blobs"]) == (good, found["content"]["blobs"])
    assert "blobs" in cli("du", bad).out
    assert cli("du", "nope").code == 3
    (here / "agenthive.toml").write_text('retention_completed = "0s"')
    (here / "home" / "secrets").mkdir()
    (here / "home" / "secrets" / "one").write_text("12345")
    found = cli("du", "--json").json
    assert (found["gc"]["runs"], found["gc"]["blobs"]) == (1, one["blobs"])
    assert found["files"]["secrets"] == 5


def test_gc(cli: Cli, here: Path, two: tuple[str, str]) -> None:
    good, bad = two
    result = cli("gc")
    assert result.code == 0
    assert "all runs are kept forever" in result.err
    assert "0 runs deleted" in result.out
    assert "0 runs deleted" in cli("gc", "--older-than", "forever").out
    assert cli("gc", "--older-than", "1w", "--json").json["due"] == 0
    would = cli("gc", "--older-than", "0s", "--status", "completed", "--dry-run", "--json").json
    assert (would["dry_run"], would["runs"], would["returned"]) == (True, 1, 0)
    assert cli("show", good).code == 0, "a dry run drops nothing"
    (here / "agenthive.toml").write_text('retention_completed = "0s"\nretention_failed = "1w"')
    assert cli("gc", "--status", "failed", "--json").json["due"] == 0
    did = cli("gc", "--json").json
    assert did["returned"] > len(LARGE)
    for key in ("due", "runs", "records", "blobs", "definitions"):
        assert did[key] == would[key], key
    assert cli("show", good).code == 3
    assert cli("show", bad).code == 0
    assert cli("doctor").code == 0
    assert "1 runs would be deleted" in cli("gc", "--older-than", "0s", "--dry-run").out
    assert "1 runs deleted" in cli("gc", "--older-than", "0s").out
    assert cli("ps", "--json").json["runs"] == []


@pytest.mark.parametrize(
    "words",
    [
        ("--older-than", "soon"),
        ("--older-than", ""),
        ("--older-than", "-1d"),
        ("--status", "running"),
        ("extra",),
    ],
)
def test_gc_asked_for_nonsense(cli: Cli, two: tuple[str, str], words: tuple[str, ...]) -> None:
    assert cli("gc", *words).code == 2
    assert len(cli("ps", "--json").json["runs"]) == 2


def test_gc_says_how_far_it_is(
    cli: Cli, two: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gc, "REPORT_EVERY", 1)
    result = cli("gc", "--older-than", "0s")
    assert "deleted 2 of 2 runs" in result.err
    assert "returned to the file system" in result.out


def test_a_run_goes_along(cli: Cli, here: Path, two: tuple[str, str]) -> None:
    good, bad = two
    told = cli("export", good, "-o", "run.jsonl", "--json").json
    file = here / "run.jsonl"
    assert told["bytes"] == file.stat().st_size
    assert file.stat().st_mode & 0o777 == 0o600
    assert not (here / "run.jsonl.part").exists()
    assert cli("export", good).out == file.read_text()
    assert f"in {file.name}" in cli("export", bad, "-o", file.name).out
    cli("export", good, "-o", "run.jsonl")
    result = cli("import", "run.jsonl", home="other")
    assert (result.code, result.out) == (0, f"{good}: completed\n")
    result = cli("import", "run.jsonl", home="other")
    assert (result.code, result.out) == (0, f"{good}: completed (already imported)\n")
    ours, theirs = (cli("show", good, "--json", home=home).json for home in ("home", "other"))
    assert ours == theirs
    assert theirs["results"]["one"]["text"] == LARGE
    assert cli("ps", "--metrics", "--json", home="other").json["runs"] == {"completed": 1}
    assert cli("doctor", home="other").code == 0


def test_exporting_nonsense(cli: Cli, here: Path, two: tuple[str, str]) -> None:
    assert cli("export", "nope", "-o", "x").code == 3
    assert cli("export", two[0], "--json").code == 2
    assert cli("export", two[0], "-o", "no/such/folder/x").code == 1
    assert not (here / "x").exists()


def test_importing_nonsense(cli: Cli, here: Path, two: tuple[str, str]) -> None:
    assert cli("import", "no.jsonl").code == 2
    (here / "no.jsonl").write_text("{}\n")
    result = cli("import", "no.jsonl", "--json")
    assert (result.code, result.json["error"]["type"]) == (2, "DefinitionError")
    cli("export", two[0], "-o", "run.jsonl")
    lines = (here / "run.jsonl").read_text().splitlines(keepends=True)
    header = json.loads(lines[0]) | {"schema": "agenthive/run-export/9"}
    (here / "no.jsonl").write_text("".join([json.dumps(header) + "\n", *lines[1:]]))
    assert cli("import", "no.jsonl", home="other").code == 10
    assert cli("ps", "--json", home="other").json["runs"] == []


def test_beside_an_owner(cli: Cli, here: Path, start: Start, two: tuple[str, str]) -> None:
    """The owner takes in and drops; an open run that came in waits to be asked for."""
    good, _ = two
    cli("export", good, "-o", "run.jsonl")
    chain(here, "w.json", 2, 30)
    cut = start("run", "w.json", *KNOWN, "--home", "home", "--quiet")
    while not (found := cli("ps", "--open", "--json").json["runs"]):
        assert cut.poll() is None
    run = found[0]["run"]
    cut.kill()
    cut.wait()
    cli("export", run, "-o", "open.jsonl")
    owner = start("work", *KNOWN, "--home", "other")
    assert owner.stderr is not None
    assert "processing" in owner.stderr.readline()
    assert cli("import", "run.jsonl", home="other").out == f"{good}: completed\n"
    assert cli("import", "run.jsonl", "--json", home="other").json["new"] is False
    result = cli("import", "open.jsonl", home="other")
    assert result.code == 2
    assert "--open" in result.err
    result = cli("import", "open.jsonl", "--open", home="other")
    assert result.code == 0
    assert f"next: agenthive resume {run}" in result.err
    assert cli("resume", "--json", home="other").json["runs"] == []
    assert cli("gc", "--older-than", "0s", "--json", home="other").json["runs"] == 1
    assert [row["run"] for row in cli("ps", "--json", home="other").json["runs"]] == [run]
    owner.send_signal(signal.SIGTERM)
    assert owner.wait(20) == 0
    assert cli("cancel", run, home="other").code == 0
    assert cli("doctor", home="other").code == 0
