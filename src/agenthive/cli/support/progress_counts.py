"""What the facts of a run add up to while it goes, and the words for them.

Takes facts one by one; shows nothing itself. To tell of a fact: a line in `WORDS`.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from agenthive.cli.support.output import span
from agenthive.queries.journal_reader import Fact

WORDS: Final = {
    "task.started": "started",
    "task.succeeded": "succeeded",
    "task.failed": "failed",
    "task.faulted": "failed",
    "task.lost": "was cut off",
    "task.woke": "tries again",
    "task.blocked": "blocked",
    "task.unblocked": "goes on",
    "task.cancelled": "cancelled",
    "run.resumed": "resumed",
    "run.cancel_requested": "is being cancelled",
    "run.timed_out": "timed out",
}


class Tally:
    """What the facts so far add up to. ``started`` maps tasks under way to when (us) and where."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = self.failed = self.tokens = 0
        self.started: dict[str, tuple[int, str]] = {}
        self._failing: set[str] = set()

    def take(self, fact: Fact) -> tuple[str, str, str]:
        """Task, word and detail of a fact; empty strings where there is nothing to say."""
        data: dict[str, Any] = msgspec.json.decode(fact.data)
        task = str(data.get("task", ""))
        began = self.started.pop(task, None)
        used = data.get("usage") or {}
        self.tokens += used.get("input_tokens", 0) + used.get("output_tokens", 0)
        if fact.type == "task.started":
            self.started[task] = (fact.at, str(data["agent"]))
        elif fact.type == "task.succeeded":
            self.done += 1
            self._failing.discard(task)
        elif fact.type in ("task.failed", "task.faulted"):
            self._failing.add(task)
        self.failed = len(self._failing)
        return task, WORDS.get(fact.type, ""), _detail(fact, data, began)


def _detail(fact: Fact, data: dict[str, Any], began: tuple[int, str] | None) -> str:
    took = "" if began is None else span((fact.at - began[0]) / 1e6)
    if fact.type == "task.started":
        again = f", attempt {data['attempt']}" if data["attempt"] > 1 else ""
        return f"at {data['agent']}{again}"
    if fact.type == "task.succeeded":
        used = data.get("usage") or {}
        tokens = used.get("input_tokens", 0) + used.get("output_tokens", 0)
        return f"in {took}" + (f", {tokens:,} tokens" if tokens else "")
    if fact.type == "task.failed":
        return f"after {took}: {data['fault']['message']}"
    if fact.type == "task.faulted":
        return str(data["fault"]["message"])
    return str(data.get("detail") or data.get("reason") or "")


def told(tally: Tally) -> str:
    """The sums in one line."""
    parts = [f"{tally.done:,} of {tally.total:,} tasks done"]
    parts += [f"{len(tally.started):,} under way"] if tally.started else []
    parts += [f"{tally.failed:,} failed"] if tally.failed else []
    return ", ".join(parts)
