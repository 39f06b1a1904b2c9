"""One run of twenty is damaged in one place: the others complete, and the commands name the one."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from agenthive.core.journal.hash_chain import hash_record
from agenthive.stores.row_codec import record_of
from tests.cli.conftest import Cli, workflow

RUNS = 20
LARGE = "x" * 100_000
FLOW = workflow(
    {"name": "first", "agent": "echo", "parameters": {"text": LARGE}},
    {"name": "second", "agent": "echo", "depends_on": ["first"]},
    {"name": "gate", "wait_for": "go", "depends_on": ["second"]},
    {"name": "last", "agent": "echo", "depends_on": ["gate"]},
)
COLUMNS = "pos, stream, seq, count, at, type, v, rules, actor, cause, payload, prev, hash"
Damage = Callable[[sqlite3.Connection, str], object]


def edit(column: str, value: str, record: int = 1) -> Damage:
    """Change a column of a record (0: the first) of the run."""

    def damage(db: sqlite3.Connection, run: str) -> object:
        [seq] = db.execute(
            "SELECT seq FROM records WHERE stream = ? ORDER BY seq LIMIT 1 OFFSET ?", (run, record)
        ).fetchone()
        return db.execute(
            f"UPDATE records SET {column} = {value} WHERE stream = ? AND seq = ?", (run, seq)
        )

    return damage


def forge(old: str, new: str) -> Damage:
    """Change a text in the payload of the last record, and give it the hash that fits."""

    def damage(db: sqlite3.Connection, run: str) -> object:
        row = db.execute(
            f"SELECT {COLUMNS} FROM records WHERE stream = ? ORDER BY seq DESC LIMIT 1", (run,)
        ).fetchone()
        record = record_of(
            [
                v.encode() if isinstance(v, str) else v
                for v in (*row[:10], row[10].replace(old, new), *row[11:])
            ]
        )
        assert record.payload.decode() != row[10]
        return db.execute(
            "UPDATE records SET payload = ?, hash = ? WHERE pos = ?",
            (record.payload.decode(), hash_record(record, record.prev), record.pos),
        )

    return damage


def run_sql(statement: str) -> Damage:
    """A statement about the run ``?1``."""
    return lambda db, run: db.execute(statement, (run,))


DAMAGE: dict[str, Damage] = {
    "a byte of the payload": edit("payload", "replace(payload, 'task', 'tusk')"),
    "a byte that is not UTF-8": edit("payload", "CAST(x'5bff5d' AS TEXT)"),
    "the payload is no JSON": edit("payload", "substr(payload, 1, 30)"),
    "the type": edit("type", "'ran'"),
    "the actor is not UTF-8": edit("actor", "CAST(x'ff' AS TEXT)"),
    "the rules": edit("rules", "99"),
    "the version": edit("v", "99"),
    "the number": edit("seq", "seq + 1000"),
    "the count": edit("count", "count + 1"),
    "no count": edit("count", "0"),
    "the time": edit("at", "9223372036854775807"),
    "the hash": edit("hash", "zeroblob(32)"),
    "the link": edit("prev", "x'00'"),
    "the first record": edit("payload", "'[]'", record=0),
    "a record in the middle is missing": run_sql(
        "DELETE FROM records WHERE pos = (SELECT pos FROM records WHERE stream = ?1 "
        "ORDER BY seq LIMIT 1 OFFSET 1)"
    ),
    "all records are missing": run_sql("DELETE FROM records WHERE stream = ?1"),
    "an event that does not apply": forge("task.", "run.resumed_"),
    "an event of another task": forge('"task":"', '"task":"no_'),
    "a blob is missing": run_sql(
        "DELETE FROM blobs WHERE digest IN (SELECT digest FROM uses WHERE stream = ?1)"
    ),
    "a blob was changed": run_sql(
        "UPDATE blobs SET body = x'7b7d' "
        "WHERE digest IN (SELECT digest FROM uses WHERE stream = ?1)"
    ),
}


@pytest.fixture(scope="module")
def twenty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with twenty runs that wait for a signal; each has a large result of its own."""
    import asyncio

    from agenthive import AgentRegistry, Hive, load

    folder = tmp_path_factory.mktemp("twenty")
    (folder / "flow.json").write_text(FLOW)

    async def echo(action: str, parameters: dict[str, str]) -> dict[str, str]:
        echo.calls += 1  # type: ignore[attr-defined]
        return {**parameters, "number": str(echo.calls)}  # type: ignore[attr-defined]

    echo.calls = 0  # type: ignore[attr-defined]

    async def start() -> None:
        agents = AgentRegistry()
        agents.register("echo", echo)
        async with Hive.open(folder / "home", agents=agents) as hive:
            spec = load(folder / "flow.json").spec
            for number in range(RUNS):
                await hive.submit(spec, run_id=f"run-{number:02}")
            for number in range(RUNS):
                await hive.wait(f"run-{number:02}")

    asyncio.run(start())
    return folder / "home"


