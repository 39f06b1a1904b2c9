"""From records back to state. Asks nobody and does nothing: the facts are all there."""

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

_MARKS = re.compile(r"(\[\d+\]|~\d+|#(undo|reconcile\d*))+$")


def decode_events(
    records: Iterable[Record], contents: blobs.Contents | None = None
) -> Iterator[tuple[int, ev.RunEvent]]:
    """(number, event) of every fact in the records of a run's stream.

    With ``contents`` large values are filled in. Raises StoreCorrupt.
    """
    for record in records:
        for seq, event in enumerate(ev.decode_run_events(record.payload), record.seq):
            yield seq, event if contents is None else blobs.fill_event(event, contents)


def list_migrations(records: Iterable[Record]) -> list[ev.RunMigrated]:
    """The changes of definition of a run, in order."""
    return [
        event
        for record in records
        # Text of a user's may look like one; then the look was in vain.
        if b'"run.migrated"' in record.payload
        for event in ev.decode_run_events(record.payload)
        if isinstance(event, ev.RunMigrated)
    ]


def decode_history(
    records: Sequence[Record], contents: blobs.Contents | None = None
) -> Iterator[tuple[int, ev.RunEvent]]:
    """As `facts`, with every task under the name it has in the definition the run has now."""
    changes = list_migrations(records)
    names = _new_names(changes)
    for seq, event in decode_events(records, contents):
        yield seq, rename_event(event, names)
        if changes and isinstance(event, ev.RunMigrated):
            changes = changes[1:]
            names = _new_names(changes)


def _new_names(changes: Iterable[ev.RunMigrated]) -> dict[str, str]:
    """What tasks are called in the end that had these names before the first of the changes."""
    names: dict[str, str] = {}
    for change in changes:
        names = {old: change.renamed.get(new, new) for old, new in names.items()}
        names = {**change.renamed, **names}
    return names


def rename_event(event: ev.RunEvent, names: Mapping[str, str]) -> ev.RunEvent:
    """The fact with the task it is about, or those it takes over, under their new names."""
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
    """The name of the author's task, and what stands behind it: item, round, question, undoing."""
    marks = _MARKS.search(key)
    return (key, "") if marks is None else (key[: marks.start()], key[marks.start() :])


def replay(
    graph: Graph, records: Sequence[Record], contents: blobs.Contents | None = None
) -> RunState:
    """The state that these records lead to. The commands on the way are not carried out.

    With ``contents`` the large values that are still to be read are filled in. Raises StoreCorrupt.
    """
    state = RunState(graph)
    apply_records(state, records)
    if contents is not None:
        blobs.fill_state(state, contents)
    return state


def apply_records(state: RunState, records: Sequence[Record]) -> None:
    """Apply the facts of these records, which come next."""
    for _, event in decode_history(records):
        step(state, event)


def pinned_digest(records: Sequence[Record]) -> str:
    """The digest of the definition that a run has now. Raises StoreCorrupt."""
    changes = list_migrations(records)
    return changes[-1].definition if changes else find_submission(records).definition


def find_submission(records: Iterable[Record]) -> ev.RunSubmitted:
    """The first fact of a run: who, what, with which inputs. Raises StoreCorrupt."""
    for _, event in decode_events(records):
        if isinstance(event, ev.RunSubmitted):
            return event
        break
    raise StoreCorrupt("a run's stream does not begin with its submission")
