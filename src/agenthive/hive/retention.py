"""Retention: dropping old runs from the journal, and moving runs between homes as files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec

from agenthive.core.history.retention import Retention
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Batch, RequestRow
from agenthive.core.values import Micros
from agenthive.errors import Conflict
from agenthive.hive.requests import HiveRequests, KeepAnswer, identify_request
from agenthive.hive.resources import HiveResources
from agenthive.queries.export_import import ImportResult, RunImport, read_import
from agenthive.queries.retention import PruneProgress, drop_runs, find_due_runs


class HiveRetention:
    """The runs that the journal of a hive keeps.

    async for progress in hive.retention.prune(retention_by_class("30d", "90d", "90d")):
        print(progress.runs, "of", progress.due)
    """

    def __init__(self, resources: HiveResources, requests: HiveRequests) -> None:
        self._resources, self._requests = resources, requests
        #: Held while runs are dropped or imported: a run must not be dropped while a file with the
        #: same run is read.
        self._lock = asyncio.Lock()

    async def prune(
        self, policy: Retention, *, request_id: str | None = None
    ) -> AsyncIterator[PruneProgress]:
        """Drop the ended runs that ``policy`` does not keep; yields the progress so far.

        Called again with the same ``request_id``, it continues where the first call ended, and
        counts what that one dropped. Raises StoreUnavailable or StoreFailed if the journal takes no
        writes.
        """
        arguments = {"policy": msgspec.to_builtins(policy)}
        request = None if request_id is None else identify_request(request_id, "collect", arguments)
        async with self._lock:
            store, clock = self._resources.store, self._resources.clock
            before = PruneProgress(due=0)
            row = None if request is None else await self._requests.find_row(request)
            if row is not None:
                before = msgspec.json.decode(row.answer, type=PruneProgress)
                if before.runs == before.due:
                    yield before
                    return
            self._resources.imported_ids.clear()
            rows = await find_due_runs(store, policy, clock.now())

            async def write(
                events: Sequence[ev.HiveEvent], batch: Batch, progress: PruneProgress
            ) -> None:
                row = None if request is None else request.build_row(progress, clock.now())
                await self._resources.runtime.record_hive_events(events, batch, row)

            progress = before
            async for progress in drop_runs(store, rows, write, before):
                yield progress
            if request is not None:
                await write([], Batch(), progress)

    async def export_run(self, run: str) -> AsyncIterator[bytes]:
        """The lines of a file with a run, for `import_run`. Raises RunNotFound, StoreCorrupt."""
        async for line in self._resources.journal.export_run(run):
            yield line

    async def import_run(
        self, file: str | Path, *, open_too: bool = False, request_id: str | None = None
    ) -> ImportResult:
        """Import a run from a file that `export_run` wrote; an equal run here is left unchanged.

        A run that has not ended is refused unless ``open_too``, and continues only when `resume` is
        called with its id. Called again with the same ``request_id``, it returns what the first
        call returned. Raises DefinitionError, Conflict, JournalTooNew, StoreUnavailable,
        StoreFailed, OSError.
        """
        return await self._requests.execute_once(
            request_id,
            "take_in",
            {"file": str(file), "open": open_too},
            lambda keep: self._import_file(Path(file), open_too=open_too, keep=keep),
            ImportResult,
        )

    async def _import_file(self, file: Path, *, open_too: bool, keep: KeepAnswer) -> ImportResult:
        run_import = await asyncio.to_thread(_read_import_file, file, self._resources.clock.now())
        event = run_import.event
        if run_import.is_open and not open_too:
            raise Conflict(
                f"run {event.run} has not ended: it may still be running where it was exported",
                hint="If it is not, import it with --open and then resume it here by its id.",
            )
        imported = ImportResult(run=event.run, status=event.status, new=True)
        async with self._lock:
            is_new = await self._record_import(run_import, keep(imported))
        return imported if is_new else msgspec.structs.replace(imported, new=False)

    async def _record_import(self, run_import: RunImport, row: RequestRow | None) -> bool:
        """Write the run to the journal, with ``row``; False if it is there already."""
        run = run_import.event.run
        last = await self._resources.store.read_last_record(run)
        if last is not None and last.hash.hex() == run_import.event.head:
            return False
        await self._resources.check_run_id(run)
        self._resources.imported_ids.add(run)
        await self._resources.runtime.record_hive_events([run_import.event], run_import.batch, row)
        if run_import.is_open:
            self._resources.open_imports[run] = run_import.event.events
        return True


def _read_import_file(file: Path, now: Micros) -> RunImport:
    with file.open("rb") as lines:
        return read_import(lines, now)
