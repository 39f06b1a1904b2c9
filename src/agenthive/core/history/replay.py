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


def facts(
    records: Iterable[Record], contents: blobs.Contents | None = None
) -> Iterator[tuple[int, ev.RunEvent]]:
    """(number, event) of every fact in the records of a run's stream.

    With ``contents`` large values are filled in. Raises StoreCorrupt.
    """
    for record in records:
        for seq, event in enumerate(ev.decode_run(record.payload), record.seq):
            yield seq, event if contents is None else blobs.filled(event, contents)


def migrated(records: Iterable[Record]) -> list[ev.RunMigrated]:
    """The changes of definition of a run, in order."""
    return [
        event
        for record in records
        # Text of a user's may look like one; then the look was in vain.
        if b'"run.migrated"' in record.payload
        for event in ev.decode_run(record.payload)
        if isinstance(event, ev.RunMigrated)
    ]


def history(
    records: Sequence[Record], contents: blobs.Contents | None = None
) -> Iterator[tuple[int, ev.RunEvent]]:
    """As `facts`, with every task under the name it has in the definition the run has now."""
    changes = migrated(records)
    names = _new_names(changes)
    for seq, event in facts(records, contents):
        yield seq, under_new_name(event, names)
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


def under_new_name(event: ev.RunEvent, names: Mapping[str, str]) -> ev.RunEvent:
    """The fact with the task it is about, or those it takes over, under their new names."""
    if names and isinstance(event, ev.RunSubmitted) and event.fork is not None:
        taken = [
            msgspec.structs.replace(one, task=names.get(one.task, one.task))
            for one in event.fork.taken
        ]
        fork = msgspec.structs.replace(event.fork, taken=taken)
        return msgspec.structs.replace(event, fork=fork)
    if not names or not isinstance(event, ev.TaskEvent):
        return event
    author, mark = split_key(event.task)
    new = names.get(author)
    return event if new is None else msgspec.structs.replace(event, task=new + mark)


def split_key(key: str) -> tuple[str, str]:
    """The name of the author's task, and what stands behind it: item, round, question, undoing."""
    found = _MARKS.search(key)
    return (key, "") if found is None else (key[: found.start()], key[found.start() :])


def replay(
    graph: Graph, records: Sequence[Record], contents: blobs.Contents | None = None
) -> RunState:
    """The state that these records lead to. The commands on the way are not carried out.

    With ``contents`` the large values that are still to be read are filled in. Raises StoreCorrupt.
    """
    state = RunState(graph)
    go_on(state, records)
    if contents is not None:
        blobs.fill(state, contents)
    return state


def go_on(state: RunState, records: Sequence[Record]) -> None:
    """Apply the facts of these records, which come next."""
    for _, event in history(records):
        step(state, event)


def pinned_to(records: Sequence[Record]) -> str:
    """The digest of the definition that a run has now. Raises StoreCorrupt."""
    changes = migrated(records)
    return changes[-1].definition if changes else submission(records).definition


def submission(records: Iterable[Record]) -> ev.RunSubmitted:
    """The first fact of a run: who, what, with which inputs. Raises StoreCorrupt."""
    for _, event in facts(records):
        if isinstance(event, ev.RunSubmitted):
            return event
        break
    raise StoreCorrupt("a run's stream does not begin with its submission")
