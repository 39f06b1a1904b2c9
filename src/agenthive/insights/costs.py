"""What calls cost, summed from a journal: by run, workflow, task, agent, model or day.

One pass over the records of all streams, in the order they were committed. A call counts once, when
it says what it used, however late that is; it belongs to the agent it was given to and to the day
(UTC) on which it was. A call whose price nobody knows is counted as such, never as 0. Memory grows
with the rows that come of it and the calls that have not answered.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

import msgspec

from agenthive.core import events as ev
from agenthive.core.ports import Record, Usage
from agenthive.core.values import SECOND, Micros, NanoUSD

BY: Final = ("run", "workflow", "task", "agent", "model", "day")

Key = tuple[str, ...]


class Spent(msgspec.Struct):
    """What some calls used. ``cost`` is nano-dollars, without those of unknown price (unpriced)."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cost: NanoUSD = 0
    unpriced: int = 0

    def add(self, usage: Usage) -> None:
        """One more call."""
        self.calls += 1
        self.input_tokens += usage.input_tokens
        self.output_tokens += usage.output_tokens
        self.cache_read_tokens += usage.cache_read_tokens
        self.cache_write_tokens += usage.cache_write_tokens
        self.reasoning_tokens += usage.reasoning_tokens
        self.cost += usage.cost or 0
        self.unpriced += usage.cost is None

    def merge(self, other: Spent) -> None:
        """What other calls used, too."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Costs:
    """Takes records; `rows` gives the sums. ``since`` and ``until`` bound the days, inclusive."""

    def __init__(self, by: str, since: str = "", until: str = "9999") -> None:
        if by not in BY:
            raise ValueError(f"costs are summed by {', '.join(BY)}, not by {by!r}")
        self._by, self._since, self._until = by, since, until
        self._names: dict[str, str] = {}
        self._children: dict[str, list[str]] = {}
        self._calls: dict[tuple[str, str, int], tuple[str, Micros]] = {}
        self._sums: dict[str, dict[Key, Spent]] = {}

    def take(self, records: Iterable[Record]) -> None:
        """More records, in the order of their ``pos``."""
        for record in records:
            if record.stream == ev.HIVE:
                for about in ev.decode_hive(record.payload):
                    if isinstance(about, ev.UsageAfterEnd):
                        self._used(about.run, about, about.usage)
            else:
                for event in ev.decode_run(record.payload):
                    self._event(record.stream, event)

    def rows(self, run: str | None = None) -> list[tuple[Key, Spent]]:
        """The sums, dearest first; with ``run`` only of that run and the runs below it.

        A key is one name; of a task it is the run and the task.
        """
        found: dict[Key, Spent] = {}
        for one in self._sums if run is None else self._tree(run):
            for key, spent in self._sums.get(one, {}).items():
                found.setdefault(key, Spent()).merge(spent)
        return sorted(found.items(), key=lambda row: (-row[1].cost, -row[1].calls, row[0]))

    def _tree(self, root: str) -> list[str]:
        found = [root]
        for run in found:
            found += self._children.get(run, ())
        return found

    def _event(self, run: str, event: ev.RunEvent) -> None:
        match event:
            case ev.RunSubmitted():
                self._names[run] = event.name
            case ev.ChildOpened():
                self._children.setdefault(run, []).append(event.run)
            case ev.TaskStarted():
                self._calls[run, event.task, event.attempt] = (event.agent, event.at)
            case ev.TaskSucceeded(usage=None):
                self._calls.pop((run, event.task, event.attempt), None)
            case ev.TaskSucceeded() | ev.TaskFailed() | ev.LateReply() if event.usage is not None:
                self._used(run, event, event.usage)

    def _used(
        self,
        run: str,
        event: ev.TaskSucceeded | ev.TaskFailed | ev.LateReply | ev.UsageAfterEnd,
        usage: Usage,
    ) -> None:
        agent, at = self._calls.pop((run, event.task, event.attempt), ("?", event.at))
        day = datetime.fromtimestamp(at // SECOND, UTC).date().isoformat()
        if not self._since <= day <= self._until:
            return
        keys: dict[str, Key] = {
            "run": (run,),
            "workflow": (self._names.get(run, "?"),),
            "task": (run, event.task),
            "agent": (agent,),
            "model": (usage.model or "?",),
            "day": (day,),
        }
        sums = self._sums.setdefault(run, {})
        sums.setdefault(keys[self._by], Spent()).add(usage)


def total(rows: Iterable[tuple[Key, Spent]]) -> Spent:
    """All rows together."""
    found = Spent()
    for _, spent in rows:
        found.merge(spent)
    return found
