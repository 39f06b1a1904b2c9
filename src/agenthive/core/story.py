"""The story of a task: the facts that made it what it is, each with its number and time."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from agenthive.core import events as ev
from agenthive.core.graph import Graph
from agenthive.core.ports import Record
from agenthive.core.replay import facts
from agenthive.core.values import Micros


class Line(msgspec.Struct, frozen=True):
    """One fact of a story."""

    seq: int
    at: Micros
    type: str
    text: str


def story(graph: Graph, records: Iterable[Record], task: str) -> list[Line]:
    """What happened to ``task``, to what it depends on, and to its run as a whole."""
    index = graph.index[task]
    near = {task, *(graph.keys[dep] for dep in graph.deps[index])}
    return [
        Line(seq, event.at, tag(event), describe(event))
        for seq, event in facts(records)
        if not isinstance(event, ev.TaskEvent) or event.task in near
    ]


def tag(event: ev.Event) -> str:
    """The name of a fact, as it stands in the journal."""
    return str(event.__struct_config__.tag)


def describe(event: ev.Event) -> str:
    """One sentence about a fact. Results are left out: they may be long."""
    match event:
        case ev.TaskStarted():
            return f"{event.task}: attempt {event.attempt} given to {event.agent}"
        case ev.TaskSucceeded():
            return f"{event.task}: attempt {event.attempt} succeeded"
        case ev.TaskFailed():
            return f"{event.task}: attempt {event.attempt} failed, {event.fault.message}"
        case ev.TaskLost():
            return f"{event.task}: the process ended during attempt {event.attempt}"
        case ev.TaskBlocked():
            return f"{event.task}: blocked, {event.detail}"
        case ev.TaskEvent():
            return f"{event.task}: {tag(event).partition('.')[2].replace('_', ' ')}"
        case ev.CancelRequested():
            return f"cancelled by {event.actor}" + (f": {event.reason}" if event.reason else "")
    return tag(event).partition(".")[2].replace("_", " ")
