"""Every connection to a journal is as durable and as patient as it must be."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from agenthive.core.journal.records import Batch, Record
from agenthive.hive import Hive, open_journal
from agenthive.queries.journal_reader import JournalReader
from agenthive.stores.sqlite import SqliteStore, _open_connection
from tests.stores.broken_disk import small_disk

ROOM = 1_000_000


@pytest.mark.parametrize("time", ["made", "opened again"])
async def test_pragmas_are_in_force(time: str, tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    store = SqliteStore.open(path)
    if time == "opened again":
        await store.close()
        store = SqliteStore.open(path)
    for connection in (store._db, _open_connection(path)):
        found = {
            name: connection.pragma(name)
            for name in ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")
        }
        assert found == {
            "journal_mode": "wal",
            "synchronous": 2,
            "busy_timeout": 5000,
            "foreign_keys": 1,
        }
    connection.close()
    await store.close()


def batch(seq: int) -> Batch:
    record = Record(stream="s", seq=seq, count=1, at=seq, type="run", payload=b"[]")
    return Batch(records=[record])


async def log_size(home: Path) -> int:
    """Bytes of the log, once the writer has begun."""
    log = home / "journal.db-wal"
    for _ in range(100):
        await asyncio.sleep(0.01)
        if log.exists() and log.stat().st_size >= ROOM:
            break
    return log.stat().st_size if log.exists() else 0


async def test_an_owner_makes_room_for_what_it_will_write(tmp_path: Path) -> None:
    async with Hive.open(tmp_path):
        assert ROOM <= await log_size(tmp_path) < 2 * ROOM
        before = (tmp_path / "journal.db").stat().st_size
        async with open_journal(tmp_path) as archive:
            assert await archive.list_runs() == []
        assert await log_size(tmp_path) < 2 * ROOM
    assert not (tmp_path / "journal.db-wal").exists()
    assert (tmp_path / "journal.db").stat().st_size == before, "the journal has not grown"


async def test_who_only_reads_makes_no_room(tmp_path: Path) -> None:
    await SqliteStore.open(tmp_path / "journal.db").close()
    async with open_journal(tmp_path) as archive:
        await archive.list_runs()
        assert await log_size(tmp_path) < ROOM


async def test_room_is_filled_and_gone_over(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    store = SqliteStore.open(path, preallocate=True)
    for seq in range(1, 400):
        await store.append(batch(seq))
    await store.close()
    store = SqliteStore.open(path, preallocate=True)
    assert await JournalReader(store).verify_chains() == 399
    tables = store._db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    assert sorted(name for (name,) in tables) == [
        "accounts",
        "blobs",
        "cache",
        "definitions",
        "marks",
        "records",
        "requests",
        "runs",
        "uses",
    ]
    assert store._db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert store._db.pragma("cache_size") == -2000
    await store.close()


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a small disk")
async def test_without_room_it_works_all_the_same(tmp_path: Path) -> None:
    try:
        with small_disk(tmp_path / "disk", "1m") as disk:
            store = SqliteStore.open(disk / "journal.db", preallocate=True)
            for seq in range(1, 4):
                await store.append(batch(seq))
            assert store._db.pragma("cache_size") == -2000
            await store.close()
            store = SqliteStore.open(disk / "journal.db")
            assert await JournalReader(store).verify_chains() == 3
            await store.close()
    except PermissionError as error:
        pytest.skip(f"no right to mount a file system: {error}")
