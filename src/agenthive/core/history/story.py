"""The story of a task: the events that led it to its state, each with its number and time.

Also the one place that describes an event in a sentence (`describe_event`). Never decides anything;
no code may depend on these texts. To describe a new event: a line in `_DESCRIPTIONS` if it is a
task event, a case in `describe_event` otherwise. Without one its type is the text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Never

import msgspec

from agenthive.core.graph.graph import Graph
from agenthive.core.history.fault_texts import describe_fault
from agenthive.core.history.replay import decode_history
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Record
from agenthive.core.values import SECOND, Micros


class StoryLine(msgspec.Struct, frozen=True):
    """One event of a story."""

    #: Number of the event in the stream of the run, from 1.
    seq: int
    #: Microseconds UTC.
    at: Micros
    #: Such as ``task.started``.
    type: str
    text: str


def build_story(graph: Graph, records: Sequence[Record], task: str) -> list[StoryLine]:
    """The events of a task, of the tasks it depends on, and of the run as a whole.

    Raises KeyError if the graph has no such task.
    """
    index = graph.index[task]
    related = {task, *(graph.keys[dep] for dep in graph.deps[index])}
    return [
        StoryLine(seq, event.time, event_type(event), describe_event(event))
        for seq, event in decode_history(records)
        if not isinstance(event, ev.TaskEvent) or event.task in related
    ]


def event_type(event: ev.Event) -> str:
    """The type of an event, as it is written in the journal: ``task.started``."""
    return str(event.__struct_config__.tag)


def describe_event(event: ev.Event) -> str:
    """One sentence about an event. Without results, because they may be long or confidential."""
    match event:
        case ev.TaskStarted():
            return f"{event.task}: attempt {event.attempt} started on agent {event.agent}"
        case ev.TaskSucceeded():
            tools = ", ".join(tool_call.name for tool_call in event.asks)
            more = f" and requested tool calls: {tools}" if tools else ""
            return f"{event.task}: attempt {event.attempt} succeeded{more}"
        case ev.TaskFailed():
            return f"{event.task}: attempt {event.attempt} failed: {describe_fault(event.fault)}"
        case ev.TaskLost():
            return f"{event.task}: the process ended during attempt {event.attempt}"
        case ev.TaskBlocked():
            return f"{event.task}: blocked: {event.detail}"
        case ev.SignalReceived():
            return f"signal '{event.name}' received from {event.actor}"
        case ev.TaskEvent() if type(event) in _DESCRIPTIONS:
            return f"{event.task}: {_DESCRIPTIONS[type(event)](event)}"  # type: ignore[arg-type]
        case ev.TaskEvent():
            return f"{event.task}: {event_type(event).partition('.')[2].replace('_', ' ')}"
        case ev.RunSubmitted(fork=ev.Fork() as fork):
            origin = f"a fork of run {fork.run} from task '{fork.task}' on"
            return f"submitted as {origin}; results inherited: {len(fork.taken)}"
        case ev.RunMigrated():
            names = "".join(f"; {old} is now {new}" for old, new in event.renamed.items())
            return f"moved to a changed workflow by {event.actor}{names}"
        case ev.RunClockStepped():
            direction = "back" if event.by < 0 else "forward"
            return f"the clock was set {direction} by {abs(event.by) / SECOND:.0f} s"
        case ev.CancelRequested():
            return f"cancelled by {event.actor}" + (f": {event.reason}" if event.reason else "")
    return event_type(event).partition(".")[2].replace("_", " ")


def _verdict_text(event: ev.ApprovalGiven | ev.ApprovalRefused) -> str:
    return "approval" if event.approved else "rejection"


def _describe_resolution(event: ev.TaskResolved) -> str:
    reason = f": {event.reason}" if event.reason else ""
    return f"{event.actor} recorded the outcome of attempt {event.attempt}: {event.outcome}{reason}"


_DESCRIPTIONS: Final[dict[type[ev.TaskEvent], Callable[[Never], str]]] = {
    ev.TaskDecided: lambda e: "its condition holds" if e.go else "its condition does not hold",
    ev.TaskExpanded: lambda e: f"expanded into {len(e.items)} mapped items",
    ev.RoundEnded: lambda e: f"iteration {e.round} was {'the last' if e.done else 'not the last'}",
    ev.TaskFaulted: lambda e: f"failed: {e.fault.message}",
    ev.ApprovalRequested: lambda e: f"approval requested for the payload {e.digest[:12]}",
    ev.ApprovalGiven: lambda e: f"{_verdict_text(e)} by {e.actor}",
    ev.ApprovalRefused: lambda e: f"{_verdict_text(e)} by {e.actor} does not count: {e.reason}",
    ev.TaskResolved: _describe_resolution,
    ev.ChildOpened: lambda e: f"its child run is {e.run}",
    ev.ChildWaiting: lambda e: f"its child run is {e.how}",
    ev.ChildEnded: lambda e: f"its child run ended: {e.status}",
}
"""Descriptions of task events, to follow the key of the task."""