@pytest.mark.slow
@pytest.mark.parametrize("place", DAMAGE)
def test_nineteen_complete_and_the_one_is_named(
    place: str, twenty: Path, here: Path, cli: Cli
) -> None:
    shutil.copytree(twenty, here / "home")
    with sqlite3.connect(here / "home" / "journal.db") as db:
        DAMAGE[place](db, "run-07")
    db.close()
    assert cli("doctor").code == 10
    import asyncio

    asyncio.run(_signal_all(here / "home"))
    (here / "new.json").write_text(workflow({"name": "one", "agent": "echo"}))
    started = cli("run", "new.json", "--agents", "agents.py", "-q")
    assert started.code == 0, started

    listed = cli("ps", "--json", "-n", "100").json["runs"]
    states = {row["run"]: row["status"] for row in listed if row["run"].startswith("run-")}
    assert states.pop("run-07") == "set_apart"
    assert states == {f"run-{number:02}": "completed" for number in range(RUNS) if number != 7}
    [reason] = [row["reason"] for row in listed if row["run"] == "run-07"]
    assert reason
    table = cli("ps", "-n", "100")
    assert table.code == 0
    assert f"run run-07 is set apart: {reason}" in table.err
    checkup = cli("doctor", "--json")
    assert checkup.code == 10
    assert "run-07" in json.dumps(checkup.json)
    assert "run-08" not in json.dumps(checkup.json)
    # What is readable is shown, up to the damage.
    assert cli("events", "run-07").code in (0, 10)
    for command in ("why", "show", "resume", "export"):
        refused = cli(command, "run-07")
        assert refused.code == 10, (command, refused)
        assert "run-07" in refused.err
        assert "Traceback" not in refused.err
    assert cli("signal", "run-07", "go").code == 10
    assert cli("cancel", "run-07").code == 10
    assert cli("ps", "--metrics").code == 0
    assert cli("costs").code == 0
    assert cli("work", "--until-idle", "--agents", "agents.py").code == 0


async def _signal_all(home: Path) -> None:
    from agenthive import AgentRegistry, Hive
    from agenthive.errors import RunUnusable

    async def echo(action: str, parameters: dict[str, str]) -> str:
        return "done"

    agents = AgentRegistry()
    agents.register("echo", echo)
    async with Hive.open(home, agents=agents, recover=True) as hive:
        assert [*hive.set_apart_runs] == ["run-07"]
        for number in range(RUNS):
            if number != 7:
                await hive.signals.send(f"run-{number:02}", "go")
                assert (await hive.wait(f"run-{number:02}")).status == "completed"
        for request in (
            hive.signals.send("run-07", "go"),
            hive.cancel("run-07"),
            hive.wait("run-07"),
            hive.report("run-07"),
            hive.why("run-07"),
        ):
            with pytest.raises(RunUnusable, match="run run-07 is set apart"):
                await request


def test_a_run_that_lost_its_end(twenty: Path, here: Path, cli: Cli) -> None:
    """The chain of an open run still holds then; the positions of its last events are empty."""
    shutil.copytree(twenty, here / "home")
    assert cli("doctor").code == 0
    with sqlite3.connect(here / "home" / "journal.db") as db:
        db.execute(
            "DELETE FROM records WHERE pos = (SELECT max(pos) FROM records WHERE stream = 'run-07')"
        )
    db.close()
    checkup = cli("doctor")
    assert checkup.code == 10
    assert "events are missing from the journal" in checkup.out


@pytest.mark.parametrize("column", ["created", "finished"])
@pytest.mark.parametrize("value", [2**63 - 1, -(2**63), 253_402_300_800_000_000])
def test_a_time_in_the_run_list_that_no_calendar_has(
    column: str, value: int, here: Path, cli: Cli
) -> None:
    """The row of one run does not hide the others; `doctor` tells that the list is wrong."""
    (here / "flow.json").write_text(workflow({"name": "one", "agent": "echo"}))
    for _ in range(2):
        assert cli("run", "flow.json", "--agents", "agents.py", "-q").code == 0
    one, other = (row["run"] for row in cli("ps", "--json").json["runs"])
    with sqlite3.connect(here / "home" / "journal.db") as db:
        db.execute(f"UPDATE runs SET {column} = ? WHERE run = ?", (value, one))
    db.close()
    listed = cli("ps")
    assert listed.code == 0, listed
    assert one in listed.out
    assert other in listed.out
    for command in (["ps", "--metrics"], ["show", one], ["costs"], ["du"]):
        assert cli(*command).code == 0, command
    assert cli("doctor").code == 10


@pytest.mark.parametrize("value", ["'{'", "CAST(x'ff' AS TEXT)", "'NaN'"])
def test_a_damaged_cache_costs_a_call(value: str, here: Path, cli: Cli) -> None:
    (here / "flow.json").write_text(
        workflow({"name": "one", "agent": "echo", "cache": {"ttl": 1000}})
    )
    run = ("run", "flow.json", "--agents", "agents.py", "-q", "--json")
    first = cli(*run).json
    with sqlite3.connect(here / "home" / "journal.db") as db:
        assert db.execute(f"UPDATE cache SET result = {value}").rowcount == 1
    db.close()
    again = cli(*run)
    assert again.code == 0, again
    assert again.json["results"] == first["results"]


def test_a_damaged_hive_stream_refuses_the_home(twenty: Path, here: Path, cli: Cli) -> None:
    last = "payload = '[]' WHERE pos = (SELECT max(pos) FROM records WHERE stream = ?1)"
    for number, damage in enumerate(
        (
            edit("payload", "replace(payload, 'run_opened', 'run_opend')"),
            edit("hash", "x'00'"),
            run_sql(f"UPDATE records SET {last}"),
            run_sql(f"UPDATE records SET {last.replace('[]', '{')}"),
        )
    ):
        home = here / f"home-{number}"
        shutil.copytree(twenty, home)
        with sqlite3.connect(home / "journal.db") as db:
            damage(db, "hive")
        db.close()
        for words in (["work", "--until-idle"], ["doctor"], ["resume"], ["why", "run-01"]):
            refused = cli(*words, home=str(home))
            assert refused.code == 10, (words, refused)
            assert "Restore the whole home from a backup" in refused.err
