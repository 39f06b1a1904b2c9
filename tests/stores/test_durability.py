"""Every connection to a journal is as durable and as patient as it must be."""

from __future__ import annotations

from pathlib import Path

import pytest

from agenthive.stores.sqlite import SqliteStore, _connect


@pytest.mark.parametrize("time", ["made", "opened again"])
async def test_pragmas_are_in_force(time: str, tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    store = SqliteStore.open(path)
    if time == "opened again":
        await store.close()
        store = SqliteStore.open(path)
    for connection in (store._db, _connect(path)):
        found = {
            name: connection.pragma(name)
            for name in ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")
        }
        assert found == {
            "journal_mode": "wal", "synchronous": 2, "busy_timeout": 5000, "foreign_keys": 1,
        }  # fmt: skip
    connection.close()
    await store.close()
