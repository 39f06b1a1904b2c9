"""Looking at the runs of a hive."""

from __future__ import annotations

from collections.abc import AsyncIterator

from agenthive.core.history.report import RunReport
from agenthive.core.history.story import Line
from agenthive.core.journal.records import RunRow
from agenthive.core.model.states import Reason
from agenthive.errors import (
    StoreFailed,
)
from agenthive.hive.resources import Opened
from agenthive.queries.journal_reader import Archive, Fact
from agenthive.runtimes.stream_listeners import Piece


class Looking(Opened):
    """Reads what is committed; changes nothing."""

    async def runs(self, *, unfinished: bool = False, limit: int | None = None) -> list[RunRow]:
        """Rows of the run list, newest first."""
        return await self._reader.runs(unfinished=unfinished, limit=limit)

    async def report(self, run: str) -> RunReport:
        """What a run came to so far. Raises RunNotFound."""
        return await self._reader.report(run)

    async def why(self, run: str) -> list[Reason]:
        """The reason of every open task of a run. Raises RunNotFound."""
        return await self._reader.why(run, self.trouble)

    @property
    def trouble(self) -> str:
        """Why the journal takes no writes now; empty if it does."""
        sick = self._live.failed or self._live.refusing
        return "" if sick is None else sick.message

    async def story(self, run: str, task: str) -> list[Line]:
        """The facts that made a task what it is. Raises RunNotFound, NotFound."""
        return await self._reader.story(run, task)

    async def watch(self, run: str, after: int = 0) -> AsyncIterator[Fact]:
        """The facts of a run as they are committed, until it ends or needs somebody's help.

        Raises RunNotFound, StoreFailed.
        """
        await self._reader.row(run)
        while True:
            # Asked before reading: what becomes true meanwhile comes with facts of its own.
            commit = self._live.next_commit
            live = self._driver.runs.get(run)
            last = live is None or live.parked
            async for fact in self._reader.events(run, after):
                after = fact.seq
                yield fact
            if last:
                return
            if self._live.failed is not None:
                raise self._live.failed
            await commit.wait()

    async def listen(self, run: str) -> AsyncIterator[Piece]:
        """The answers of models as they come in, from tasks with ``stream: true``.

        From now on, until the run ends or needs somebody; begin before the run to miss nothing.
        What is passed on is not recorded: the journal has each answer as a whole.
        """
        live, pieces = self._driver.runs.get(run), self._live.listeners.join(run)
        ended = self._live.ended(run)
        ended.add_done_callback(lambda _: pieces.close())
        try:
            known = live is None and await self._reader.last(run)
            began = ended.done() or run in self._driver.runs
            if (known and not began) or (live is not None and live.parked):
                return  # it has ended before, or needs somebody
            async for piece in pieces:
                yield piece
        finally:
            self._live.listeners.leave(run, pieces)

    @property
    def idle(self) -> bool:
        """Nothing moves, and nothing will without somebody's help or before a schedule's time."""
        due = self._driver.schedules.next_wake()
        waits = due is None or due > self._clock.now()
        return waits and all(live.parked for live in self._driver.runs.values())

    @property
    def failed(self) -> StoreFailed | None:
        """Why the journal takes nothing any more, if it broke. Open the home again then."""
        return self._live.failed

    @property
    def archive(self) -> Archive:
        """The journal, for reading."""
        return self._reader
