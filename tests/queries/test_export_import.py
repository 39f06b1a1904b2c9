"""A run as a file: it comes back as it was, and nothing that was touched comes in."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from agenthive import AgentRegistry, Hive
from agenthive.core.history import blobs
from agenthive.core.history.retention import older_than
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.hash_chain import GENESIS, seal_record
from agenthive.core.journal.records import Record
from agenthive.core.model.definition import encode
from agenthive.errors import Conflict, DefinitionError, JournalTooNew, RunNotFound, StoreError
from agenthive.hive import open_journal
from agenthive.infra.clock import SystemClock
from agenthive.queries import export_import
from agenthive.queries.export_import import read_import
from tests.core.rig import NO_RETRY, flow, task

LARGE = "y" * (blobs.LARGE_BYTES + 1)
SPEC = flow(task("t"), task("u", "t"), task("v", agent="b", retry=NO_RETRY))
Lines = list[dict[str, Any]]


def agents() -> AgentRegistry:
    known = AgentRegistry()

    async def large() -> str:
        return LARGE

    async def broken() -> None:
        raise ValueError("no")

    async def slow() -> None:
        await asyncio.sleep(60)

    for name, function in (("a", large), ("b", broken), ("slow", slow)):
        known.register(name, function)
    return known


def opened(home: Path, **more: Any) -> Hive:
    return Hive.open(home, agents=agents(), **more)


async def exported(hive: Hive, run: str) -> bytes:
    return b"".join([line async for line in hive.journal.export_run(run)])


async def until(hive: Hive, run: str, kind: type[ev.Event]) -> None:
    async for fact in hive.watch(run):
        if fact.type == kind.__struct_config__.tag:
            return


@pytest.fixture
async def made(tmp_path: Path) -> bytes:
    """The file of a run that failed, with a large result and an undramatic past."""
    async with opened(tmp_path / "there") as hive:
        run = await hive.submit(SPEC, run_id="r")
        await hive.wait(run)
        return await exported(hive, run)


def written(folder: Path, content: bytes) -> Path:
    file = folder / "r.jsonl"
    file.write_bytes(content)
    return file


async def test_comes_back_as_it_was(tmp_path: Path, made: bytes) -> None:
    file = written(tmp_path, made)
    async with opened(tmp_path / "there") as there, opened(tmp_path / "here") as here:
        taken = await here.retention.import_run(file)
        assert (taken.run, taken.status, taken.new) == ("r", "failed", True)
        assert not (await here.retention.import_run(file)).new
        assert await here.report("r") == await there.report("r")
        assert await here.runs() == await there.runs()
        first, second = [await one.journal.read_records("r") for one in (here, there)]
        assert [r.hash for r in first] == [r.hash for r in second]
        assert await exported(here, "r") == made
        await here.journal.verify_chains()
        with pytest.raises(Conflict, match="exists already"):
            await here.submit(SPEC, run_id="r")
        with pytest.raises(Conflict, match="exists already"):
            await here.retention.import_run(written(tmp_path, await other(tmp_path)))
        assert [done async for done in here.retention.prune(older_than(0))][-1].runs == 1
        with pytest.raises(RunNotFound):
            await here.report("r")
        assert (await here.retention.import_run(written(tmp_path, made))).new
        await here.journal.verify_chains()
    async with open_journal(tmp_path / "here") as archive:
        await archive.verify_chains()
        assert (await archive.read_report("r")).results == {"t": LARGE}


async def other(tmp_path: Path) -> bytes:
    """Another run of the same id."""
    async with opened(tmp_path / "elsewhere") as hive:
        await hive.wait(await hive.submit(flow(task("x")), run_id="r"))
        return await exported(hive, "r")


async def test_an_open_run_is_a_copy(tmp_path: Path) -> None:
    spec = flow(task("t", agent="a"), task("s", "t", agent="slow"))
    async with opened(tmp_path / "there") as there:
        run = await there.submit(spec, run_id="r")
        await until(there, run, ev.TaskSucceeded)
        file = written(tmp_path, await exported(there, run))
    async with opened(tmp_path / "here") as here:
        with pytest.raises(Conflict, match="has not ended") as caught:
            await here.retention.import_run(file)
        assert "--open" in caught.value.hint
        with pytest.raises(RunNotFound):
            await here.report(run)
        assert (await here.retention.import_run(file, open_too=True)).new
        assert await here.resume() == [], "it does not go on by itself"
        assert await here.journal.list_unresumed_imports() == {"r"}
        await here.journal.verify_chains()
    async with opened(tmp_path / "here", recover=True) as here:
        assert await here.resume() == []
        assert not here._resources.driver.runs
        assert not (await here.retention.import_run(file, open_too=True)).new
        assert await here.resume([run]) == [run]
        await here.cancel(run)
        assert await here.wait_for_end(run) == "cancelled"
        assert await here.journal.list_unresumed_imports() == set()
        assert (await here.report(run)).results == {"t": LARGE}
        await here.journal.verify_chains()
        with pytest.raises(Conflict, match="exists already"):
            await here.retention.import_run(file, open_too=True)


async def test_once_gone_on_with_it_is_like_any_other(tmp_path: Path) -> None:
    async with opened(tmp_path / "there") as there:
        run = await there.submit(flow(task("s", agent="slow")), run_id="r")
        await until(there, run, ev.TaskStarted)
        file = written(tmp_path, await exported(there, run))
    async with opened(tmp_path / "here") as here:
        await here.retention.import_run(file, open_too=True)
        await here.resume([run])
        await until(here, run, ev.TaskLost)
    async with opened(tmp_path / "here") as here:
        assert await here.resume() == [run]


async def test_no_secret_goes_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    canary = "canary-5f2b7c81"
    monkeypatch.setenv("CANARY", canary)
    heard: list[str] = []

    async def told(parameters: dict[str, Any]) -> str:
        heard.append(parameters["token"])
        return "done"

    known = AgentRegistry()
    known.register("a", told)
    async with Hive.open(tmp_path / "home", agents=known) as hive:
        run = await hive.submit(flow(task("t", parameters={"token": "${env:CANARY}"})))
        await hive.wait(run)
        content = await exported(hive, run)
    assert heard, "the agent was called"
    assert b"CANARY" in content
    assert canary.encode() not in content


async def test_a_key_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    """Readers differ in which one counts: in a line, and in the texts that are JSON themselves."""
    async with opened(tmp_path / "there") as there:
        content = await exported(there, await there.submit(flow(task("t"))))
    assert read_import(io.BytesIO(content), SystemClock().now())
    for old, new in (
        (b'"status":"', b'"status":"failed","status":"'),
        (b'"kind":"record",', b'"kind":"record","actor":"other",'),
        (b'{\\"type\\":', b'{\\"task\\":1,\\"task\\":2,\\"type\\":'),
    ):
        forged = content.replace(old, new, 1)
        assert forged != content
        with pytest.raises(DefinitionError, match="twice"):
            read_import(io.BytesIO(forged), SystemClock().now())


def lines_of(content: bytes) -> Lines:
    return [json.loads(line) for line in content.splitlines()]


def file_of(lines: Lines) -> io.BytesIO:
    return io.BytesIO(b"".join(json.dumps(line).encode() + b"\n" for line in lines))


def rechained(lines: Lines) -> None:
    """Compute the chain anew, as a forger would."""
    prev = GENESIS
    for line in lines:
        if line.get("kind") == "record":
            fields = {k: v for k, v in line.items() if k not in ("kind", "prev", "hash")}
            record = Record(
                stream=lines[0]["run"], **fields | {"payload": line["payload"].encode()}
            )
            sealed = seal_record(record, prev, 0)
            line |= {"prev": sealed.prev.hex(), "hash": sealed.hash.hex()}
            prev = sealed.hash
    lines[0]["head"] = prev.hex()


def kinds(lines: Lines, kind: str) -> Lines:
    return [line for line in lines if line.get("kind") == kind]


def first(lines: Lines, kind: str) -> dict[str, Any]:
    return kinds(lines, kind)[0]


def other_definition(lines: Lines) -> None:
    body = encode(flow(task("z"))).decode()
    digest = sha256(body.encode()).hexdigest()
    first(lines, "definition").update(body=body, digest=digest)


def no_records(lines: Lines) -> None:
    lines[:] = [line for line in lines if line.get("kind") != "record"]


def no_blob(lines: Lines) -> None:
    lines.remove(first(lines, "blob"))
    lines[0]["blobs"] = 0


def one_more_blob(lines: Lines) -> None:
    lines.append({"kind": "blob", "digest": "00", "body": "1"})
    lines[0]["blobs"] = 2


def replaced(old: str, new: str) -> Callable[[Lines], None]:
    def change(lines: Lines) -> None:
        for record in kinds(lines, "record"):
            record["payload"] = record["payload"].replace(old, new)

    return change


FORGED: dict[str, Callable[[Lines], None]] = {
    "another status": lambda x: x[0].update(status="cancelled"),
    "another number of events": lambda x: x[0].update(events=x[0]["events"] - 1),
    "another name": lambda x: x[0].update(name="other"),
    "no records": no_records,
    "another run": lambda x: x[0].update(run="other"),
    "a count too high": lambda x: x[0].update(records=x[0]["records"] + 1),
    "no blob": lambda x: x.remove(first(x, "blob")),
    "no blob, and counted": no_blob,
    "another blob": lambda x: first(x, "blob").update(body='"other"'),
    "a blob without a reference": one_more_blob,
    "no definition": lambda x: x.remove(first(x, "definition")),
    "another definition": other_definition,
    "a definition too many": lambda x: x.append(
        {"kind": "definition", "digest": sha256(b"{}").hexdigest(), "body": "{}"}
    ),
    "no submission": lambda x: x.remove(first(x, "record")),
    "a fact of the hive": lambda x: first(x, "record").update(type="hive"),
    "a fact that is none": replaced("task.started", "task.startled"),
    "a fact that cannot be": replaced("task.succeeded", "task.woke"),
    "an attempt that cannot be": replaced('"attempt":1', '"attempt":7'),
    "a count that is wrong": lambda x: first(x, "record").update(count=9),
    "a time to come": lambda x: kinds(x, "record")[-1].update(at=1 << 62),
    "a strange line": lambda x: x.append({"kind": "strange"}),
    "a line without kind": lambda x: x.append({}),
    "a hash that is none": lambda x: x[0].update(head="zz"),
}


@pytest.mark.parametrize("what", FORGED)
def test_what_was_forged_stays_out(made: bytes, what: str) -> None:
    lines = lines_of(made)
    rechained(lines)
    assert read_import(file_of(lines), SystemClock().now()).event.run == "r", (
        "as it was, it comes in"
    )
    FORGED[what](lines)
    if what not in ("a count that is wrong", "no submission", "a hash that is none"):
        rechained(lines)
    with pytest.raises(DefinitionError, match="not a complete export of a run"):
        read_import(file_of(lines), SystemClock().now())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda x: x[0].update(schema="agenthive/run-export/2"), "version 2"),
        (lambda x: first(x, "record").update(rules=99), "rules 99"),
        (lambda x: first(x, "record").update(v=2), "version 2"),
    ],
)
def test_what_a_later_version_wrote(
    made: bytes, change: Callable[[Lines], None], says: str
) -> None:
    lines = lines_of(made)
    change(lines)
    rechained(lines)
    with pytest.raises(JournalTooNew, match=says):
        read_import(file_of(lines), SystemClock().now())


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"{}", b"[]\n", b"\xff\xfe", b'{"schema":"agenthive/run/1"}\n', b"\0" * 100],
)
def test_what_is_no_export(content: bytes) -> None:
    with pytest.raises(DefinitionError, match="not a complete export of a run"):
        read_import(io.BytesIO(content), 1)


def test_any_schema_must_be_ours(made: bytes) -> None:
    for schema in ("agenthive/run-export/", "agenthive/run-export/x", "other/run-export/1", "1"):
        lines = lines_of(made)
        lines[0]["schema"] = schema
        with pytest.raises(DefinitionError, match="its schema is"):
            read_import(file_of(lines), SystemClock().now())


def test_any_flip_shows(made: bytes) -> None:
    """Whatever single byte is changed: refused, or (in the header's name) of no consequence."""
    rng, now = Random(7), SystemClock().now()
    whole = read_import(io.BytesIO(made), now)
    taken = 0
    for _ in range(300):
        place = rng.randrange(len(made))
        flipped = bytearray(made)
        flipped[place] ^= 1 << rng.randrange(8)
        try:
            found = read_import(io.BytesIO(bytes(flipped)), now)
        except (DefinitionError, JournalTooNew):
            continue
        assert found == whole
        taken += 1
    assert taken < 10


def test_any_cut_shows(made: bytes) -> None:
    rng, now = Random(8), SystemClock().now()
    cuts = {rng.randrange(len(made) - 1) for _ in range(60)}
    cuts |= {match for match in range(len(made) - 1) if made[match : match + 1] == b"\n"}
    for cut in cuts:
        with pytest.raises(DefinitionError):
            read_import(io.BytesIO(made[:cut]), now)


def test_bounds(made: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_import, "MAX_LINE_BYTES", len(LARGE) // 2)
    with pytest.raises(DefinitionError, match="a line has more than"):
        read_import(io.BytesIO(made), SystemClock().now())
    monkeypatch.undo()
    monkeypatch.setattr(export_import, "MAX_BYTES", len(made) - 1)
    with pytest.raises(DefinitionError, match="in all"):
        read_import(io.BytesIO(made), SystemClock().now())
    assert (len(made) - 1, 96 * 2**20) == (export_import.MAX_BYTES, export_import.MAX_LINE_BYTES)


@pytest.mark.parametrize("run", ["hive", "../../etc", "", "x" * 200, "a b"])
async def test_ids_that_cannot_be(tmp_path: Path, made: bytes, run: str) -> None:
    lines = lines_of(made)
    lines[0]["run"] = run
    record = first(lines, "record")
    facts = ev.decode_run_events(record["payload"].encode())
    assert isinstance(facts[0], ev.RunSubmitted)
    facts[0] = msgspec.structs.replace(facts[0], run=run)
    record["payload"] = ev.encode(facts).decode()
    rechained(lines)
    file = written(tmp_path, file_of(lines).read())
    async with opened(tmp_path / "here") as here:
        with pytest.raises(DefinitionError):
            await here.retention.import_run(file)
        assert await here.runs() == []
        await here.journal.verify_chains()


async def test_exporting_what_is_damaged(tmp_path: Path, made: bytes) -> None:
    import apsw

    for table in ("blobs", "definitions"):
        outside = apsw.Connection(str(tmp_path / "there" / "journal.db"))
        outside.execute(f"DELETE FROM {table}")
        outside.close()
        async with opened(tmp_path / "there") as hive:
            with pytest.raises(StoreError, match="missing"):
                await exported(hive, "r")
