"""The counts of a run in progress, and the words for its events.

Takes events one by one; prints nothing. To show another event: a line in `WORDS`.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from agenthive.cli.support.output import format_duration
from agenthive.queries.journal_reader import EventView

WORDS: Final = {
    "task.started": "started",
    "task.succeeded": "succeeded",
    "task.failed": "failed",
    "task.faulted": "failed",
    "task.lost": "interrupted",
    "task.woke": "retrying",
    "task.blocked": "blocked",
    "task.unblocked": "unblocked",
    "task.cancelled": "cancelled",
    "run.resumed": "resumed",
    "run.cancel_requested": "cancelling",
    "run.timed_out": "timed out",
}


class ProgressCounts:
    """The counts of the events so far."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = self.failed = 0
        #: Running task -> its start (microseconds UTC) and its agent.
        self.started: dict[str, tuple[int, str]] = {}
        self._failing: set[str] = set()

    def add_event(self, event: EventView) -> tuple[str, str, str]:
        """Count an event; return its task, word and detail, each empty if there is none."""
        data: dict[str, Any] = msgspec.json.decode(event.data)
        task = str(data.get("task", ""))
        started = self.started.pop(task, None)
        if event.type == "task.started":
            self.started[task] = (event.at, str(data["agent"]))
        elif event.type == "task.succeeded":
            self.done += 1
            self._failing.discard(task)
        elif event.type in ("task.failed", "task.faulted"):
            self._failing.add(task)
        self.failed = len(self._failing)
        return task, WORDS.get(event.type, ""), _describe_event(event, data, started)


def _describe_event(event: EventView, data: dict[str, Any], started: tuple[int, str] | None) -> str:
    duration = "" if started is None else format_duration((event.at - started[0]) / 1e6)
    if event.type == "task.started":
        attempt = f", attempt {data['attempt']}" if data["attempt"] > 1 else ""
        return f"agent {data['agent']}{attempt}"
    if event.type == "task.succeeded":
        usage = data.get("usage") or {}
        tokens = usage.get("input_tokens", 0) + usage.get("output_tokens", 0)
        return f"in {duration}" + (f", {tokens:,} tokens" if tokens else "")
    if event.type == "task.failed":
        return f"after {duration}: {data['fault']['message']}"
    if event.type == "task.faulted":
        return str(data["fault"]["message"])
    return str(data.get("detail") or data.get("reason") or "")


def format_counts(counts: ProgressCounts) -> str:
    """The counts in one line."""
    parts = [f"{counts.done:,} of {counts.total:,} tasks done"]
    parts += [f"{len(counts.started):,} running"] if counts.started else []
    parts += [f"{counts.failed:,} failed"] if counts.failed else []
    return ", ".join(parts)
