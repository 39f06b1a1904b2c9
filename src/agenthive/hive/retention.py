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
from agenthive.hive.resources import Opened
from agenthive.queries.export_import import Arrival, TakenIn, arrival
from agenthive.queries.retention import Dropped, candidates, drop


class Keeping(Opened):
    """Dropping what is kept no longer; taking in what was exported elsewhere."""

    async def collect(self, policy: Retention) -> AsyncIterator[Dropped]:
        """Drop the ended runs that are kept no longer; tells how far it is, again and again.

        Raises StoreUnavailable or StoreFailed if the journal takes nothing.
        """
        async with self._tidying:
            store = self._stored
            self._taken.clear()
            rows = await candidates(store, policy, self._clock.now())
            async for done in drop(store, rows, self._live.tend):
                yield done

    async def take_in(self, file: str | Path, *, open_too: bool = False) -> TakenIn:
        """Take in a run that `Archive.export` wrote; nothing happens if it is here, just so.

        One that has not ended is refused unless ``open_too``, and goes on only when `resume` is
        asked for it by name. Raises DefinitionError, Conflict, JournalTooNew, StoreUnavailable,
        StoreFailed, OSError.
        """
        found = await asyncio.to_thread(arrival_of, Path(file), self._clock.now())
        if found.open and not open_too:
            raise Conflict(
                f"run {found.fact.run} has not ended: where it comes from it may still go on",
                hint="Say that it does not with --open; then resume it here by its id.",
            )
        async with self._tidying:
            new = await self._take_in(found)
        return TakenIn(run=found.fact.run, status=found.fact.status, new=new)

    async def _take_in(self, found: Arrival) -> bool:
        run = found.fact.run
        last = await self._stored.last(run)
        if last is not None and last.hash.hex() == found.fact.head:
            return False
        await self._free(run)
        # Until runs are dropped again, nobody else gets this id, however late their question is.
        self._taken.add(run)
        await self._live.tend([found.fact], found.work)
        if found.open:
            self._imported[run] = found.fact.events
        return True


def arrival_of(file: Path, now: Micros) -> Arrival:
    with file.open("rb") as lines:
        return arrival(lines, now)
