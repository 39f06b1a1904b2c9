"""Keeping a journal small: whole runs that have ended go, and leave a tombstone.

Each run goes in one transaction with its tombstone in the hive's stream, a bounded number of runs a
transaction, and space is given back to the disk a bounded part at a time. Never an open run, never
a part of one. Writes nothing itself: whoever owns the journal does (`HiveWriter`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, TypeAlias

import msgspec

from agenthive.core.history.retention import Retention, select_due_runs
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Batch, RunRow, Sizes
from agenthive.core.journal.store import Store
from agenthive.core.values import Micros

CHUNK: Final = 100
"""Runs that go in one transaction."""

HiveWriter: TypeAlias = Callable[[Sequence[ev.HiveEvent], Batch], Awaitable[None]]
"""Writes facts of the hive and what they tell of, all or nothing."""


class PruneProgress(msgspec.Struct, frozen=True, kw_only=True):
    """What went so far, of how many ``due`` runs; bytes of what was in it, and ``returned``
    to the disk.
    """

    due: int
    runs: int = 0
    records: int = 0
    blobs: int = 0
    definitions: int = 0
    returned: int = 0


async def find_due_runs(store: Store, policy: Retention, now: Micros) -> list[RunRow]:
    """The runs that are to go, oldest first."""
    return select_due_runs(await store.list_runs(), policy, now)


async def drop_runs(
    store: Store, rows: Sequence[RunRow], write: HiveWriter
) -> AsyncIterator[PruneProgress]:
    """Drop these runs; tells after each transaction how far it is."""
    progress = PruneProgress(due=len(rows))
    yield progress
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        streams = [row.run for row in chunk]
        sizes = await store.measure_sizes(streams)
        tombstones = [await _build_tombstone(store, row) for row in chunk]
        await write(tombstones, Batch(drops=streams))
        progress = _add_sizes(progress, len(chunk), sizes)
        yield progress
    while rows and (returned := await store.reclaim_space()):
        progress = msgspec.structs.replace(progress, returned=progress.returned + returned)
        yield progress


async def _build_tombstone(store: Store, row: RunRow) -> ev.RunDropped:
    last = await store.read_last_record(row.run)
    assert row.finished is not None
    return ev.RunDropped(
        at=row.finished,
        run=row.run,
        head="" if last is None else last.hash.hex(),
        events=0 if last is None else last.seq + last.count - 1,
        status=row.status,
        closed=row.finished,
    )


def _add_sizes(progress: PruneProgress, runs: int, sizes: Sizes) -> PruneProgress:
    return msgspec.structs.replace(
        progress,
        runs=progress.runs + runs,
        records=progress.records + sizes.records,
        blobs=progress.blobs + sizes.blobs,
        definitions=progress.definitions + sizes.definitions,
    )
