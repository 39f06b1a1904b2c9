"""The roll of a journal: which runs its own stream says there are, and how long the ended ones.

A run that was taken out is crossed off by its tombstone; one that is missing without one is damage.
Knows only the hive's facts, never what is in a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Record
from agenthive.core.model.states import CLOSED
from agenthive.errors import StoreCorrupt

_OPEN = -1
_GONE = 0


def list_open_imports(records: Iterable[Record]) -> dict[str, int]:
    """The runs that came in open from a file, with the number of their last fact then."""
    imports: dict[str, int] = {}
    for record in records:
        if b"hive.run_imported" in record.payload:
            for event in ev.decode_hive_events(record.payload):
                if isinstance(event, ev.RunImported) and event.status not in CLOSED:
                    imports[event.run] = event.events
    return imports


class RunIndex:
    """Takes the records of the hive's stream, oldest first; leaves others alone."""

    def __init__(self) -> None:
        self._events: dict[str, int] = {}

    def add_record(self, record: Record) -> None:
        """One more record."""
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
        """The runs that there are."""
        return [run for run, events in self._events.items() if events != _GONE]

    def check_ends(self, ends: Mapping[str, int]) -> None:
        """``ends`` is how many facts each stream has. Raises StoreCorrupt if that cannot be."""
        for run, events in self._events.items():
            end = ends.get(run, _GONE)
            if end != events and not (events == _OPEN and end):
                raise StoreCorrupt(
                    f"stream {run}: facts are missing, or there are too many",
                    hint="Restore the journal from a backup; do not go on with this one.",
                )
