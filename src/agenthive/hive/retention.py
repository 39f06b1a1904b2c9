"""Keeping a hive's journal bounded, and taking in runs from files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from agenthive.core.history.retention import Retention
from agenthive.core.values import Micros
from agenthive.errors import (
    Conflict,
)
from agenthive.hive.resources import HiveResources
from agenthive.queries.export_import import ImportResult, RunImport, read_import
from agenthive.queries.retention import PruneProgress, drop_runs, find_due_runs


class HiveRetention(HiveResources):
    """Dropping what is kept no longer; taking in what was exported elsewhere."""

    async def prune(self, policy: Retention) -> AsyncIterator[PruneProgress]:
        """Drop the ended runs that are kept no longer; tells how far it is, again and again.

        Raises StoreUnavailable or StoreFailed if the journal takes nothing.
        """
        async with self._prune_lock:
            store = self._active_store
            self._imported_ids.clear()
            rows = await find_due_runs(store, policy, self._clock.now())
            async for progress in drop_runs(store, rows, self._active_runtime.record_hive_events):
                yield progress

    async def import_run(self, file: str | Path, *, open_too: bool = False) -> ImportResult:
        """Import a run that `JournalReader.export_run` wrote; an equal run here is left alone.

        One that has not ended is refused unless ``open_too``, and goes on only when `resume` is
        asked for it by name. Raises DefinitionError, Conflict, JournalTooNew, StoreUnavailable,
        StoreFailed, OSError.
        """
        run_import = await asyncio.to_thread(read_import_file, Path(file), self._clock.now())
        if run_import.is_open and not open_too:
            raise Conflict(
                f"run {run_import.event.run} has not ended: where it comes from it may still go on",
                hint="Say that it does not with --open; then resume it here by its id.",
            )
        async with self._prune_lock:
            new = await self._import_run(run_import)
        return ImportResult(run=run_import.event.run, status=run_import.event.status, new=new)

    async def _import_run(self, run_import: RunImport) -> bool:
        run = run_import.event.run
        last = await self._active_store.read_last_record(run)
        if last is not None and last.hash.hex() == run_import.event.head:
            return False
        await self._check_run_id(run)
        # Until runs are dropped again, nobody else gets this id, however late their question is.
        self._imported_ids.add(run)
        await self._active_runtime.record_hive_events([run_import.event], run_import.batch)
        if run_import.is_open:
            self._open_imports[run] = run_import.event.events
        return True


def read_import_file(file: Path, now: Micros) -> RunImport:
    with file.open("rb") as lines:
        return read_import(lines, now)
