"""A simulation's journal in a real SQLite file: what is promised of the file is played on it.

Each process of the simulation opens the file anew. Waits for the disk, so it is slow: for some of
the seeds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from agenthive.core.journal.records import AccountState, Batch, Record
from agenthive.simulation.recording import Recorder, WatchedDisk
from agenthive.stores.sqlite import SqliteStore

T = TypeVar("T")


class SqliteDisk(WatchedDisk):
    """Writes everything to a file, and reads records, accounts and marks from it."""

    def __init__(self, recorder: Recorder, path: Path) -> None:
        super().__init__(recorder)
        self._path = path
        self._loop = asyncio.new_event_loop()
        self._store = SqliteStore.open(path)

    def write(self, batch: Batch) -> None:
        """Write one batch into the file, then into memory, where the judge looks."""
        self._run_async(self._append_batch(batch))
        super().write(batch)

    def reopen(self) -> None:
        """The process ended: the file is closed and opened by another."""
        self._run_async(self._store.close())
        self._store = SqliteStore.open(self._path)

    def records(self, stream: str) -> list[Record]:
        """All records of a stream, from the file."""
        return self._run_async(self._read_all(stream))

    def accounts(self) -> list[AccountState]:
        """How every account stands, by the file."""
        return [*self._run_async(self._store.list_account_states())]

    def get_marks(self) -> dict[str, str]:
        """The texts that are kept in the file."""
        return self._run_async(self._store.list_marks())

    def close(self) -> None:  # type: ignore[override]
        """Let go of the file."""
        self._run_async(self._store.close())
        self._loop.close()

    async def _append_batch(self, batch: Batch) -> None:
        await self._store.append(batch)

    async def _read_all(self, stream: str) -> list[Record]:
        return [record async for record in self._store.read(stream)]

    def _run_async(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)
