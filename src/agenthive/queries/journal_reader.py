"""Reads runs from a journal: reports, waiting reasons, stories, events.

Works on any store and does not own it, so that a second process can read while the first one
writes. Records of a run are returned only after a check of their hash chain, blobs and definitions
only after a check of their digest. Never writes.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final

import msgspec

from agenthive.core.engine.engine_state import unusable_run_error
from agenthive.core.engine.human_input import PendingApproval, pending_approvals
from agenthive.core.graph.graph import Graph
from agenthive.core.history import blobs, snapshots
from agenthive.core.history.replay import (
    apply_records,
    decode_events,
    find_submission,
    list_migrations,
    pinned_digest,
    replay,
)
from agenthive.core.history.report import RunReport, build_report
from agenthive.core.history.run_index import RunIndex, list_set_apart
from agenthive.core.history.story import StoryLine, build_story, describe_event, event_type
from agenthive.core.history.waiting_reasons import list_reasons
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.hash_chain import ChainVerifier, verify_chain
from agenthive.core.journal.records import AccountState, Blob, Record, RunRow
from agenthive.core.journal.store import Store
from agenthive.core.machine.run_state import RunState
from agenthive.core.model import definition
from agenthive.core.model.states import Reason
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.values import Micros
from agenthive.errors import (
    JournalTooNew,
    NotFound,
    RunNotFound,
    RunUnusable,
    StoreCorrupt,
)
from agenthive.queries.damage import (
    JournalCheck,
    blame_run,
    decode_hive_record,
    read_hive_records,
)
from agenthive.queries.export_import import export_lines
from agenthive.queries.hive_stream import HiveStreamReader
from agenthive.queries.run_list_check import verify_run_list
from agenthive.queries.storage import StorageReader

FEW_RECORDS: Final = 100
"""A run with fewer records is replayed without a query for a snapshot."""
MAX_CACHED_GRAPHS: Final = 100
"""Graphs that a reader keeps for its next calls."""


class EventView(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a run, as commands and the API show it."""

    run: str
    #: Number of the event in the stream of the run, from 1.
    seq: int
    #: Microseconds UTC.
    at: Micros
    #: Such as ``task.started``.
    type: str
    #: The event in one sentence.
    text: str
    #: The event itself, as JSON.
    data: msgspec.Raw


