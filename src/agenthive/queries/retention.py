"""Keeping a journal small: whole runs that have ended go, and leave a tombstone.

Each run goes in one transaction with its tombstone in the hive's stream, a bounded number of runs a
transaction, and space is given back to the disk a bounded part at a time. Never an open run, never
a part of one. Writes nothing itself: whoever owns the journal does (`Tend`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, TypeAlias

import msgspec

from agenthive.core.history.retention import Retention, due
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Batch, RunRow, Sizes
from agenthive.core.journal.store import Store
from agenthive.core.values import Micros

CHUNK: Final = 100
"""Runs that go in one transaction."""

Tend: TypeAlias = Callable[[Sequence[ev.HiveEvent], Batch], Awaitable[None]]
"""Writes facts of the hive and what they tell of, all or nothing."""


class Dropped(msgspec.Struct, frozen=True, kw_only=True):
    """What went so far, of how many ``due`` runs; bytes of what was in it, and ``returned``
    to the disk.
    """

    due: int
    runs: int = 0
    records: int = 0
    blobs: int = 0
    definitions: int = 0
    returned: int = 0


async def candidates(store: Store, policy: Retention, now: Micros) -> list[RunRow]:
    """The runs that are to go, oldest first."""
    return due(await store.runs(), policy, now)


async def drop(store: Store, rows: Sequence[RunRow], tend: Tend) -> AsyncIterator[Dropped]:
    """Drop these runs; tells after each transaction how far it is."""
    done = Dropped(due=len(rows))
    yield done
    for first in range(0, len(rows), CHUNK):
        chunk = rows[first : first + CHUNK]
        streams = [row.run for row in chunk]
        sizes = await store.sizes(streams)
        stones = [await _tombstone(store, row) for row in chunk]
        await tend(stones, Batch(drops=streams))
        done = _with(done, len(chunk), sizes)
        yield done
    while rows and (given := await store.shrink()):
        done = msgspec.structs.replace(done, returned=done.returned + given)
        yield done


async def _tombstone(store: Store, row: RunRow) -> ev.RunDropped:
    last = await store.last(row.run)
    assert row.finished is not None
    return ev.RunDropped(
        at=row.finished,
        run=row.run,
        head="" if last is None else last.hash.hex(),
        events=0 if last is None else last.seq + last.count - 1,
        status=row.status,
        closed=row.finished,
    )


def _with(done: Dropped, runs: int, sizes: Sizes) -> Dropped:
    return msgspec.structs.replace(
        done,
        runs=done.runs + runs,
        records=done.records + sizes.records,
        blobs=done.blobs + sizes.blobs,
        definitions=done.definitions + sizes.definitions,
    )
