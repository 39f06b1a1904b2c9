"""The story of one simulated run: its events, and what happened around it.

Times are seconds since the start of the simulation. What the journal of the run cannot contain (a
crash, a refused write, a repeated effect) is listed between its events, at the position where it
was observed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from agenthive.core.history.replay import decode_events
from agenthive.core.history.story import describe_event, event_type
from agenthive.core.model.workflow import Effect
from agenthive.core.values import SECOND, Micros
from agenthive.simulation.runner import SimulatedRun


class TimelineEntry(msgspec.Struct, frozen=True):
    """One line of a story."""

    seconds: float
    #: The number of the event in the run; 0 if the entry is not an event of the run.
    seq: int
    type: str
    text: str


def build_timeline(simulated_run: SimulatedRun) -> list[TimelineEntry]:
    """The entries of the story, in order."""
    start = simulated_run.times[0] if simulated_run.times else 0
    describer = _ObservationText(
        {node.key for node in simulated_run.options.graph.nodes if node.effect is Effect.KEYED}
    )
    entries: list[TimelineEntry] = []
    run_entries = list(_event_entries(simulated_run))
    for i, (now, kind, data) in enumerate(simulated_run.case.observations):
        while run_entries and run_entries[0][0] <= i:
            entries.append(run_entries.pop(0)[1])
        text = describer.describe(kind, data)
        if text:
            entries.append(TimelineEntry((now - start) / SECOND, 0, kind, text))
    return entries + [entry for _, entry in run_entries]


def _event_entries(simulated_run: SimulatedRun) -> Iterator[tuple[int, TimelineEntry]]:
    """Each event of the run, with the number of observations made before it was on disk."""
    start = simulated_run.times[0] if simulated_run.times else 0
    marks = simulated_run.disk.durable_at.get(simulated_run.run, [])
    numbered = decode_events(simulated_run.disk.records(simulated_run.run))
    for (seq, event), mark, at in zip(numbered, marks, simulated_run.times, strict=True):
        yield (
            mark,
            TimelineEntry(_seconds_since(start, at), seq, event_type(event), describe_event(event)),
        )


def _seconds_since(start: Micros, at: Micros) -> float:
    return (at - start) / SECOND


class _ObservationText:
    """Text for observations around a run; empty where the events of the run already say it."""

    def __init__(self, keyed: set[str]) -> None:
        self._keyed = keyed
        self._act_counts: dict[str, int] = {}
        self._answered: set[tuple[str, int]] = set()

    def describe(self, kind: str, data: dict[str, Any]) -> str:
        """One line about an observation."""
        match kind:
            case "acted":
                return self._describe_act(data["task"], data["key"])
            case "replied":
                return self._describe_reply(data)
            case "crashed":
                return "the process died; another takes over"
            case "refused":
                return "the journal refused a write"
            case "jumped":
                return f"the clock was set {'forward' if data['by'] > 0 else 'back'}"
            case "ended":
                return f"the run is {data['status']}"
            case "parked":
                return "the run waits for an external decision"
        return ""

    def _describe_act(self, task: str, key: str) -> str:
        times = self._act_counts[key] = self._act_counts.get(key, 0) + 1
        if times > 1 and task in self._keyed:
            return f"{task}: called again with the same idempotency key"
        return f"{task}: had its effect" + (f", time {times}" if times > 1 else "")

    def _describe_reply(self, data: dict[str, Any]) -> str:
        call = (data["task"], data["attempt"])
        if call not in self._answered:
            self._answered.add(call)
            return ""
        return f"{data['task']}: the response of attempt {data['attempt']} arrived again"
