"""Deletes ended runs from a journal, and returns their space to the disk.

A run is deleted as a whole, in one transaction with a tombstone in the hive stream that names its
last hash, so that a run that is missing without a tombstone is recognised as damage. Transactions
and the return of space are bounded (`CHUNK` runs, some pages), so that other writes come in
between. Never deletes an open run or a part of a run. Writes through the owner of the journal only
(`HiveWriter`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, TypeAlias

import msgspec

from agenthive.core.history.clock_marks import (
    CLOCK_MARK,
    RecordedStep,
    correct_time,
    decode_steps,
)
from agenthive.core.history.retention import Retention, select_due_runs
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Batch, RunRow, Sizes
from agenthive.core.journal.store import Store
from agenthive.core.values import Micros

CHUNK: Final = 100
"""Runs that are deleted in one transaction."""


class PruneProgress(msgspec.Struct, frozen=True, kw_only=True):
    """What has been deleted so far."""

    #: Runs that are to be deleted.
    due: int
    #: Runs that have been deleted.
    runs: int = 0
    #: Bytes of the deleted records.
    records: int = 0
    #: Bytes of the deleted blobs.
    blobs: int = 0
    #: Bytes of the deleted definitions.
    definitions: int = 0
    #: Bytes that were given back to the disk.
    returned: int = 0


HiveWriter: TypeAlias = Callable[[Sequence[ev.HiveEvent], Batch, PruneProgress], Awaitable[None]]
"""Appends events to the hive stream together with a batch, in one transaction; the progress is what
has been deleted once they are written."""


async def find_due_runs(store: Store, policy: Retention, now: Micros) -> list[RunRow]:
    """The runs that the policy does not keep any longer, the one that ended first in front.

    A run that ended while the clock was ahead has the age that it has by the clock of now.
    """
    rows = await store.list_runs()
    steps = decode_steps((await store.list_marks()).get(CLOCK_MARK, ""))
    if steps:
        rows = await _correct_ends(store, rows, steps, policy, now)
    return select_due_runs(rows, policy, now)


async def _correct_ends(
    store: Store, rows: Sequence[RunRow], steps: list[RecordedStep], policy: Retention, now: Micros
) -> list[RunRow]:
    """The rows; where the clock may have been ahead and it matters, with the time of now."""
    positioned_steps: list[tuple[int, RecordedStep]] | None = None
    corrected = list[RunRow]()
    for row in rows:
        earliest = _correct_end(row, steps)
        # Only a run that is due by the earliest end, and not by the recorded one, is looked up.
        if select_due_runs([earliest], policy, now) and not select_due_runs([row], policy, now):
            if positioned_steps is None:
                positioned_steps = await _read_steps(store, steps[0].after)
            last = await store.read_last_record(row.run)
            ended = 0 if last is None else last.pos
            row = _correct_end(row, [step for pos, step in positioned_steps if pos > ended])
        corrected.append(row)
    return corrected


def _correct_end(row: RunRow, later_steps: Sequence[RecordedStep]) -> RunRow:
    if row.finished is None:
        return row
    return msgspec.structs.replace(row, finished=correct_time(row.finished, later_steps))


async def _read_steps(store: Store, after: int) -> list[tuple[int, RecordedStep]]:
    """The steps of the clock, back and forward, after an event of the hive's stream.

    Each with its position in the journal, in order.
    """
    steps = []
    async for record in store.read(ev.HIVE, after=after):
        for event in ev.decode_hive_events(record.payload):
            if isinstance(event, ev.ClockSteppedBack | ev.ClockSteppedForward):
                by = event.by if isinstance(event, ev.ClockSteppedBack) else -event.by
                steps.append((record.pos, RecordedStep(shown=event.time, by=by, after=after)))
    return steps


async def drop_runs(
    store: Store, rows: Sequence[RunRow], write: HiveWriter, before: PruneProgress
) -> AsyncIterator[PruneProgress]:
    """Delete these runs, then return free space; yields the progress after each step.

    ``before`` is what was deleted already, and counts too.
    """
    progress = msgspec.structs.replace(before, due=before.runs + len(rows))
    yield progress
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        streams = [row.run for row in chunk]
        sizes = await store.measure_sizes(streams)
        tombstones = [await _build_tombstone(store, row) for row in chunk]
        progress = _add_sizes(progress, len(chunk), sizes)
        await write(tombstones, Batch(drops=streams), progress)
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
