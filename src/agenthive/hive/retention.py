"""Retention: dropping old runs from the journal, and moving runs between homes as files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from agenthive.core.history.retention import Retention
from agenthive.core.values import Micros
from agenthive.errors import Conflict
from agenthive.hive.resources import HiveResources
from agenthive.queries.export_import import ImportResult, RunImport, read_import
from agenthive.queries.retention import PruneProgress, drop_runs, find_due_runs


class HiveRetention:
    """The runs that the journal of a hive keeps.

    async for progress in hive.retention.prune(retention_by_class("30d", "90d", "90d")):
        print(progress.runs, "of", progress.due)
    """

    def __init__(self, resources: HiveResources) -> None:
        self._resources = resources
        #: Held while runs are dropped or imported: a run must not be dropped while a file with the
        #: same run is read.
        self._lock = asyncio.Lock()

    async def prune(self, policy: Retention) -> AsyncIterator[PruneProgress]:
        """Drop the ended runs that ``policy`` does not keep; yields the progress so far.

        Raises StoreUnavailable or StoreFailed if the journal takes no writes.
        """
        async with self._lock:
            store = self._resources.store
            self._resources.imported_ids.clear()
            rows = await find_due_runs(store, policy, self._resources.clock.now())
            record_events = self._resources.runtime.record_hive_events
            async for progress in drop_runs(store, rows, record_events):
                yield progress

    async def export_run(self, run: str) -> AsyncIterator[bytes]:
        """The lines of a file with a run, for `import_run`. Raises RunNotFound, StoreCorrupt."""
        async for line in self._resources.journal.export_run(run):
            yield line

    async def import_run(self, file: str | Path, *, open_too: bool = False) -> ImportResult:
        """Import a run from a file that `export_run` wrote; an equal run here is left unchanged.

        A run that has not ended is refused unless ``open_too``, and continues only when `resume` is
        called with its id. Raises DefinitionError, Conflict, JournalTooNew, StoreUnavailable,
        StoreFailed, OSError.
        """
        run_import = await asyncio.to_thread(
            _read_import_file, Path(file), self._resources.clock.now()
        )
        event = run_import.event
        if run_import.is_open and not open_too:
            raise Conflict(
                f"run {event.run} has not ended: it may still be running where it was exported",
                hint="If it is not, import it with --open and then resume it here by its id.",
            )
        async with self._lock:
            new = await self._record_import(run_import)
        return ImportResult(run=event.run, status=event.status, new=new)

    async def _record_import(self, run_import: RunImport) -> bool:
        """Write the run to the journal; False if it is there already."""
        run = run_import.event.run
        last = await self._resources.store.read_last_record(run)
        if last is not None and last.hash.hex() == run_import.event.head:
            return False
        await self._resources.check_run_id(run)
        self._resources.imported_ids.add(run)
        await self._resources.runtime.record_hive_events([run_import.event], run_import.batch)
        if run_import.is_open:
            self._resources.open_imports[run] = run_import.event.events
        return True


def _read_import_file(file: Path, now: Micros) -> RunImport:
    with file.open("rb") as lines:
        return read_import(lines, now)
