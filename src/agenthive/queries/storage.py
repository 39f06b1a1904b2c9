"""How many bytes a journal has, and which of them retention would free.

Reads the sizes that the store measures; never deletes anything (`queries/retention.py` does).
"""

from __future__ import annotations

from collections.abc import Sequence

from agenthive.core.history.retention import Retention
from agenthive.core.journal.records import RunRow, Sizes, StreamSize
from agenthive.core.journal.store import Store
from agenthive.core.values import Micros
from agenthive.queries.retention import find_due_runs


class StorageReader:
    """Answers questions about the size of a journal."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def measure_sizes(self, run: str | None = None) -> Sizes:
        """Bytes of the journal; with ``run``, only what would be deleted with that run."""
        return await self._store.measure_sizes(None if run is None else [run])

    async def list_largest_streams(self, limit: int) -> Sequence[StreamSize]:
        """The largest streams, largest first."""
        return await self._store.list_largest_streams(limit)

    async def list_due_runs(self, policy: Retention, now: Micros) -> tuple[list[RunRow], Sizes]:
        """The runs that the policy does not keep any longer, and the bytes they would free."""
        rows = await find_due_runs(self._store, policy, now)
        return rows, await self._store.measure_sizes([row.run for row in rows])
