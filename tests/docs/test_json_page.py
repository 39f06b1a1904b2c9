"""Every JSON document that a command prints has the keys of its page, with their types."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from agenthive import AgentRegistry, Hive, load
from agenthive.core.engine import active_run
from agenthive.queries.export_import import SCHEMA
from tests.cli.conftest import Cli, cli, here, workflow

__all__ = ["cli", "here"]

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "json.md"
ROW = re.compile(r"^\| `([^`]+)`( \*)? \| ([a-z ]+) \| \S.* \|$", re.MULTILINE)
SERVER = """
agenthive: 1
name: s
agents: [{name: clock, type: mcp_server, endpoint: "stdio:mcp-server-time", timeout: 60}]
tasks: [{name: t, agent: clock, action: list_tools}]
"""
OVERCHARGING = """
from agenthive.core.model.calls import Reply, Usage

async def overcharging():
    return Reply(result=1, usage=Usage(output_tokens=10**15))

AGENTS["overcharging"] = overcharging
"""
KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "null": (type(None),),
    "any": (object,),
}


class Key(NamedTuple):
    """One row of a table: where the value stands and what it is."""

    path: tuple[str, ...]
    optional: bool
    kind: str

    def holds(self, value: object) -> bool:
        """Whether a value is of the type that the page says."""
        for kind in self.kind.split(" or "):
            if isinstance(value, KINDS[kind]) and (kind == "any" or not _lies(kind, value)):
                return True
        return False


def _lies(kind: str, value: object) -> bool:
    """In Python a boolean is an integer; in JSON it is not."""
    return isinstance(value, bool) and kind in ("integer", "number")


def page(text: str) -> dict[str, list[Key]]:
    """The keys of each schema."""
    found = {}
    for part in text.split("\n## ")[1:]:
        name, _, body = part.partition("\n")
        rows = [
            (tuple(re.split(r"\.|(?=\[\])", path)), bool(star), kind)
            for path, star, kind in ROW.findall(body)
        ]
        assert len(rows) == body.count("\n| `"), f"{name}: a row that cannot be read"
        found[name] = [Key(*row) for row in rows]
    return found


def children(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """What stands under a step of a path."""
    if name == "[]":
        yield from (("[]", one) for one in value)
    elif name == "NAME":
        yield from value.items()
    elif isinstance(value, dict) and name in value:
        yield name, value[name]


def reach(document: Any, path: tuple[str, ...]) -> Iterator[tuple[Any, bool, Any]]:
    """(holder, whether the key is there, value) of each place a path leads to."""
    holders = [document]
    for name in path[:-1]:
        holders = [child for holder in holders for _, child in children(holder, name)]
    for holder in holders:
        found = [value for _, value in children(holder, path[-1])]
        if not found:
            yield holder, False, None
        for value in found:
            yield holder, True, value


def complaints(keys: list[Key], document: dict[str, Any], seen: set[Key]) -> list[str]:
    """How a document differs from its page. ``seen`` collects the keys that it has."""
    found = []
    for key in keys:
        for _, there, value in reach(document, key.path):
            if there:
                seen.add(key)
                if not key.holds(value):
                    found.append(f"{key.path} is {value!r}, no {key.kind}")
            elif not key.optional and key.path[-1] not in ("[]", "NAME"):
                found.append(f"{key.path} is missing")
    tree = {key.path for key in keys}
    return found + [f"{path} is not on the page" for path in unknown(document, tree)]


def unknown(value: Any, tree: set[tuple[str, ...]], at: tuple[str, ...] = ()) -> Iterator[Any]:
    """Places in a document that no path leads to. What has no rows below it is not looked into."""
    below = {path[len(at)] for path in tree if path[: len(at)] == at and len(path) > len(at)}
    if not below:
        return
    if isinstance(value, list):
        for one in value:
            yield from unknown(one, tree, (*at, "[]"))
        return
    for name, one in value.items():
        step = name if name in below else "NAME"
        if step in below:
            yield from unknown(one, tree, (*at, step))
        elif (at, name) != ((), "schema"):
            yield (*at, name)


def agents(here: Path) -> AgentRegistry:
    directory = AgentRegistry()
    directory.load_file(here / "agents.py")
    return directory


async def cut_off(here: Path) -> str:
    """A run that was cut off in its first task."""
    async with Hive.open(here / "home", agents=agents(here)) as hive:
        run = await hive.submit(load(here / "slow.json").spec)
        async for fact in hive.watch(run):
            if fact.type == "task.started":
                break
        return run


def printed(cli: Cli, here: Path) -> list[dict[str, Any]]:
    """Real outputs of every command that prints JSON."""
    with (here / "agents.py").open("a") as file:
        file.write(OVERCHARGING)
    (here / "flow.json").write_text(
        workflow(
            {"name": "one", "agent": "echo", "parameters": {"x": 1}},
            {"name": "two", "agent": "broken", "depends_on": ["one"]},
            {"name": "say", "agent": "echo"},
            {"name": "paid", "agent": "overcharging"},
            failure_strategy="continue_on_failure",
        ).replace(
            '"type": "custom", "endpoint": "custom://echo"',
            '"type": "ai_agent", "endpoint": "offline://extractive"',
        )
    )
    (here / "slow.json").write_text(
        workflow(
            {"name": "a", "agent": "sleep", "parameters": {"seconds": 0.3}, "max_cost": 0.1},
            {"name": "b", "agent": "echo", "depends_on": ["a"]},
        )
    )
    (here / "renamed.json").write_text((here / "slow.json").read_text().replace('"a"', '"aa"'))
    (here / "bad.json").write_text("{}")
    (here / "plan.json").write_text(planned())
    (here / "server.yaml").write_text(SERVER)
    known = ("--agents", "agents.py")
    run = cli("run", "flow.json", *known, "--json").json
    name = run["run_id"]
    outputs = [run]
    slow = asyncio.run(cut_off(here))
    ask = {"name": "ask", "agent": "echo", "approval": {"approvers": ["ann"], "deadline": 60}}
    (here / "ask.json").write_text(workflow({"name": "z", "agent": "echo"}, ask))
    cli("run", "ask.json", *known)
    asked = (
        ("approvals",),
        ("budget", "show", slow),
        ("why", slow),
        ("ps",),
        ("resume",),
        ("why", slow),
        ("migrate", slow, "renamed.json", *known, "--check"),
        ("resume", *known),
        ("resume",),
        ("why", name),
        ("show", name),
        ("show", name, "--task", "two"),
        ("ps", "--metrics"),
        ("validate", "flow.json", "bad.json", "slow.json"),
        ("plan", "plan.json", *known),
        ("agents",),
        ("agents", *known),
        ("tools", "server.yaml"),
        ("config",),
        ("costs",),
        ("budget", "set", "tenant", "0.5"),
        ("budget", "top-up", "tenant", "0.5"),
        ("budget", "set", slow, "0.5", "--request-id", "r"),
        ("budget", "show"),
        ("budget", "show", "--all"),
        ("budget", "show", name),
        ("costs", name),
        *(("costs", "--by", by) for by in ("workflow", "agent", "model", "day")),
        ("doctor",),
        ("show", "nope"),
        ("run", "bad.json"),
        ("cancel", name),
        ("du",),
        ("du", name),
        ("export", name, "-o", "run.jsonl"),
        ("import", "run.jsonl"),
        ("replay", name),
        ("schedule", "set", "s", "flow.json", "--every", "1h", *known),
        ("schedule", "list"),
        ("schedule", "show", "s"),
        ("gc", "--older-than", "1w"),
    )
    outputs += [cli(*words, "--json").json for words in asked]
    outputs.append(json.loads(cli("export", name).out.splitlines()[0]))
    outputs += [json.loads(line) for line in cli("events", name, "--json").out.splitlines()]
    outputs += set_apart(cli, here)
    return outputs + simulated(cli)


def planned() -> str:
    """A workflow of which there is something to say in every respect."""
    agents = [
        {
            "name": "a",
            "type": "custom",
            "endpoint": "custom://echo",
            "max_cost": 0.1,
            "rate_limit": {"requests_per_minute": 5},
        },
        {
            "name": "m",
            "type": "ai_agent",
            "endpoint": "https://x.example",
            "custom_params": {"model": "no such model"},
        },
    ]
    tasks = [
        {"name": "acts", "agent": "a", "action": "go"},
        {"name": "never", "agent": "a", "action": "go", "when": "false"},
        {"name": "asks", "agent": "m", "action": "chat_completion", "depends_on": ["acts"]},
    ]
    return json.dumps({"agenthive": 1, "name": "p", "agents": agents, "tasks": tasks})


def simulated(cli: Cli) -> list[dict[str, Any]]:
    """Simulations: a sound one, and two of a core whose keys are not stable."""
    keys = iter(range(1 << 30))
    words = ("simulate", "flow.json", "--seeds", "9", "--faults", "fail=0.5,crash=0.1", "--json")
    found = [cli(*words, home=None).json]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(active_run, "IdempotencyKeys", lambda run: lambda task: f"key {next(keys)}")
        broken = cli(*words, home=None).json
        seed = str(broken["broken_seeds"][0])
        return [*found, broken, cli(*words, "--seed", seed, "--trace", home=None).json]


def set_apart(cli: Cli, here: Path) -> list[dict[str, Any]]:
    """An open run that a process set apart, then one that is damaged."""
    cli("run", "ask.json", "--agents", "agents.py")
    run = cli("ps", "--json", "-n", "1").json["runs"][0]["run"]
    with sqlite3.connect(here / "home" / "journal.db") as db:
        [(events,)] = db.execute(
            "SELECT seq + count - 1 FROM records WHERE stream = ? ORDER BY seq DESC LIMIT 1", (run,)
        )
        db.execute("INSERT INTO marks VALUES (?, ?)", (f"set apart {run}", f"{events} KeyError"))
    db.close()
    shown = cli("show", run, "--json").json
    with sqlite3.connect(here / "home" / "journal.db") as db:
        db.execute("UPDATE records SET payload = '[]' WHERE stream = ?", (run,))
    db.close()
    return [shown, cli("ps", "--json").json]


@pytest.fixture
def schemas() -> dict[str, list[Key]]:
    return page(PAGE.read_text("utf-8"))


def test_documents_are_as_their_page_says(
    cli: Cli, here: Path, schemas: dict[str, list[Key]]
) -> None:
    seen: dict[str, set[Key]] = {name: set() for name in schemas}
    found: list[str] = []
    for document in printed(cli, here):
        name = document["schema"]
        found += [f"{name}: {one}" for one in complaints(schemas[name], document, seen[name])]
        if name == "agenthive/runs/1":
            run = "agenthive/run/1"
            for one in document["runs"]:
                found += [f"{name}: {c}" for c in complaints(schemas[run], one, seen[run])]
    assert found == []
    never = [
        f"{name}: {key.path}" for name in schemas for key in schemas[name] if key not in seen[name]
    ]
    assert never == [], "keys on the page that no command printed"


def test_every_document_has_a_section(schemas: dict[str, list[Key]]) -> None:
    sources = (ROOT / "src" / "agenthive" / "cli").rglob("*.py")
    text = "".join(file.read_text("utf-8") for file in sources)
    names = re.findall(r"\bprint_document\(\s*\"([a-z-]+)\"", text)
    used = {f"agenthive/{name}/1" for name in names} | {f"{SCHEMA}1"}
    assert len(used) >= 12
    assert set(schemas) == used


GOOD = {"schema": "x", "n": 1, "runs": [{"a": "x"}], "by": {"k": {"v": 1.5}}}
KEYS = page(
    "\n## x\n\n| `n` | integer | n |\n| `runs` | array | r |\n| `runs[].a` | string | a |\n"
    "| `by` | object | b |\n| `by.NAME.v` * | number or null | v |\n"
)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, None),
        ({"n": True}, "('n',) is True, no integer"),
        ({"n": "1"}, "('n',) is '1', no integer"),
        ({"more": 1}, "('more',) is not on the page"),
        ({"runs": [{}]}, "('runs', '[]', 'a') is missing"),
        ({"runs": [{"a": "x", "b": 1}]}, "('runs', '[]', 'b') is not on the page"),
        ({"by": {"k": {}}}, None),
        ({"by": {"k": {"w": 1}}}, "('by', 'NAME', 'w') is not on the page"),
        ({"by": {"k": {"v": "x"}}}, "('by', 'NAME', 'v') is 'x', no number or null"),
    ],
)
def test_planted_fault_is_caught(change: dict[str, Any], says: str | None) -> None:
    found = complaints(KEYS["x"], GOOD | change, set())
    assert found == ([says] if says else [])
