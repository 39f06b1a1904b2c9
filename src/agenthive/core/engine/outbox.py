"""What has been decided and is not on disk yet, and what is to be carried out once it is.

The driver's other half: it fills the outbox, which makes batches of it, and takes back what the
store refused before anybody was promised anything. Knows nothing of tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from agenthive.core.engine import actions as act
from agenthive.core.engine.active_run import ActiveRun
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Batch, Record


class Outbox:
    """``hive`` are facts for the hive's own stream, ``after`` what follows their commit.

    ``dirty_runs`` are the runs with facts that are in no batch; ``next_batch`` is what else goes
    into that.
    """

    def __init__(self, rules_version: int) -> None:
        self.hive_events: list[ev.HiveEvent] = []
        self.actions: list[act.Action] = []
        self.dirty_runs: dict[str, ActiveRun] = {}
        self.next_batch = Batch()
        self.hive_seq = 0
        self._rules_version = rules_version
        self._committing_events: list[ev.HiveEvent] = []
        self._committing_actions: list[act.Action] = []
        self._committing_runs: list[ActiveRun] = []

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write, and nobody to tell that nothing had to be."""
        return not self.dirty_runs and not self.hive_events and not self.actions

    def build_batch(self) -> Batch:
        """All that is to be written, as one transaction."""
        batch, self.next_batch = self.next_batch, Batch()
        for run in self.dirty_runs.values():
            batch.records.append(run.build_record(self._rules_version, batch))
            if run.update_row_status():
                batch.runs.append(run.build_row())
        self._committing_runs = list(self.dirty_runs.values())
        self.dirty_runs = {}
        if self.hive_events:
            batch.records.append(self._build_hive_record())
        self._committing_actions, self.actions = self.actions, []
        return batch

    def confirm_commit(self) -> tuple[list[ActiveRun], list[act.Action]]:
        """The batch is on disk: the runs it was about, and what follows."""
        runs, self._committing_runs = self._committing_runs, []
        actions, self._committing_actions = self._committing_actions, []
        self._committing_events = []
        for run in runs:
            run.durable_seq = run.written_seq
        return runs, actions

    def withdraw_runs(
        self, batch: Batch, include_children: Callable[[Collection[str]], Collection[str]]
    ) -> tuple[list[int], Collection[str]]:
        """Take back the runs this batch and the next would have accepted, and those made by them.

        Changes the batch; gives the tokens of those who wait for that, and the runs.
        ``include_children`` gives the runs that these have begun, with these.
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
        # What came in since belongs to the next batch, with the records it speaks of.
        self.hive_events, self._committing_events = remaining_events, []
        if remaining_events:
            batch.records.append(self._build_hive_record())
        self.hive_events = later_events
        for unwritten_batch in (batch, self.next_batch):
            unwritten_batch.uses = [use for use in unwritten_batch.uses if use[0] not in withdrawn]
            unwritten_batch.entries = [
                entry for entry in unwritten_batch.entries if entry.run not in withdrawn
            ]
        return [
            candidate.token for candidate in promises if act.run_of(candidate) in withdrawn
        ], withdrawn

    def _build_hive_record(self) -> Record:
        events, self.hive_events = self.hive_events, []
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
            rules=self._rules_version,
        )
