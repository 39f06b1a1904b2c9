"""The outbox: events that are decided and not on disk yet, and the actions that wait for them.

Two generations exist at most: the batch that is being committed, and what has come in since. If the
store refuses a batch, the outbox can withdraw the runs that the batch would have accepted, because
no caller has an acknowledgement yet. A request with an id has a row in the batch of its events, so
that one is never on disk without the other. It knows nothing about tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

import msgspec

from agenthive.core.engine import actions as act
from agenthive.core.engine.active_run import ActiveRun
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.hash_chain import RULES
from agenthive.core.journal.records import Batch, Record, RequestRow
from agenthive.core.values import Micros

_UNDONE_ACTIONS = (act.PerformCall, act.RunEnded, act.RunParked)
"""Actions about a run that are dropped if it is set apart before they are committed."""
MAX_STORED_INTEGER: Final = 2**63 - 1
"""The largest number that a column of a store holds."""
MAX_STORED_BYTES: Final = 900 * 2**20
"""The largest payload that is given to a store; SQLite takes 1,000,000,000 bytes."""


def check_storable(record: Record) -> None:
    """Raises ValueError if a store cannot hold the record."""
    if record.at > MAX_STORED_INTEGER:
        raise ValueError(f"the time {record.at} of an event has more than 64 bits")
    if len(record.payload) > MAX_STORED_BYTES:
        raise ValueError(f"its events have {len(record.payload):,} bytes")


def _remove_content(batch: Batch, run: ActiveRun) -> None:
    """Remove what a batch has for a run besides records: uses, and results for the cache."""
    batch.uses = [use for use in batch.uses if use[0] != run.id]
    batch.cached = [cached for cached in batch.cached if cached.origin.partition("/")[0] != run.id]


class Outbox:
    """Events and actions on their way to the disk."""

    def __init__(self) -> None:
        #: Events for the hive's stream that are in no batch yet.
        self.hive_events: list[ev.HiveEvent] = []
        #: Actions that follow the next batch.
        self.actions: list[act.Action] = []
        #: Runs with events that are in no batch yet, by id.
        self.dirty_runs: dict[str, ActiveRun] = {}
        #: What goes into the next batch besides records: definitions, uses, cached results.
        self.next_batch = Batch()
        #: Token -> row of the requests with an id that are in no batch yet.
        self._requests: dict[int, RequestRow] = {}
        #: Number of the last event of the hive's stream that is in a batch.
        self.hive_seq = 0
        #: ``at`` of the last event of the hive's stream; it never decreases there.
        self.hive_at: Micros = 0
        #: Hive events, actions and runs of the batch that is being committed.
        self._committing_events: list[ev.HiveEvent] = []
        self._committing_actions: list[act.Action] = []
        self._committing_runs: list[ActiveRun] = []
        #: Token -> row of the requests with an id that are in that batch.
        self._committing_requests: dict[int, RequestRow] = {}

    @property
    def durable_hive_seq(self) -> int:
        """Number of the last event of the hive's stream that is surely on disk."""
        return self.hive_seq - len(self._committing_events)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write and nothing to acknowledge."""
        return not self.dirty_runs and not self.hive_events and not self.actions

    def keep_request(self, token: int, row: RequestRow) -> None:
        """Write the row of the request with this token in the transaction of its events.

        Call it right after the request, before the next batch is built.
        """
        self._requests[token] = row

    def build_batch(self, set_apart: Callable[[ActiveRun, Exception], None]) -> Batch:
        """All events and what belongs to them, as one transaction.

        A run with events that cannot be encoded is left out, and passed to ``set_apart``, which may
        change everything here but the batch.
        """
        batch, self.next_batch = self.next_batch, Batch()
        dirty_runs, self.dirty_runs = self.dirty_runs, {}
        self._committing_runs = []
        for run in dirty_runs.values():
            if run.is_set_apart:
                continue  # a run before it in this batch brought it down
            written_seq = run.written_seq
            try:
                record = run.build_record(batch)
                # Compared here first: a call for each record of a journal would be felt.
                if record.at > MAX_STORED_INTEGER or len(record.payload) > MAX_STORED_BYTES:
                    check_storable(record)
                row = run.build_row() if run.update_row_status() else None
            except Exception as error:
                run.written_seq = written_seq
                _remove_content(batch, run)
                set_apart(run, error)
                continue
            batch.records.append(record)
            if row is not None:
                batch.runs.append(row)
            self._committing_runs.append(run)
        if self.hive_events:
            batch.records.append(self._build_hive_record())
        self._committing_actions, self.actions = self.actions, []
        self._committing_requests, self._requests = self._requests, {}
        if self._committing_requests:
            batch.requests += self._build_request_rows()
        return batch

    def _build_request_rows(self) -> list[RequestRow]:
        """The rows of the requests in this batch: each is acknowledged or rejected after it."""
        reasons = {
            action.token: action.reason
            for action in self._committing_actions
            if isinstance(action, act.RejectRequest)
        }
        return [
            msgspec.structs.replace(row, rejection=reasons.get(token, ""))
            for token, row in self._committing_requests.items()
        ]

    def remove_run(self, run: ActiveRun, reason: str) -> None:
        """A run was set apart: drop what it has in no batch yet, and reject the requests about it.

        A limit that a user set stays: it holds in memory already, and its request was accepted.
        """
        run.pending_events = []
        self.dirty_runs.pop(run.id, None)
        self.hive_events = [
            event
            for event in self.hive_events
            if isinstance(event, ev.BudgetSet) or getattr(event, "run", None) != run.id
        ]
        self.actions = [
            act.RejectRequest(action.token, reason, run.id)
            if isinstance(action, act.AcknowledgeRequest) and act.run_of(action) == run.id
            else action
            for action in self.actions
            if act.run_of(action) != run.id or not isinstance(action, _UNDONE_ACTIONS)
        ]
        _remove_content(self.next_batch, run)

    def confirm_commit(self) -> tuple[list[ActiveRun], list[act.Action]]:
        """The batch is on disk: returns the runs that it is about, and the actions that follow."""
        runs, self._committing_runs = self._committing_runs, []
        actions, self._committing_actions = self._committing_actions, []
        self._committing_events = []
        for run in runs:
            run.durable_seq = run.written_seq
        return runs, actions

    def withdraw_runs(
        self, batch: Batch, include_children: Callable[[Collection[str]], Collection[str]]
    ) -> tuple[list[int], Collection[str]]:
        """Withdraw the runs that this batch and the next would have accepted, with their children.

        Changes the batch. Returns the tokens of the requests that are lost with the runs, and the
        ids of the runs. ``include_children`` adds to ids of runs those of their child runs.
        """
        promises = [
            action
            for action in (*self._committing_actions, *self.actions)
            if isinstance(action, act.AcknowledgeRequest | act.RejectRequest)
        ]
        new_runs = [
            candidate.run
            for candidate in promises
            if isinstance(candidate, act.AcknowledgeRequest) and candidate.run
        ]
        if not new_runs:
            return [], ()
        withdrawn = include_children(new_runs)
        self._committing_actions = [
            candidate
            for candidate in self._committing_actions
            if act.run_of(candidate) not in withdrawn
        ]
        self.actions = [
            candidate for candidate in self.actions if act.run_of(candidate) not in withdrawn
        ]
        for run in withdrawn:
            self.dirty_runs.pop(run, None)
        batch.runs = [row for row in batch.runs if row.run not in withdrawn]
        batch.records = [
            record
            for record in batch.records
            if record.stream not in withdrawn and record.stream != ev.HIVE
        ]
        self.hive_seq -= len(self._committing_events)
        remaining_events = [
            event
            for event in self._committing_events
            if getattr(event, "run", None) not in withdrawn
        ]
        later_events = [
            event for event in self.hive_events if getattr(event, "run", None) not in withdrawn
        ]
        # Events that came in since belong to the next batch, like the records they refer to.
        self.hive_events, self._committing_events = remaining_events, []
        if remaining_events:
            batch.records.append(self._build_hive_record())
        self.hive_events = later_events
        for unwritten_batch in (batch, self.next_batch):
            unwritten_batch.uses = [use for use in unwritten_batch.uses if use[0] not in withdrawn]
            unwritten_batch.entries = [
                entry for entry in unwritten_batch.entries if entry.run not in withdrawn
            ]
        tokens = [candidate.token for candidate in promises if act.run_of(candidate) in withdrawn]
        for token in tokens:
            self._requests.pop(token, None)
            self._committing_requests.pop(token, None)
        batch.requests = self._build_request_rows()
        return tokens, withdrawn

    def _order_events(self, events: list[ev.HiveEvent]) -> list[ev.HiveEvent]:
        """The events, with an ``at`` that never decreases although the clock was set back."""
        ordered = list[ev.HiveEvent]()
        for event in events:
            if event.at < self.hive_at:
                event = msgspec.structs.replace(event, at=self.hive_at, wall=event.time)
            self.hive_at = event.at
            ordered.append(event)
        return ordered

    def _build_hive_record(self) -> Record:
        events, self.hive_events = self._order_events(self.hive_events), []
        self._committing_events = events
        first_seq = self.hive_seq + 1
        self.hive_seq += len(events)
        return Record(
            stream=ev.HIVE,
            seq=first_seq,
            count=len(events),
            at=events[-1].at,
            type="hive",
            payload=ev.encode(events),
            rules=RULES,
        )
