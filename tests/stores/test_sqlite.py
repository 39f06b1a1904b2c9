"""The SQLite store: what it promises beyond the port (which `tests/testing` checks)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import apsw
import pytest

from agenthive import AgentRegistry, Hive, Workflow
from agenthive.core.journal.records import Batch, Record, RunRow
from agenthive.errors import (
    AgentHiveError,
    JournalTooNew,
    StoreError,
    StoreFailed,
    StoreUnavailable,
)
from agenthive.queries.journal_reader import JournalReader
from agenthive.stores.sqlite import SqliteStore, engine_version

FLIPS = 300
LAST = "SELECT max(pos) FROM records WHERE type = 'run'"


def record(seq: int, stream: str = "s", size: int = 10) -> Record:
    payload = b'["' + b"x" * size + b'"]'
    return Record(stream=stream, seq=seq, count=1, at=seq, type="run", payload=payload)


def batch(seq: int, stream: str = "s", size: int = 10) -> Batch:
    return Batch(records=[record(seq, stream, size)])


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[apsw.Connection]]:
    """Every connection that is opened."""
    kept: list[apsw.Connection] = []

    class Noted(apsw.Connection):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)  # type: ignore[arg-type]
            kept.append(self)

    monkeypatch.setattr(apsw, "Connection", Noted)
    yield kept
    kept.clear()


def seen(path: Path) -> list[int]:
    """What a stranger sees of the stream."""
    outside = apsw.Connection(str(path), apsw.SQLITE_OPEN_READONLY)
    try:
        return [row[0] for row in outside.execute("SELECT seq FROM records WHERE stream = 's'")]
    finally:
        outside.close()


async def test_every_connection_is_wal_and_full(
    tmp_path: Path, made: list[apsw.Connection]
) -> None:
    store = SqliteStore.open(tmp_path / "journal.db")
    await store.append(batch(1))
    await asyncio.gather(*(store.find_run("r") for _ in range(4)))
    assert len(made) >= 3
    for one in made[1:]:  # the first one made the file, and is closed
        assert one.pragma("journal_mode") == "wal"
        assert one.pragma("synchronous") == 2, "FULL"
    await store.close()


def test_engine_has_no_reset_bug() -> None:
    assert tuple(map(int, engine_version().split("."))) >= (3, 51, 3)


async def test_files_are_for_the_owner_only(tmp_path: Path) -> None:
    store = SqliteStore.open(tmp_path / "deep" / "home" / "journal.db")
    await store.append(batch(1))
    found = sorted((tmp_path / "deep" / "home").iterdir())
    assert [file.name for file in found] == ["journal.db", "journal.db-shm", "journal.db-wal"]
    assert [oct(file.stat().st_mode & 0o777) for file in found] == ["0o600"] * 3
    assert (tmp_path / "deep" / "home").stat().st_mode & 0o777 == 0o700
    await store.close()


async def test_what_is_acknowledged_is_committed(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    store = SqliteStore.open(path)
    for seq in range(1, 30):
        await store.append(batch(seq))
        assert seen(path) == list(range(1, seq + 1))
    await store.close()


async def test_what_waits_is_committed_together(
    tmp_path: Path, made: list[apsw.Connection]
) -> None:
    store = SqliteStore.open(tmp_path / "journal.db")
    commits = 0

    def count() -> bool:
        nonlocal commits
        commits += 1
        return False

    made[-1].set_commit_hook(count)
    await asyncio.gather(*(store.append(batch(seq)) for seq in range(1, 401)))
    assert 1 <= commits <= 40, f"{commits} commits for 400 batches"
    for seq in range(401, 404):
        before = commits
        await store.append(batch(seq))
        assert commits == before + 1
    await store.close()


async def test_cancelled_append_is_written_all_the_same(tmp_path: Path) -> None:
    store = SqliteStore.open(tmp_path / "journal.db")
    given_up = store.append(batch(1))
    given_up.cancel()
    await store.append(batch(2))
    assert [r.seq async for r in store.read("s")] == [1, 2]
    await store.close()


def test_loop_that_is_gone(tmp_path: Path) -> None:
    store = SqliteStore.open(tmp_path / "journal.db")

    async def ask() -> None:
        for seq in range(1, 200):
            store.append(batch(seq, size=5000))

    asyncio.run(ask())
    asyncio.run(store.close())
    assert len(seen(tmp_path / "journal.db")) == 199


async def test_failure_poisons_what_waits_and_what_comes(tmp_path: Path) -> None:
    store = SqliteStore.open(tmp_path / "journal.db")
    await store.append(batch(1))
    results = await asyncio.gather(
        store.append(batch(7)), store.append(batch(2)), return_exceptions=True
    )
    assert isinstance(results[0], StoreFailed)
    with pytest.raises(StoreFailed, match=r"outcome unknown.*record 7, expected 2"):
        await store.append(batch(2))
    await store.close()
    again = SqliteStore.open(tmp_path / "journal.db")
    await again.append(batch(len(seen(again.path)) + 1))
    await again.close()


async def test_journal_of_a_later_version(tmp_path: Path) -> None:
    store = SqliteStore.open(tmp_path / "journal.db")
    await store.close()
    outside = apsw.Connection(str(store.path))
    outside.pragma("user_version", 99)
    outside.close()
    with pytest.raises(JournalTooNew, match="schema version 99, this agenthive knows 4") as caught:
        SqliteStore.open(store.path)
    assert caught.value.exit_code == 10


@pytest.mark.parametrize("what", ["text", "a folder", "nothing but zeros", "half a database"])
async def test_file_that_is_no_journal(tmp_path: Path, what: str) -> None:
    path = tmp_path / "journal.db"
    if what == "a folder":
        path.mkdir()
    elif what == "half a database":
        await SqliteStore.open(path).close()
        path.write_bytes(path.read_bytes()[:1500])
    else:
        path.write_bytes(b"\0" * 8192 if "zeros" in what else b"dear diary, " * 500)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(StoreError, match=r"cannot be opened|is not a journal|is damaged"):
        SqliteStore.open(path)
    assert not path.is_file() or path.read_bytes() == before


async def test_leftovers_of_a_creation_that_was_cut_off(tmp_path: Path) -> None:
    for name in ("journal.db.new", "journal.db.new-wal", "journal.db.new-shm"):
        (tmp_path / name).write_text("junk")
    store = SqliteStore.open(tmp_path / "journal.db")
    await store.append(batch(1))
    await store.close()
    assert os.listdir(tmp_path) == ["journal.db"]


async def test_reader_that_finds_no_table(tmp_path: Path) -> None:
    store = SqliteStore.open(tmp_path / "journal.db")
    await store.append(batch(1))
    outside = apsw.Connection(str(store.path))
    outside.execute("DROP TABLE runs")
    outside.close()
    with pytest.raises(StoreUnavailable, match=r"cannot be read: .*no such table"):
        await store.list_runs()
    assert [r.seq async for r in store.read("s")] == [1]
    with pytest.raises(StoreFailed, match="outcome unknown"):
        await store.append(Batch(runs=[RunRow(run="r", name="w", status="queued", created=1)]))
    await store.close()


# A journal that was changed behind our back.


async def journal(home: Path) -> Path:
    """A closed journal with two runs in it."""
    agents = AgentRegistry()
    agents.register("say", lambda parameters: parameters)
    flow = Workflow("flow", max_parallel=3)
    agent = flow.agent("say", type="custom", endpoint="custom://say")
    for number in range(8):
        flow.task(f"t{number}", agent=agent, action="go", parameters={"of": "bées" * number})
    async with Hive.open(home, agents=agents) as hive:
        for _ in range(2):
            assert (await hive.run(flow.build())).status == "completed"
    # A page that was split keeps stale copies of records. Afterwards only the root has some.
    outside = apsw.Connection(str(home / "journal.db"))
    outside.execute("VACUUM")
    outside.close()
    return home / "journal.db"


def live_bytes(path: Path) -> list[int]:
    """Where the fields of the records stand in the file, to the byte."""
    content = path.read_bytes()
    outside = apsw.Connection(str(path), apsw.SQLITE_OPEN_READONLY)
    rows = list(outside.execute("SELECT stream, payload, prev, hash FROM records"))
    root = outside.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'records'").get
    leaves = root * outside.pragma("page_size")
    outside.close()
    places: list[int] = []
    for stream, payload, prev, mark in rows:
        end = content.find(payload.encode() + prev + mark, leaves)
        if end >= 0:  # otherwise it goes over several pages
            first = content.rfind(stream.encode(), 0, end)
            places += range(first, end + len(payload.encode()) + 64)
    assert len(places) > 3000
    return places


@pytest.mark.slow
async def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    path = await journal(tmp_path / "home")
    good, places, dice = path.read_bytes(), live_bytes(path), Random(1)
    assert await verified(path) > 10
    found: dict[str, int] = {}
    for _ in range(FLIPS):
        place, bit = dice.choice(places), 1 << dice.randrange(8)
        path.write_bytes(good[:place] + bytes([good[place] ^ bit]) + good[place + 1 :])
        with pytest.raises(AgentHiveError) as caught:
            await verified(path)
        kind = type(caught.value).__name__
        found[kind] = found.get(kind, 0) + 1
    print(f"{FLIPS} flipped bits: {found}")
    assert sum(found.values()) == FLIPS
    assert set(found) <= {"StoreCorrupt", "JournalTooNew", "StoreUnavailable", "StoreFailed"}


async def verified(path: Path) -> int:
    store = SqliteStore.open(path)
    try:
        return await JournalReader(store).verify_chains()
    finally:
        await store.close()


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE records SET payload = replace(payload, 't1', 't2') WHERE type = 'run'",
        "UPDATE records SET at = at + 1 WHERE pos = 1",
        "UPDATE records SET actor = 'eve' WHERE type = 'hive'",
        "UPDATE records SET rules = rules + 1",
        "DELETE FROM records WHERE type = 'run' AND seq > 3 AND seq < 12",
        f"UPDATE records SET stream = 'hive' WHERE pos = ({LAST})",
        f"DELETE FROM records WHERE pos = ({LAST})",
        "DELETE FROM records WHERE stream = (SELECT min(stream) FROM records WHERE type = 'run')",
        "UPDATE records SET payload = x'ff00' || payload WHERE pos = 1",
    ],
)
async def test_edit_is_found(tmp_path: Path, edit: str) -> None:
    path = await journal(tmp_path / "home")
    outside = apsw.Connection(str(path))
    outside.execute(edit)
    outside.close()
    with pytest.raises(StoreError):
        await verified(path)
