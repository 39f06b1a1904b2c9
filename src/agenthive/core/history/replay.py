"""Rebuilds the state of a run from its records.

Each event is decoded, brought to the task names of the run's present definition, and applied with
`step`. The commands that `step` returns are ignored: they were carried out when the events were
written, and their outcomes are later events. Hence a replay needs no clock, agent or store, and
never evaluates an expression again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from agenthive.core.graph.graph import Graph
from agenthive.core.history import blobs
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Record
from agenthive.core.machine.machine import step
from agenthive.core.machine.run_state import RunState
from agenthive.errors import StoreCorrupt

# What follows the author's name in the key of a derived task: `[2]` is a mapped item, `~3` an
# iteration or model turn, `#undo` a compensation, `#reconcile` a reconcile call.
_MARKS = re.compile(r"(\[\d+\]|~\d+|#(undo|reconcile\d*))+$")


def decode_events(
    records: Iterable[Record], contents: blobs.Contents | None = None
) -> Iterator[tuple[int, ev.RunEvent]]:
    """(number, event) of every event in the records of a run.

    With ``contents`` (bodies of blobs by digest) large values are filled in. Raises StoreCorrupt.
    """
    for record in records:
        for seq, event in enumerate(blobs.decode_record(record), record.seq):
            yield seq, event if contents is None else blobs.fill_event(event, contents)


def list_migrations(records: Iterable[Record]) -> list[ev.RunMigrated]:
    """The changes of definition of a run, in order."""
    return [
        event
        for record in records
        # A cheap test before decoding. It may also match text of a user.
        if b'"run.migrated"' in record.payload
        for event in blobs.decode_record(record)
        if isinstance(event, ev.RunMigrated)
    ]


def decode_history(
    records: Sequence[Record], contents: blobs.Contents | None = None
) -> Iterator[tuple[int, ev.RunEvent]]:
    """As `decode_events`, with every task under its name in the present definition of the run."""
    changes = list_migrations(records)
    names = _new_names(changes)
    for seq, event in decode_events(records, contents):
        yield seq, rename_event(event, names)
        if changes and isinstance(event, ev.RunMigrated):
            changes = changes[1:]
            names = _new_names(changes)


def _new_names(changes: Iterable[ev.RunMigrated]) -> dict[str, str]:
    """Task names before the first of the changes -> names after the last."""
    names: dict[str, str] = {}
    for change in changes:
        names = {old: change.renamed.get(new, new) for old, new in names.items()}
        names = {**change.renamed, **names}
    return names


def rename_event(event: ev.RunEvent, names: Mapping[str, str]) -> ev.RunEvent:
    """The event with its task, or the tasks of the results it inherits, under their new names."""
    if names and isinstance(event, ev.RunSubmitted) and event.fork is not None:
        kept_results = [
            msgspec.structs.replace(kept_result, task=names.get(kept_result.task, kept_result.task))
            for kept_result in event.fork.taken
        ]
        fork = msgspec.structs.replace(event.fork, taken=kept_results)
        return msgspec.structs.replace(event, fork=fork)
    if not names or not isinstance(event, ev.TaskEvent):
        return event
    author, mark = split_key(event.task)
    new = names.get(author)
    return event if new is None else msgspec.structs.replace(event, task=new + mark)


def split_key(key: str) -> tuple[str, str]:
    """Split a task key: the name in the workflow, and the marks of a derived task (or empty)."""
    marks = _MARKS.search(key)
    return (key, "") if marks is None else (key[: marks.start()], key[marks.start() :])


def replay(
    graph: Graph, records: Sequence[Record], contents: blobs.Contents | None = None
) -> RunState:
    """The state that these records lead to.

    With ``contents`` (bodies of blobs by digest) the references in the state are filled in. Raises
    StoreCorrupt.
    """
    state = new_state(graph, records)
    apply_records(state, records)
    if contents is not None:
        blobs.fill_state(state, contents)
    return state


def new_state(graph: Graph, records: Sequence[Record]) -> RunState:
    """The state of a run before its first record, under the rules that it was accepted under."""
    return RunState(graph, records[0].rules) if records else RunState(graph)


def apply_records(state: RunState, records: Sequence[Record]) -> None:
    """Apply the events of the records that follow the state.

    Raises StoreCorrupt, and whatever `step` raises for events that are no history of the workflow.
    """
    for _, event in decode_history(records):
        step(state, event)


def pinned_digest(records: Sequence[Record]) -> str:
    """The digest of the present definition of a run. Raises StoreCorrupt."""
    changes = list_migrations(records)
    return changes[-1].definition if changes else find_submission(records).definition


def find_submission(records: Iterable[Record]) -> ev.RunSubmitted:
    """The first event of a run, its submission. Raises StoreCorrupt."""
    for _, event in decode_events(records):
        if isinstance(event, ev.RunSubmitted):
            return event
        break
    raise StoreCorrupt(
        "the first event of a run is not its submission",
        hint="Restore the journal from a backup; do not continue with this one.",
    )
