"""Reading runs back from a journal: reports, reasons, stories, events.

Works on any store and needs no owner, so that a second process can look while the first one writes.
Checks the hash chain of whatever it reads. Never writes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final

import msgspec

from agenthive.core.engine.human_input import Question, questions
from agenthive.core.engine.schedules import ScheduleRow, Schedules
from agenthive.core.graph.graph import Graph
from agenthive.core.history import blobs, snapshots
from agenthive.core.history.replay import facts, go_on, migrated, pinned_to, replay, submission
from agenthive.core.history.report import RunReport, report
from agenthive.core.history.retention import Retention
from agenthive.core.history.run_index import Roll, imported
from agenthive.core.history.story import Line, describe, story, tag
from agenthive.core.history.waiting_reasons import why
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.hash_chain import Chains, check
from agenthive.core.journal.records import Blob, Record, RunRow, Sizes, Standing, StreamSize
from agenthive.core.journal.store import Store
from agenthive.core.machine.run_state import RunState
from agenthive.core.model import definition
from agenthive.core.model.states import Reason
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.ports import Calendar
from agenthive.core.values import Micros
from agenthive.errors import NotFound, RunNotFound, StoreCorrupt
from agenthive.queries.export_import import exported
from agenthive.queries.retention import candidates
from agenthive.queries.run_list_check import verify_list

SHORT: Final = 100
"""Records from which on it is worth asking for a snapshot."""


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """One event as it is shown: ``data`` is the event itself as JSON."""

    run: str
    seq: int
    at: Micros
    type: str
    text: str
    data: msgspec.Raw


class Archive:
    """What a journal knows about its runs."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._graphs: dict[str, Graph] = {}

    async def runs(self, *, unfinished: bool = False, limit: int | None = None) -> list[RunRow]:
        """Rows of the run list, newest first."""
        return list(await self._store.runs(unfinished=unfinished, limit=limit))

    async def find(self, run: str) -> str:
        """The id of the run with this id or beginning. Raises RunNotFound, also if several fit."""
        if await self._store.run(run) is not None:
            return run
        rows = [row.run for row in await self._store.runs() if run and row.run.startswith(run)]
        if len(rows) == 1:
            return rows[0]
        what = f"{len(rows)} runs begin with" if rows else "there is no run"
        raise RunNotFound(f"{what} '{run}'", hint="`agenthive ps` lists the runs of this home.")

    async def row(self, run: str) -> RunRow:
        """The row of a run in the run list. Raises RunNotFound."""
        row = await self._store.run(run)
        if row is None:
            raise RunNotFound(f"there is no run '{run}'", hint="`agenthive ps` lists the runs.")
        return row

    async def records(self, run: str) -> list[Record]:
        """All records of a run, with their chain checked. Raises RunNotFound, StoreCorrupt."""
        records = list(check([record async for record in self._store.read(run)]))
        if not records:
            raise RunNotFound(f"there is no run '{run}'", hint="`agenthive ps` lists the runs.")
        return records

    async def graph(self, records: Sequence[Record]) -> Graph:
        """The graph that a run is pinned to. Raises StoreCorrupt if it is gone."""
        return await self._graph(pinned_to(records))

    async def _graph(self, name: str) -> Graph:
        graph = self._graphs.get(name)
        if graph is None:
            spec = await self.definition(name)
            if len(self._graphs) >= 100:
                self._graphs.clear()
            graph = self._graphs[name] = Graph(spec)
        return graph

    async def contents(self, wanted: Iterable[Blob]) -> dict[str, bytes]:
        """The bodies of these blobs. Raises StoreCorrupt."""
        found: dict[str, bytes] = {}
        for blob in wanted:
            if blob.digest not in found:
                found[blob.digest] = blobs.checked(blob, await self._store.blob(blob.digest))
        return found

    async def last(self, run: str) -> int:
        """The number of a run's last fact, 0 if it has none."""
        record = await self._store.last(run)
        return 0 if record is None else record.seq + record.count - 1

    async def progress(self, run: str) -> int:
        """How many tasks of an open run have succeeded so far."""
        done = 0
        async for record in self._store.read(run):
            done += sum(isinstance(event, ev.TaskSucceeded) for _, event in facts([record]))
        return done

    async def due(self, policy: Retention, now: Micros) -> tuple[list[RunRow], Sizes]:
        """The runs that are kept no longer, and what would go with them."""
        rows = await candidates(self._store, policy, now)
        return rows, await self._store.sizes([row.run for row in rows])

    async def sizes(self, run: str | None = None) -> Sizes:
        """How much is in the journal; with ``run``, only what would go with that run."""
        return await self._store.sizes(None if run is None else [run])

    async def largest(self, limit: int) -> Sequence[StreamSize]:
        """The largest streams, largest first."""
        return await self._store.largest(limit)

    async def export(self, run: str) -> AsyncIterator[bytes]:
        """A run as the lines of a file. Raises RunNotFound, StoreCorrupt."""
        async for line in exported(self._store, await self.records(run)):
            yield line

    async def untouched(self) -> set[str]:
        """Runs that came in open from a file, and that nobody has gone on with here."""
        told = imported([record async for record in self._store.read(ev.HIVE)])
        return {run for run, events in told.items() if events == await self.last(run)}

    async def state(self, run: str) -> RunState:
        """The state of a run, replayed; from its last snapshot on, if it has one."""
        state = await self._short(run) or await self._from_snapshot(run)
        if state is None:
            records = await self.records(run)
            state = replay(await self.graph(records), records)
        blobs.fill(state, await self.contents(blobs.wanted(state)))
        return state

    async def _short(self, run: str) -> RunState | None:
        """The state of a run with a few records, as most are: it takes one question."""
        records: list[Record] = []
        async for record in self._store.read(run):
            records.append(record)
            if len(records) == SHORT or record.seq + record.count > snapshots.EVERY:
                return None
        return replay(await self.graph(records), list(check(records))) if records else None

    async def _from_snapshot(self, run: str) -> RunState | None:
        last = await self._store.last(run)
        if last is None or last.seq + last.count <= snapshots.EVERY:
            return None
        marked = await self._store.marked(run, snapshots.MARK)
        blob = None if marked is None else snapshots.named(marked)
        body = None if blob is None else await self._store.blob(blob.digest)
        if marked is None or body is None or blobs.digest(body) != blob.digest:  # type: ignore[union-attr]
            return None
        after = marked.seq + marked.count - 1
        records = list(check([one async for one in self._store.read(run, after)], marked))
        snapshot = snapshots.opened(body)
        if snapshot is None or migrated(records):
            return None
        state = snapshot.thaw(await self._graph(snapshot.definition))
        go_on(state, records)
        return state

    async def report(self, run: str, until: int | None = None) -> RunReport:
        """What the run came to so far, or up to the fact of that number."""
        records = await self.records(run)
        contents = await self.contents(blobs.mentioned(records))
        return report(await self.graph(records), records, contents, until)

    async def why(self, run: str, trouble: str = "") -> list[Reason]:
        """The reason of every open task; ``trouble`` is why the journal takes no writes."""
        return why(await self.state(run), await self._open_breakers(), trouble)

    async def root(self, run: str) -> str:
        """The run that this one is a part of, or the run itself."""
        while True:
            parent = submission(await self.records(run)).parent
            if parent is None:
                return run
            run = parent.run

    async def questions(self, run: str | None = None) -> list[Question]:
        """The approvals that one run waits for, or every open run, the oldest first."""
        rows = [row.run for row in await self.runs(unfinished=True)] if run is None else [run]
        found = [one for each in rows for one in questions(await self.state(each))]
        return sorted(found, key=lambda one: one.asked)

    async def story(self, run: str, task: str) -> list[Line]:
        """The facts that made a task what it is. Raises NotFound if the run has no such task."""
        records = await self.records(run)
        graph = await self.graph(records)
        if task not in graph.index:
            raise NotFound(f"run {run} has no task '{task}'", hint="`agenthive show` lists them.")
        return story(graph, records, task)

    async def events(self, run: str, after: int = 0) -> AsyncIterator[Fact]:
        """The facts of a run after event number ``after``."""
        async for record in self._store.read(run):
            if record.seq + record.count - 1 <= after:
                continue
            for seq, event in facts([record]):
                if seq > after:
                    yield _fact(run, seq, event)

    async def latest(self) -> int:
        """A position that all that is committed from now on comes after."""
        record = await self._store.last(ev.HIVE)
        return 0 if record is None else record.pos

    async def pages(self, pos: int = 0) -> AsyncIterator[Sequence[Record]]:
        """All records after ``pos`` in the order they were committed, some at a time.

        Chains are not checked.
        """
        while page := await self._store.scan(pos):
            pos = page[-1].pos
            yield page

    async def verify(self) -> int:
        """Check every chain, blob and run; the number of records. Raises StoreCorrupt.

        The hive's own stream says which runs there must be, how long the ended ones are, and which
        were taken out. What the list of runs says of each must be what its records lead to.
        """
        chains = Chains()
        runs = Roll()
        total = 0
        async for page in self.pages():
            for record in page:
                chains.follow(record)
                runs.take(record)
                for blob in blobs.mentioned([record]) if record.stream != ev.HIVE else ():
                    blobs.checked(blob, await self._store.blob(blob.digest))
            total += len(page)
        runs.compare(chains.ends)
        await verify_list(self, self._store, runs.runs)
        return total

    async def standings(self) -> Sequence[Standing]:
        """How every account stands."""
        return await self._store.standings()

    async def schedules(self, calendar: Calendar) -> list[ScheduleRow]:
        """All schedules, in the order in which they were set first."""
        found = Schedules(calendar)
        async for record in self._store.read(ev.HIVE):
            for event in ev.decode_hive(record.payload):
                found.remember(event)
        return [one.row(calendar) for one in found.known.values()]

    async def schedule_facts(self, name: str, most: int) -> list[ev.ScheduleEvent]:
        """The last facts about a schedule, oldest first."""
        found: deque[ev.ScheduleEvent] = deque(maxlen=most)
        async for record in self._store.read(ev.HIVE):
            for event in ev.decode_hive(record.payload):
                if isinstance(event, ev.ScheduleEvent) and event.schedule == name:
                    found.append(event)
        return list(found)

    async def definition(self, name: str) -> WorkflowSpec:
        """The workflow with that digest. Raises StoreCorrupt if it is gone or was changed."""
        body = await self._store.definition(name)
        if body is None or definition.digest(body) != name:
            raise StoreCorrupt(f"the definition {name} is missing or was changed")
        return definition.decode(body)

    async def workflow(self, run: str) -> WorkflowSpec:
        """The workflow that a run is pinned to."""
        return await self.definition(pinned_to(await self.records(run)))

    async def _open_breakers(self) -> dict[str, Micros]:
        found: dict[str, Micros] = {}
        async for record in self._store.read(ev.HIVE):
            for event in ev.decode_hive(record.payload):
                if isinstance(event, ev.BreakerOpened):
                    found[event.endpoint] = event.until
                elif isinstance(event, ev.BreakerClosed):
                    found.pop(event.endpoint, None)
        return found


def _fact(run: str, seq: int, event: ev.RunEvent) -> Fact:
    data = msgspec.Raw(msgspec.json.encode(event))
    return Fact(run=run, seq=seq, at=event.at, type=tag(event), text=describe(event), data=data)
