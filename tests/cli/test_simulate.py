"""`agenthive simulate`: what it prints, what it refuses, and that it touches nothing."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from agenthive.cli.support import simulation_view
from agenthive.core.engine import active_run
from tests.cli.conftest import Cli, workflow

FLOW = {
    "tasks": [
        {"name": "read", "agent": "echo", "effect": "none"},
        {"name": "write", "agent": "echo", "depends_on": ["read"], "retry_config": {}},
    ],
    "inputs": {"topic": {"type": "string", "required": True}, "key": {"type": "secret"}},
}


@pytest.fixture
def flow(here: Path) -> str:
    (here / "flow.json").write_text(workflow(*FLOW["tasks"], inputs=FLOW["inputs"]))  # type: ignore[arg-type]
    return "flow.json"


def test_the_figures(cli: Cli, here: Path, flow: str) -> None:
    before = set(here.iterdir())
    found = cli("simulate", flow, "--input", "topic=bees", "--seeds", "200", home=None)
    assert found.code == 0, found.err
    assert found.out.startswith("flow: 200 simulated runs, faults: crash=0.002,")
    assert re.search(r"^completed +\d+ +\d+\.\d % +\d+$", found.out, re.MULTILINE)
    assert re.search(r"^time( +[\d.]+ m?i?n? ?\d*\d? ?s){4}$", found.out, re.MULTILINE), found.out
    assert re.search(r"^write +\d+\.\d %.* any +\d\.\d % +.* a guess for custom$", found.out, re.M)
    assert re.search(r"^read .* none +- ", found.out, re.MULTILINE)
    assert "FAILED TASK" in found.out
    assert "All invariants held in all 200 simulated runs." in found.out
    assert "note: no duration is declared (estimated_duration) for read, write" in found.err
    assert "cost" not in found.out
    assert set(here.iterdir()) == before


def test_a_seed_can_be_looked_at(cli: Cli, flow: str) -> None:
    found = cli(
        "simulate",
        flow,
        "--input",
        "topic=a b",
        "--input",
        "key=hunter2",
        "--faults",
        "fail=0.9",
        home=None,
    )
    assert "hunter2" not in found.out + found.err
    replay = shlex.split(found.out.splitlines()[-1])
    assert replay[:4] == ["agenthive", "simulate", "flow.json", "--input"]
    assert replay[4:9] == ["topic=a b", "--input", "key=...", "--faults", "fail=0.9"]
    first, again = (cli(*replay[1:], home=None) for _ in range(2))
    assert (first.code, first.out) == (again.code, again.out)
    lines = first.out.splitlines()
    assert lines[0].split() == ["TIME", "NO", "EVENT", "DETAIL"]
    assert re.fullmatch(r"\+0\.000 s +1 +run\.submitted +submitted", lines[1])
    assert lines[-1].startswith(f"seed {replay[-2]}: failed after ")
    told = cli(*replay[1:], "--json", home=None).json
    assert told["facts"][0] == {
        "seconds": 0.0,
        "seq": 1,
        "type": "run.submitted",
        "text": "submitted",
    }
    assert (told["seed"], told["status"], told["violations"]) == (int(replay[-2]), "failed", [])
    alone = cli("simulate", flow, "--input", "topic=x", "--seed", "4", "--json", home=None).json
    assert (alone["seeds"], next(iter(alone["statuses"].values()))["seed"]) == (1, 4)


def test_answers_and_inputs_from_files(cli: Cli, here: Path, flow: str) -> None:
    (here / "answers.yaml").write_text(
        "read: 2\nwrite: {duration: {p50: 3, p95: 9}, cost: 0.5, fail: 0, result: {ok: true}}\n"
    )
    (here / "in.yaml").write_text("topic: bees\n")
    words = ("--inputs", "in.yaml", "--answers", "answers.yaml", "--faults", "none")
    found = cli("simulate", flow, *words, home=None)
    assert found.code == 0, found.err
    # A slow machine is told how far it is.
    assert re.sub(r"\s*\d+ of 100 seeds done\s*", "", found.err) == ""
    assert re.search(r"^cost( +\$0\.50){4}$", found.out, re.MULTILINE)
    assert found.out.count(" given\n") == 2
    replay = shlex.split(found.out.splitlines()[-1])
    assert replay[3:7] == ["--inputs", "in.yaml", "--answers", "answers.yaml"]
    told = cli("simulate", flow, *words, "--json", home=None).json
    assert 4 < told["duration"]["p50"] < 6.5
    assert told["cost_usd"]["max"] == 0.5


def test_a_home_to_learn_from(cli: Cli, here: Path) -> None:
    (here / "flow.json").write_text(
        workflow({"name": "one", "agent": "sleep", "parameters": {"text": "a few bees"}}).replace(
            '"type": "custom", "endpoint": "custom://sleep"',
            '"type": "ai_agent", "endpoint": "offline://extractive"',
        )
    )
    assert cli("run", "flow.json", "--agents", "agents.py").code == 0
    found = cli("simulate", "flow.json", "--fit", "home", "--faults", "none", home=None)
    assert found.code == 0, found.err
    assert "fitted, 1 call\n" in found.out
    assert re.search(r"^tokens( +\d+){4}$", found.out, re.MULTILINE)
    assert "--fit home" in found.out.splitlines()[-1]
    missing = cli("simulate", "flow.json", "--fit", "nowhere", home=None)
    assert (missing.code, missing.out) == (2, "")
    assert "there is no journal in nowhere" in missing.err


def test_a_broken_invariant_is_told_with_its_seed(
    cli: Cli, flow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = iter(range(1 << 30))
    monkeypatch.setattr(active_run, "IdempotencyKeys", lambda run: lambda task: f"key {next(keys)}")
    words = ("simulate", flow, "--input", "topic=x", "--faults", "fail=0.2")
    found = cli(*words, home=None)
    assert found.code == 1
    assert "INVARIANTS VIOLATED in " in found.out
    row = re.search(r"^(\d+) +stable_keys +.*the idempotency key changed", found.out, re.MULTILINE)
    assert row
    assert found.out.splitlines()[-1].endswith(f"--seed {row[1]} --trace")
    told = cli(*words, "--json", home=None).json
    assert told["violations"][0]["seed"] == told["broken_seeds"][0] == int(row[1])
    assert told["violations"][0]["replay"].endswith(f"--seed {row[1]} --trace")
    story = cli(*words, "--seed", row[1], "--trace", home=None)
    assert story.code == 1
    assert "VIOLATED  stable_keys: " in story.out


def test_people(cli: Cli, here: Path) -> None:
    (here / "ask.yaml").write_text(
        "agenthive: 1\nname: ask\nagents: [{name: echo, type: custom, endpoint: 'custom://echo'}]\n"
        "tasks:\n  - {name: ok, approval: true}\n"
        "  - {name: go, agent: echo, action: go, depends_on: [ok]}\n"
    )
    found = cli("simulate", "ask.yaml", "--faults", "none", "--people", "2d", home=None)
    assert found.code == 0, found.err
    assert re.search(r"^time +\d+ h .* h .* h .* h \d\d min$", found.out, re.MULTILINE)
    assert re.search(r"^ok +100\.0 % .* no call$", found.out, re.MULTILINE)
    assert "--people 2d --faults none" in found.out.splitlines()[-1]
    never = cli("simulate", "ask.yaml", "--people", "never", home=None)
    assert re.search(r"^waiting \(approval\) +100 ", never.out, re.MULTILINE)
    bad = cli("simulate", "ask.yaml", "--people", "soon", home=None)
    assert (bad.code, bad.out) == (2, "")
    assert "'soon' is not a duration" in bad.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--faults", "crsh=0.1"), "there is no 'crsh'; did you mean 'crash'?"),
        (("--faults", "fail=2"), "fail=2 is not a probability from 0 to 1"),
        (("--seeds", "0"), "Invalid value for '--seeds'"),
        (("--seed", "-1"), "Invalid value for '--seed'"),
        (("--trace",), "choose it with --seed K"),
        (("--input", "nonsense"), "is not KEY=VALUE"),
        (("--input", "colour=red"), "declares no input 'colour'"),
        (("--answers", "nothing.yaml"), "no such file"),
        (("--answers", "agents.py"), "agents.py"),
        (("--answers", "flow.json"), "the workflow has no task 'agents'"),
    ],
)
def test_bad_input(cli: Cli, flow: str, words: tuple[str, ...], says: str) -> None:
    found = cli("simulate", flow, "--input", "topic=x", *words, home=None)
    assert (found.code, found.out) == (2, "")
    assert says in found.err


def test_a_bad_file(cli: Cli, here: Path, flow: str) -> None:
    (here / "bad.json").write_text("{}")
    found = cli("simulate", "bad.json", "--json", home=None)
    assert found.code == 2
    assert json.loads(found.out)["error"]["problems"]
    assert cli("simulate", "gone.yaml", home=None).code == 2
    missing = cli("simulate", flow, home=None)
    assert (missing.code, missing.out) == (2, "")
    assert "'topic' is required" in missing.err


def test_secrets_and_agents_are_left_alone(cli: Cli, here: Path) -> None:
    agents = [
        {
            "name": "api",
            "type": "http_api",
            "endpoint": "http://127.0.0.1:9",
            "authentication": {"type": "bearer", "token": "sk-written-out-in-full"},
        }
    ]
    tasks = [{"name": "t", "agent": "api", "action": "fetch", "parameters": {"k": "${env:NO}"}}]
    (here / "w.json").write_text(
        json.dumps({"agenthive": 1, "name": "w", "agents": agents, "tasks": tasks})
    )
    before = set(here.rglob("*"))
    found = cli("simulate", "w.json", "--faults", "none", home=None)
    assert found.code == 0, found.err
    assert "sk-written-out-in-full" not in found.out + found.err
    assert set(here.rglob("*")) == before


def test_progress(cli: Cli, flow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation_view, "EVERY", 0.0)
    found = cli("simulate", flow, "--input", "topic=x", "--seeds", "3", home=None)
    assert "  2 of 3 seeds done\n" in found.err
    keys = iter(range(1 << 30))
    monkeypatch.setattr(active_run, "IdempotencyKeys", lambda run: lambda task: f"key {next(keys)}")
    words = ("simulate", flow, "--input", "topic=x", "--seeds", "9", "--faults", "fail=0.5")
    assert re.search(r"9 of 9 seeds done, \d with a violated invariant", cli(*words, home=None).err)