class JournalReader:
    """Answers questions about the runs of a journal.

    ``hive_stream`` answers those about schedules, circuit breakers and imports, ``storage`` those
    about bytes and retention.
    """

    def __init__(self, store: Store) -> None:
        self.hive_stream = HiveStreamReader(store)
        self.storage = StorageReader(store)
        self._store = store
        #: Graphs by the digest of their definition.
        self._graphs: dict[str, Graph] = {}

    async def list_runs(
        self, *, unfinished: bool = False, limit: int | None = None
    ) -> list[RunRow]:
        """Rows of the run list, newest first."""
        return list(await self._store.list_runs(unfinished=unfinished, limit=limit))

    async def find_run(self, run: str) -> str:
        """The id of the one run that has this id, or an id beginning with it.

        Raises RunNotFound, also if several ids begin with it.
        """
        if await self._store.find_run(run) is not None:
            return run
        rows = [row.run for row in await self._store.list_runs() if run and row.run.startswith(run)]
        if len(rows) == 1:
            return rows[0]
        summary = f"{len(rows)} runs begin with" if rows else "there is no run"
        hint = "Write more characters of its id." if rows else "`agenthive ps` lists the runs."
        raise RunNotFound(f"{summary} '{run}'", hint=hint)

    async def read_row(self, run: str) -> RunRow:
        """The row of a run in the run list. Raises RunNotFound."""
        row = await self._store.find_run(run)
        if row is None:
            raise RunNotFound(f"there is no run '{run}'", hint="`agenthive ps` lists the runs.")
        return row

    async def read_records(self, run: str) -> list[Record]:
        """All records of a run, verified and decodable. Raises RunNotFound, RunUnusable."""
        with blame_run(run):
            records = list(verify_chain([record async for record in self._store.read(run)]))
            if not records and await self._store.find_run(run) is not None:
                raise StoreCorrupt("all its records are missing")
            for record in records:
                blobs.decode_record(record)
        if not records:
            raise RunNotFound(f"there is no run '{run}'", hint="`agenthive ps` lists the runs.")
        return records

    async def load_graph(self, records: Sequence[Record]) -> Graph:
        """The graph of the definition that a run is pinned to. Raises RunUnusable."""
        with blame_run(records[0].stream):
            return await self._cached_graph(pinned_digest(records))

    async def _cached_graph(self, digest: str) -> Graph:
        graph = self._graphs.get(digest)
        if graph is None:
            spec = await self.load_definition(digest)
            if len(self._graphs) >= MAX_CACHED_GRAPHS:
                self._graphs.clear()
            graph = self._graphs[digest] = Graph(spec)
        return graph

    async def read_blobs(self, references: Iterable[Blob]) -> dict[str, bytes]:
        """The bodies of these blobs by digest. Raises StoreCorrupt."""
        bodies: dict[str, bytes] = {}
        for blob in references:
            if blob.digest not in bodies:
                bodies[blob.digest] = blobs.verify_body(
                    blob, await self._store.load_blob(blob.digest)
                )
        return bodies

    async def last_seq(self, run: str) -> int:
        """The number of the last event of a run, 0 if it has none."""
        record = await self._store.read_last_record(run)
        return 0 if record is None else record.seq + record.count - 1

    async def count_succeeded(self, run: str) -> int:
        """How many tasks of an open run have succeeded so far. Raises RunNotFound, RunUnusable."""
        return (await self.load_state(run)).succeeded_count

    async def list_set_apart(self) -> dict[str, str]:
        """Runs that a process set apart and that were not resumed since -> why."""
        set_apart = list_set_apart(await self._store.list_marks())
        return {
            run: reason
            for run, (events, reason) in set_apart.items()
            if await self.last_seq(run) == events
        }

    async def raise_if_set_apart(self, run: str) -> None:
        """Raises RunUnusable if a process set the run apart and none has resumed it."""
        reason = (await self.list_set_apart()).get(run)
        if reason is not None:
            raise unusable_run_error(run, reason)

    async def export_run(self, run: str) -> AsyncIterator[bytes]:
        """A run as the lines of an export file. Raises RunNotFound, RunUnusable."""
        records = await self.read_records(run)
        with blame_run(run):
            async for line in export_lines(self._store, records):
                yield line

    async def list_unresumed_imports(self) -> set[str]:
        """Runs that were imported while they were open, and that have not been resumed here."""
        imports = await self.hive_stream.list_open_imports()
        return {run for run, events in imports.items() if events == await self.last_seq(run)}

    async def load_state(self, run: str) -> RunState:
        """The state of a run, replayed from its last snapshot on.

        Raises RunNotFound, RunUnusable.
        """
        with blame_run(run):
            state = await self._state_from_records(run) or await self._state_from_snapshot(run)
            if state is None:
                records = await self.read_records(run)
                state = replay(await self.load_graph(records), records)
            if state.run != run:
                raise StoreCorrupt(f"its records are those of run {state.run[:80]!r}")
            blobs.fill_state(state, await self.read_blobs(blobs.list_pending(state)))
        return state

    async def _state_from_records(self, run: str) -> RunState | None:
        """The state of a run that has few records; None if it has more. Most runs have few."""
        records: list[Record] = []
        async for record in self._store.read(run):
            records.append(record)
            if (
                len(records) == FEW_RECORDS
                or record.seq + record.count > snapshots.SNAPSHOT_INTERVAL
            ):
                return None
        if not records:
            return None
        # Verified before anything in them is decoded.
        records = list(verify_chain(records))
        # Also those that the state no longer refers to: its report needs them.
        await self.read_blobs(blobs.list_references(records))
        return replay(await self.load_graph(records), records)

    async def _state_from_snapshot(self, run: str) -> RunState | None:
        """The state of a run that has a snapshot; None if it has none that can be used."""
        last = await self._store.read_last_record(run)
        if last is None or last.seq + last.count <= snapshots.SNAPSHOT_INTERVAL:
            return None
        marked_record = await self._store.read_marked_record(run, snapshots.CAUSE_PREFIX)
        blob = None if marked_record is None else snapshots.find_reference(marked_record)
        body = None if blob is None else await self._store.load_blob(blob.digest)
        if marked_record is None or body is None or blobs.digest(body) != blob.digest:  # type: ignore[union-attr]
            return None
        after = marked_record.seq + marked_record.count - 1
        # Verified before anything in them is decoded.
        records = list(
            verify_chain([record async for record in self._store.read(run, after)], marked_record)
        )
        snapshot = snapshots.decode_snapshot(body)
        if snapshot is None or list_migrations(records):
            return None
        state = snapshot.thaw(await self._cached_graph(snapshot.definition))
        apply_records(state, records)
        return state

    async def read_report(self, run: str, until: int | None = None) -> RunReport:
        """The report of a run so far, or up to the event with the number ``until``.

        Raises RunNotFound, RunUnusable.
        """
        records = await self.read_records(run)
        with blame_run(run):
            contents = await self.read_blobs(blobs.list_references(records))
            return build_report(await self.load_graph(records), records, contents, until)

    async def list_reasons(self, run: str, store_error: str = "") -> list[Reason]:
        """Why each open task of a run waits. Raises RunNotFound, RunUnusable.

        ``store_error`` is why the journal takes no writes now; empty if it does.
        """
        state = await self.load_state(run)
        return list_reasons(state, await self.hive_stream.list_open_breakers(), store_error)

    async def find_root(self, run: str) -> str:
        """The run at the top of the tree that this run belongs to; the run itself if it has no
        parent. Raises RunNotFound, RunUnusable.
        """
        while True:
            records = await self.read_records(run)
            with blame_run(run):
                parent = find_submission(records).parent
            if parent is None:
                return run
            run = parent.run

    async def list_approvals(self, run: str | None = None) -> list[PendingApproval]:
        """The approvals that one run waits for, or all open runs, oldest first.

        Open runs that cannot be read are left out. Raises RunNotFound, RunUnusable for ``run``.
        """
        if run is not None:
            return pending_approvals(await self.load_state(run))
        approvals: list[PendingApproval] = []
        for row in await self.list_runs(unfinished=True):
            with contextlib.suppress(RunNotFound, RunUnusable):
                approvals += pending_approvals(await self.load_state(row.run))
        return sorted(approvals, key=lambda approval: approval.asked)

    async def read_story(self, run: str, task: str) -> list[StoryLine]:
        """The events that led a task to its state. Raises RunNotFound, NotFound (no such task)."""
        records = await self.read_records(run)
        graph = await self.load_graph(records)
        if task not in graph.index:
            raise NotFound(f"run {run} has no task '{task}'", hint="`agenthive show` lists them.")
        with blame_run(run):
            return build_story(graph, records, task)

    async def read_events(self, run: str, after: int = 0) -> AsyncIterator[EventView]:
        """The events of a run after event number ``after``. Raises RunUnusable at damage.

        Each record is verified before it is decoded.
        """
        last: Record | None = None
        async for record in self._store.read(run):
            if record.seq + record.count - 1 > after:
                with blame_run(run):
                    for _ in verify_chain([record], last):
                        views = [
                            _build_event_view(run, seq, event)
                            for seq, event in decode_events([record])
                            if seq > after
                        ]
                for view in views:
                    yield view
            last = record

    async def last_position(self) -> int:
        """A position before every record that is committed from now on."""
        record = await self._store.read_last_record(ev.HIVE)
        return 0 if record is None else record.pos

    async def read_pages(
        self, pos: int = 0, damage: dict[str, str] | None = None
    ) -> AsyncIterator[Sequence[Record]]:
        """All records after position ``pos`` in the order they were committed, a page at a time.

        With ``damage``, from the first record on: every chain is verified, a run with damage is
        left out from there on, and its name and the reason are added. Without it, chains are not
        checked. Raises StoreCorrupt if the hive stream is damaged.
        """
        chains = ChainVerifier()
        while page := await self._store.scan_records(pos):
            pos = page[-1].pos
            if damage is None:
                yield page
            else:
                yield [record for record in page if _is_intact(record, chains, damage)]

    async def verify_chains(self) -> int:
        """Check every chain, blob and run; the number of records. See `check_journal`.

        Raises StoreCorrupt, JournalTooNew at the first damage.
        """
        check = await self.check_journal()
        for error in check.damage.values():
            raise error
        if check.missing_events:
            raise StoreCorrupt(
                check.describe_missing_events(), hint="Restore the journal from a backup."
            )
        return check.records

    async def check_journal(self) -> JournalCheck:
        """Check every chain, blob and run; what is wrong with each run.

        The hive stream names the runs that must exist, the number of events of each ended run, and
        the runs that were deleted. The row of each run must equal what its records lead to. Raises
        StoreCorrupt, JournalTooNew if the hive stream itself is damaged.
        """
        check = JournalCheck()
        chains = ChainVerifier()
        run_index = RunIndex()
        async for record in read_hive_records(self._store):
            decode_hive_record(record)
            run_index.add_record(record)
        last_pos = events = 0
        async for page in self.read_pages():
            for record in page:
                if record.stream not in check.damage:
                    await self._check_record(record, chains, check)
                events += record.count
                last_pos = record.pos + record.count - 1
            check.records += len(page)
        for run, error in run_index.list_wrong_ends(chains.event_counts):
            # A run that was submitted since the hive stream was read has records and no entry.
            check.add_damage(run, error)
        await verify_run_list(self, self._store, run_index.runs, check)
        # Read now, not before: runs may have been deleted during the check.
        check.missing_events = max(last_pos - events - await self._count_deleted_events(), 0)
        return check

    async def _count_deleted_events(self) -> int:
        """Events of the runs that were deleted: their positions are not used again."""
        return sum(
            [
                event.events
                async for record in read_hive_records(self._store)
                for event in decode_hive_record(record)
                if isinstance(event, ev.RunDropped)
            ]
        )

    async def _check_record(
        self, record: Record, chains: ChainVerifier, check: JournalCheck
    ) -> None:
        try:
            chains.verify_next(record)
            for blob in blobs.list_references([record]) if record.stream != ev.HIVE else ():
                blobs.verify_body(blob, await self._store.load_blob(blob.digest))
        except (StoreCorrupt, JournalTooNew) as error:
            check.add_damage(record.stream, error)

    async def list_accounts(self) -> Sequence[AccountState]:
        """All accounts with their limits and amounts (nano-dollars)."""
        return await self._store.list_account_states()

    async def load_definition(self, digest: str) -> WorkflowSpec:
        """The workflow with that digest. Raises StoreCorrupt if it is missing or was changed."""
        body = await self._store.load_definition(digest)
        if body is None or definition.compute_digest(body) != digest:
            raise StoreCorrupt(
                f"the definition {digest} is missing or was changed",
                hint="Restore the journal from a backup.",
            )
        return definition.decode(body)

    async def load_workflow(self, run: str) -> WorkflowSpec:
        """The workflow that a run is pinned to. Raises RunNotFound, RunUnusable."""
        records = await self.read_records(run)
        with blame_run(run):
            return await self.load_definition(pinned_digest(records))


def _is_intact(record: Record, chains: ChainVerifier, damage: dict[str, str]) -> bool:
    """Whether a record follows the one before it in its stream; adds a run to ``damage`` if not."""
    if record.stream in damage:
        return False
    try:
        chains.verify_next(record)
        if record.stream == ev.HIVE:
            decode_hive_record(record)
        else:
            blobs.decode_record(record)
    except (StoreCorrupt, JournalTooNew) as error:
        if record.stream == ev.HIVE:
            raise
        damage[record.stream] = error.message
        return False
    return True


def _build_event_view(run: str, seq: int, event: ev.RunEvent) -> EventView:
    data = msgspec.Raw(msgspec.json.encode(event))
    return EventView(
        run=run,
        seq=seq,
        at=event.time,
        type=event_type(event),
        text=describe_event(event),
        data=data,
    )
