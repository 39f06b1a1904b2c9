"""What has been decided and is not on disk yet, and what is to be carried out once it is.

The driver's other half: it fills the outbox, which makes batches of it, and takes back what the
store refused before anybody was promised anything. Knows nothing of tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from agenthive.core.engine import actions as act
from agenthive.core.engine.active_run import Live
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Batch, Record


class Outbox:
    """``hive`` are facts for the hive's own stream, ``after`` what follows their commit.

    ``dirty`` are the runs with facts that are in no batch; ``next`` is what else goes into that.
    """

    def __init__(self, rules: int) -> None:
        self.hive: list[ev.HiveEvent] = []
        self.after: list[act.Action] = []
        self.dirty: dict[str, Live] = {}
        self.next = Batch()
        self.hive_seq = 0
        self._rules = rules
        self._hive_committing: list[ev.HiveEvent] = []
        self._committing: list[act.Action] = []
        self._in_batch: list[Live] = []

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write, and nobody to tell that nothing had to be."""
        return not self.dirty and not self.hive and not self.after

    def batch(self) -> Batch:
        """All that is to be written, as one transaction."""
        batch, self.next = self.next, Batch()
        for live in self.dirty.values():
            batch.records.append(live.record(self._rules, batch))
            if live.row_changed():
                batch.runs.append(live.row())
        self._in_batch = list(self.dirty.values())
        self.dirty = {}
        if self.hive:
            batch.records.append(self._hive_record())
        self._committing, self.after = self.after, []
        return batch

    def committed(self) -> tuple[list[Live], list[act.Action]]:
        """The batch is on disk: the runs it was about, and what follows."""
        lives, self._in_batch = self._in_batch, []
        actions, self._committing = self._committing, []
        self._hive_committing = []
        for live in lives:
            live.durable = live.written
        return lives, actions

    def withdraw(
        self, batch: Batch, and_of: Callable[[Collection[str]], Collection[str]]
    ) -> tuple[list[int], Collection[str]]:
        """Take back the runs this batch and the next would have accepted, and those made by them.

        Changes the batch; gives the tokens of those who wait for that, and the runs. ``and_of``
        gives the runs that these have begun, with these.
        """
        promised = [
            action
            for action in (*self._committing, *self.after)
            if isinstance(action, act.Acknowledge | act.Refuse)
        ]
        asked = [a.run for a in promised if isinstance(a, act.Acknowledge) and a.run]
        if not asked:
            return [], ()
        gone = and_of(asked)
        self._committing = [a for a in self._committing if act.run_of(a) not in gone]
        self.after = [a for a in self.after if act.run_of(a) not in gone]
        for run in gone:
            self.dirty.pop(run, None)
        batch.runs = [row for row in batch.runs if row.run not in gone]
        batch.records = [r for r in batch.records if r.stream not in gone and r.stream != ev.HIVE]
        self.hive_seq -= len(self._hive_committing)
        kept = [e for e in self._hive_committing if getattr(e, "run", None) not in gone]
        later = [e for e in self.hive if getattr(e, "run", None) not in gone]
        # What came in since belongs to the next batch, with the records it speaks of.
        self.hive, self._hive_committing = kept, []
        if kept:
            batch.records.append(self._hive_record())
        self.hive = later
        for one in (batch, self.next):
            one.uses = [use for use in one.uses if use[0] not in gone]
            one.entries = [entry for entry in one.entries if entry.run not in gone]
        return [a.token for a in promised if act.run_of(a) in gone], gone

    def _hive_record(self) -> Record:
        events, self.hive = self.hive, []
        self._hive_committing = events
        first = self.hive_seq + 1
        self.hive_seq += len(events)
        return Record(
            stream=ev.HIVE,
            seq=first,
            count=len(events),
            at=events[-1].at,
            type="hive",
            payload=ev.encode(events),
            rules=self._rules,
        )
