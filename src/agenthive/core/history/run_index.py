"""Folds the hive stream into the runs that a journal must have, and how long the ended ones are.

A deleted run has a tombstone in the hive stream (`RunDropped`); a run that is missing without a
tombstone, or has the wrong number of events, is damage. Never reads the stream of a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Record
from agenthive.core.model.states import CLOSED
from agenthive.errors import StoreCorrupt

# In place of the number of events of an ended run: the run is open, or was deleted.
_OPEN = -1
_GONE = 0
_SET_APART = "set apart "


def list_open_imports(records: Iterable[Record]) -> dict[str, int]:
    """The runs that were imported while they were open, with their number of events then."""
    imports: dict[str, int] = {}
    for record in records:
        if b"hive.run_imported" in record.payload:
            for event in ev.decode_hive_events(record.payload):
                if isinstance(event, ev.RunImported) and event.status not in CLOSED:
                    imports[event.run] = event.events
    return imports


def set_apart_mark(run: str, *, events: int, reason: str) -> tuple[str, str]:
    """The entry of `Batch.marks` for a run that was set apart: what `ps` reads of the event."""
    return f"{_SET_APART}{run}", f"{events} {reason}"


def list_set_apart(marks: Mapping[str, str]) -> dict[str, tuple[int, str]]:
    """Runs that were set apart -> their number of events then, and why.

    A run that has more events was resumed since.
    """
    runs: dict[str, tuple[int, str]] = {}
    for name, text in marks.items():
        events, _, reason = text.partition(" ")
        if name.startswith(_SET_APART) and events.isdecimal():
            runs[name.removeprefix(_SET_APART)] = int(events), reason
    return runs


class RunIndex:
    """The runs of a journal, folded from the records of the hive stream."""

    def __init__(self) -> None:
        #: Number of events by run, `_OPEN` or `_GONE`.
        self._events: dict[str, int] = {}

    def add_record(self, record: Record) -> None:
        """Add the next record; records of other streams are ignored."""
        if record.stream != ev.HIVE:
            return
        for event in ev.decode_hive_events(record.payload):
            if isinstance(event, ev.RunOpened):
                self._events[event.run] = _OPEN
            elif isinstance(event, ev.RunImported):
                self._events[event.run] = event.events if event.status in CLOSED else _OPEN
            elif isinstance(event, ev.RunClosed):
                self._events[event.run] = event.events
            elif isinstance(event, ev.RunDropped):
                self._events[event.run] = _GONE

    @property
    def runs(self) -> list[str]:
        """The runs that the journal must have, oldest first."""
        return [run for run, events in self._events.items() if events != _GONE]

    def check_ends(self, ends: Mapping[str, int]) -> None:
        """Compare with the number of events that each stream has. Raises StoreCorrupt."""
        for _, error in self.list_wrong_ends(ends):
            raise error

    def list_wrong_ends(self, ends: Mapping[str, int]) -> list[tuple[str, StoreCorrupt]]:
        """The runs with another number of events than the hive stream records, each with why."""
        wrong_ends = []
        for run, events in self._events.items():
            end = ends.get(run, _GONE)
            if end != events and not (events == _OPEN and end):
                expected = {_OPEN: "an open run", _GONE: "a deleted run"}.get(events, f"{events}")
                error = StoreCorrupt(
                    f"run {run} has {end} events, the hive stream records {expected}",
                    hint="Restore the journal from a backup; do not continue with this one.",
                )
                wrong_ends.append((run, error))
        return wrong_ends
