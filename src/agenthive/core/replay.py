"""From records back to state. Asks nobody and does nothing: the facts are all there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agenthive.core import blobs
from agenthive.core import events as ev
from agenthive.core.graph import Graph
from agenthive.core.machine import step
from agenthive.core.ports import Record
from agenthive.core.run_state import RunState
from agenthive.errors import StoreCorrupt


def facts(
    records: Iterable[Record], contents: blobs.Contents | None = None
) -> Iterator[tuple[int, ev.RunEvent]]:
    """(number, event) of every fact in the records of a run's stream.

    With ``contents`` large values are filled in. Raises StoreCorrupt.
    """
    for record in records:
        for seq, event in enumerate(ev.decode_run(record.payload), record.seq):
            yield seq, event if contents is None else blobs.filled(event, contents)


def replay(
    graph: Graph, records: Iterable[Record], contents: blobs.Contents | None = None
) -> RunState:
    """The state that these records lead to. The commands on the way are not carried out.

    With ``contents`` the large values that are still to be read are filled in. Raises StoreCorrupt.
    """
    state = RunState(graph)
    for _, event in facts(records):
        step(state, event)
    if contents is not None:
        blobs.fill(state, contents)
    return state


def submission(records: Iterable[Record]) -> ev.RunSubmitted:
    """The first fact of a run: who, what, with which inputs. Raises StoreCorrupt."""
    for _, event in facts(records):
        if isinstance(event, ev.RunSubmitted):
            return event
        break
    raise StoreCorrupt("a run's stream does not begin with its submission")
