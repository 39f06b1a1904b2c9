"""Looking at the runs of a hive."""

from __future__ import annotations

from collections.abc import AsyncIterator

from agenthive.core.history.report import RunReport
from agenthive.core.history.story import StoryLine
from agenthive.core.journal.records import RunRow
from agenthive.core.model.states import Reason
from agenthive.errors import (
    StoreFailed,
)
from agenthive.hive.resources import HiveResources
from agenthive.queries.journal_reader import EventView, JournalReader
from agenthive.runtimes.stream_listeners import Piece


class RunQueries(HiveResources):
    """Reads what is committed; changes nothing."""

    async def runs(self, *, unfinished: bool = False, limit: int | None = None) -> list[RunRow]:
        """Rows of the run list, newest first."""
        return await self._active_journal.list_runs(unfinished=unfinished, limit=limit)

    async def report(self, run: str) -> RunReport:
        """What a run came to so far. Raises RunNotFound."""
        return await self._active_journal.read_report(run)

    async def why(self, run: str) -> list[Reason]:
        """The reason of every open task of a run. Raises RunNotFound."""
        return await self._active_journal.list_reasons(run, self.store_error)

    @property
    def store_error(self) -> str:
        """Why the journal takes no writes now; empty if it does."""
        error = self._active_runtime.fatal_error or self._active_runtime.unavailable_error
        return "" if error is None else error.message

    async def story(self, run: str, task: str) -> list[StoryLine]:
        """The facts that made a task what it is. Raises RunNotFound, NotFound."""
        return await self._active_journal.read_story(run, task)

    async def watch(self, run: str, after: int = 0) -> AsyncIterator[EventView]:
        """The facts of a run as they are committed, until it ends or needs somebody's help.

        Raises RunNotFound, StoreFailed.
        """
        await self._active_journal.read_row(run)
        while True:
            # Asked before reading: what becomes true meanwhile comes with facts of its own.
            commit = self._active_runtime.next_commit
            active_run = self._driver.runs.get(run)
            last = active_run is None or active_run.is_parked
            async for event in self._active_journal.read_events(run, after):
                after = event.seq
                yield event
            if last:
                return
            if self._active_runtime.fatal_error is not None:
                raise self._active_runtime.fatal_error
            await commit.wait()

    async def stream(self, run: str) -> AsyncIterator[Piece]:
        """The answers of models as they come in, from tasks with ``stream: true``.

        From now on, until the run ends or needs somebody; begin before the run to miss nothing.
        What is passed on is not recorded: the journal has each answer as a whole.
        """
        active_run, pieces = (
            self._driver.runs.get(run),
            self._active_runtime.listeners.add_listener(run),
        )
        ended = self._active_runtime.ended(run)
        ended.add_done_callback(lambda _: pieces.close())
        try:
            has_events = active_run is None and await self._active_journal.last_seq(run)
            has_begun = ended.done() or run in self._driver.runs
            if (has_events and not has_begun) or (active_run is not None and active_run.is_parked):
                return  # it has ended before, or needs somebody
            async for piece in pieces:
                yield piece
        finally:
            self._active_runtime.listeners.remove_listener(run, pieces)

    @property
    def idle(self) -> bool:
        """Nothing moves, and nothing will without somebody's help or before a schedule's time."""
        due = self._driver.schedules.next_wake()
        waits = due is None or due > self._clock.now()
        return waits and all(run.is_parked for run in self._driver.runs.values())

    @property
    def failed(self) -> StoreFailed | None:
        """Why the journal takes nothing any more, if it broke. Open the home again then."""
        return self._active_runtime.fatal_error

    @property
    def journal(self) -> JournalReader:
        """The journal, for reading."""
        return self._active_journal
