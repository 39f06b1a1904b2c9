"""`run` and `resume`: results, exit codes, inputs, and what is written when something is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, workflow

OK = {"name": "one", "agent": "echo", "parameters": {"x": 1}}
BAD = {"name": "two", "agent": "broken"}
LATER = {"name": "three", "agent": "echo", "depends_on": ["two"]}


def run(cli: Cli, here: Path, text: str, *words: str) -> tuple[int, dict]:
    (here / "flow.json").write_text(text)
    result = cli("run", "flow.json", "--agents", "agents.py", "--json", *words)
    return result.code, result.json


def test_results_as_lines(cli: Cli, here: Path) -> None:
    (here / "flow.json").write_text(workflow(OK))
    result = cli("run", "flow.json", "--agents", "agents.py")
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[0] == "Workflow completed with status: completed"
    assert lines[1] == "Completed tasks: 1/1"
    assert lines[2].startswith("Execution time: ")
    assert lines[4:] == ["Results:", "  one: {'action': 'go', 'x': 1}"]
    assert "one                      started    agent echo" in result.err
    assert f"journal: {here / 'home' / 'journal.db'}" in result.err
    assert "next: agenthive show " in result.err


def test_document(cli: Cli, here: Path) -> None:
    code, found = run(cli, here, workflow(OK, BAD, LATER, failure_strategy="continue_on_failure"))
    assert code == 1
    assert found["schema"] == "agenthive/run/1"
    wanted = (
        "run_id status tasks results errors completed_tasks total_tasks execution_time cost_usd"
    )
    assert set(wanted.split()) <= set(found)
    assert found["tasks"]["one"] | {"started": 0, "ended": 0} == {
        "status": "succeeded",
        "attempts": 1,
        "cost_usd": 0.0,
        "started": 0,
        "ended": 0,
        "agent": "echo",
        "action": "go",
        "result": {"action": "go", "x": 1},
    }
    assert found["tasks"]["two"]["error"] == "ValueError: it broke"
    assert found["tasks"]["three"]["status"] == "skipped"
    assert found["results"] == {"one": {"action": "go", "x": 1}}
    assert found["errors"]["two"] == "ValueError: it broke"
    assert (found["completed_tasks"], found["total_tasks"]) == (1, 3)


@pytest.mark.parametrize(
    ("strategy", "code", "status"),
    [
        ("stop_on_first_failure", 1, "failed"),
        ("continue_on_failure", 1, "failed"),
        ("partial_completion_allowed", 7, "partially_completed"),
    ],
)
def test_exit_code_by_strategy(strategy: str, code: int, status: str, cli: Cli, here: Path) -> None:
    text = workflow(OK, BAD | {"depends_on": ["one"]}, failure_strategy=strategy)
    got, found = run(cli, here, text)
    assert (got, found["status"]) == (code, status)


def test_time_out_and_compensation(cli: Cli, here: Path) -> None:
    slow = {"name": "slow", "agent": "sleep", "parameters": {"seconds": 30}}
    code, found = run(cli, here, workflow(slow, global_timeout=0.2))
    assert (code, found["status"]) == (9, "failed")
    undo = OK | {"compensate": {"agent": "echo", "action": "undo"}}
    code, found = run(cli, here, workflow(undo, BAD | {"depends_on": ["one"]}))
    assert (code, found["status"]) == (1, "compensated")


def test_inputs(cli: Cli, here: Path) -> None:
    declared = {"n": {"type": "integer", "required": True}, "who": "me", "list": {"type": "array"}}
    task = OK | {"parameters": {"n": "{{ inputs.n }}", "w": "{{ inputs.who }}"}}
    text = workflow(task, inputs=declared)
    (here / "in.yaml").write_text("n: 1\nwho: file\n")
    code, found = run(cli, here, text, "--inputs", "in.yaml", "--input", "n=7")
    assert code == 0, found
    assert found["results"]["one"] == {"action": "go", "n": 7, "w": "file"}
    for words, problem in (
        ([], "'n' is required"),
        (["--input", "n=x"], "must be of type integer"),
        (["--input", "n"], "is not KEY=VALUE"),
        (["--input", "n=1", "--input", "m=1"], "declares no input 'm'"),
        (["--inputs", "none.yaml"], "no such file"),
        (["--inputs", "flow.json", "--input", "n=1.5"], "not"),
    ):
        code, found = run(cli, here, text, *words, "--home", "other")
        assert code == 2, words
        assert problem in found["error"]["message"]
        assert not (here / "other").exists()


def test_inputs_file_must_be_a_map(cli: Cli, here: Path) -> None:
    (here / "in.yaml").write_text("- 1\n")
    code, found = run(cli, here, workflow(OK), "--inputs", "in.yaml")
    assert code == 2
    assert "must be a map of names to values" in found["error"]["message"]


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in zip("abcdef", "bcdefg", strict=True)
)
HEAD = "name: w\nagents: [{name: a, type: custom, endpoint: 'custom://echo'}]\n"
TASK = "{name: t, agent_name: a, action: go}"
WRONG = {
    "unknown key": (HEAD + f"taskss: []\ntasks: [{TASK}]\n", "w.yaml:3:1: unknown key 'taskss'"),
    "wrong type": (HEAD + f"tasks: [{TASK}]\nglobal_timeout: soon\n", "w.yaml:4:17"),
    "duplicate name": (HEAD + f"tasks: [{TASK}, {TASK}]\n", "w.yaml:3:"),
    "self-dependency": (
        HEAD + "tasks: [{name: t, agent_name: a, action: go, depends_on: [t]}]\n",
        "itself",
    ),
    "cycle": (
        HEAD + "tasks: [{name: t, agent_name: a, action: go, depends_on: [u]},"
        " {name: u, agent_name: a, action: go, depends_on: [t]}]\n",
        "Circular dependency detected in tasks",
    ),
    "undefined agent": (
        HEAD + "tasks: [{name: x, agent_name: y, action: go}]\n",
        "Task 'x' references undefined agent 'y'",
    ),
    "alias": (HEAD + f"tasks: [&t {TASK}, *t]\n", "anchors (&name)"),
    "tag": (HEAD + f"tasks: [!!python/object:os.system {TASK}]\n", "tag"),
    "deep": ("name: " + "[" * 100_000, "deep"),
    "alias bomb": (BOMB, "anchor"),
    "NaN": (HEAD + f"global_timeout: .nan\ntasks: [{TASK}]\n", "w.yaml:3:"),
    "empty": ("", "empty"),
    "missing variable": (
        "name: w\nagents: [{name: a, type: http_api, endpoint: 'http://127.0.0.1:9', "
        "authentication: {type: bearer, token: '${env:NO_SUCH_TOKEN}'}}]\n"
        "tasks: [{name: t, agent_name: a, action: fetch}]\n",
        "the environment variable NO_SUCH_TOKEN is not set",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_bad_files_are_refused_and_nothing_is_written(what: str, cli: Cli, here: Path) -> None:
    text, problem = WRONG[what]
    (here / "w.yaml").write_text(text)
    result = cli("run", "w.yaml", "--agents", "agents.py")
    assert result.code == 2
    assert problem in result.err
    assert "Traceback" not in result.err
    assert not (here / "home").exists()


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("w.yaml", b"\0\1\2" * 99, "binary"),
        ("w.json", b"{", "w.json:1"),
        ("w.yaml", None, "direct"),
    ],
)
def test_what_is_no_text_is_refused(
    name: str, content: bytes | None, problem: str, cli: Cli, here: Path
) -> None:
    path = here / name
    path.mkdir() if content is None else path.write_bytes(content)
    result = cli("run", name)
    assert result.code == 2
    assert problem in result.err
    assert not (here / "home").exists()


def test_agent_that_nobody_has(cli: Cli, here: Path) -> None:
    (here / "w.json").write_text(workflow(OK))
    result = cli("run", "w.json")
    assert result.code == 5
    assert "no agent is registered for custom://echo" in result.err
    assert "--agents FILE.py" in result.err
    assert cli("ps", "--json").json["runs"] == []


def test_secrets_are_moved_and_named(cli: Cli, here: Path) -> None:
    text = json.loads(workflow(OK))
    text["agents"].append(
        {
            "name": "api",
            "type": "http_api",
            "endpoint": "http://127.0.0.1:9",
            "authentication": {"type": "bearer", "token": "hunter2-hunter2"},
        }
    )
    text["inputs"] = {"key": {"type": "secret"}}
    (here / "w.json").write_text(json.dumps(text))
    words = ("run", "w.json", "--agents", "agents.py", "--input", "key=swordfish-9")
    result = cli(*words)
    assert result.code == 0, result.err
    assert "it was moved to the secret store" in result.err
    kept = {path.read_text() for path in (here / "home" / "secrets").iterdir()}
    assert kept == {"hunter2-hunter2", "swordfish-9"}
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in (here / "home/secrets").iterdir())
    journal = b"".join(path.read_bytes() for path in (here / "home").glob("journal.db*"))
    for secret in ("hunter2-hunter2", "swordfish-9"):
        assert secret.encode() not in journal
        assert secret not in result.out + result.err


def test_secret_default_of_an_input_is_stored(cli: Cli, here: Path) -> None:
    text = json.loads(workflow(OK))
    text["inputs"] = {"key": {"type": "secret", "default": "swordfish-9"}}
    (here / "w.json").write_text(json.dumps(text))
    result = cli("run", "w.json", "--agents", "agents.py")
    assert result.code == 0, result.err
    assert "it was moved to the secret store" in result.err
    assert [path.read_text() for path in (here / "home/secrets").iterdir()] == ["swordfish-9"]


def test_home_that_a_secret_makes_is_for_its_owner_only(cli: Cli, here: Path) -> None:
    login = {"type": "bearer", "token": "a-secret-of-mine"}
    agent = {"name": "a", "type": "http_api", "endpoint": "http://127.0.0.1:9"}
    task = {"name": "t", "agent": "a", "action": "ping", "retry_config": {"max_attempts": 1}}
    flow = {"agenthive": 1, "name": "f", "agents": [agent | {"authentication": login}]}
    (here / "w.json").write_text(json.dumps(flow | {"tasks": [task]}))
    assert cli("run", "w.json").code == 1
    assert (here / "home" / "secrets").is_dir()
    assert (here / "home").stat().st_mode & 0o777 == 0o700


def test_control_characters_do_not_reach_the_terminal(cli: Cli, here: Path) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J"
    task = OK | {"parameters": {"x": evil}}
    (here / "w.json").write_text(workflow(task, BAD | {"parameters": {"say": evil}}))
    result = cli("run", "w.json", "--agents", "agents.py")
    assert "\x1b" not in result.out + result.err
    assert "owned" in result.out


def test_quiet(cli: Cli, here: Path) -> None:
    (here / "w.json").write_text(workflow(OK))
    result = cli("run", "w.json", "--agents", "agents.py", "-q")
    assert (result.code, result.err) == (0, "")


def test_many_tasks_are_told_in_sums(cli: Cli, here: Path) -> None:
    (here / "w.json").write_text(workflow(*[OK | {"name": f"t{i}"} for i in range(80)]))
    result = cli("run", "w.json", "--agents", "agents.py")
    assert result.code == 0
    assert "80 of 80 tasks done" in result.err
    assert "succeeded" not in result.err


def test_blocked_run_waits_and_says_why(cli: Cli, here: Path) -> None:
    (here / "w.json").write_text(workflow(OK, {"name": "s", "agent": "sleep"}))
    assert cli("run", "w.json", "--agents", "agents.py").code == 0
    nothing = cli("resume", "--json")
    assert (nothing.code, nothing.json) == (0, {"schema": "agenthive/runs/1", "runs": []})
    assert cli("resume").out == "no unfinished runs\n"
    assert cli("resume", "0123").code == 3


def test_answers_are_shown_as_they_come_in(cli: Cli, here: Path) -> None:
    (here / "says.py").write_text(
        "from agenthive.infra.heartbeat import emit_text\n"
        "async def says(call):\n"
        "    for piece in ('Hel', 'lo\\x1b[2J', ' bees'):\n"
        "        emit_text(piece)\n"
        "    return 'all of it'\n"
        "AGENTS = {'says': says}\n"
    )
    task = {"name": "s", "agent": "says", "parameters": {"stream": True}}
    (here / "w.json").write_text(workflow(task))
    shown = cli("run", "w.json", "--agents", "says.py", "--stream")
    assert (shown.code, shown.err) == (0, "s:\nHello [2J bees\n")
    assert "all of it" in shown.out
    assert cli("run", "w.json", "--agents", "says.py", "-q").err == ""
