"""The judge of schedules in a simulation: no planned time fires twice, none is lost.

Reads the hive's stream and the runs' as plain JSON, and works out for itself which times a rule
plans (intervals, and the cron expression of every minute). Imports nothing of agenthive. To add a
promise: a method of `_Schedule`, or a line in `judge`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

Event = dict[str, Any]
MINUTE: Final = 60_000_000
PREFIX: Final = "schedule:"


def judge_schedules(hive: list[Event], journal: dict[str, list[Event]]) -> list[str]:
    """One line for each promise that was broken; empty when all held."""
    book = _Book(journal)
    found = [line for event in hive for line in book.take(event)]
    opened = [e["run"] for e in hive if e["type"] == "hive.run_opened" and _ours(e["run"])]
    if sorted(opened) != sorted(book.runs):
        found.append(f"schedules started {sorted(book.runs)}, there are {sorted(opened)}")
    if len(set(opened)) < len(opened):
        found.append("a planned time has two runs")
    return found


def _ours(run: str) -> bool:
    return run.startswith(PREFIX)


class _Book:
    """All schedules, and what became of each of their times so far."""

    def __init__(self, journal: dict[str, list[Event]]) -> None:
        self._journal = journal
        self._known: dict[str, _Schedule] = {}
        self._upto: dict[str, int] = {}
        self.runs: list[str] = []

    def take(self, event: Event) -> Iterator[str]:
        """What is wrong with the next fact."""
        if event["type"] == "hive.run_closed":
            for known in self._known.values():
                known.open.discard(event["run"])
        if "schedule" not in event:
            return
        name, what = event["schedule"], event["type"].removeprefix("hive.schedule_")
        one = self._known.get(name)
        if one is not None and "since" in event and what != "triggered":
            yield from one.nothing_left(event)
        if what == "set":
            new = _Schedule(event, max(event["since"], self._upto.get(name, 0)))
            if one is not None:
                new.take_over(one)
            self._known[name] = new
        elif one is None:
            yield f"{name}: {what}, and there is none"
        else:
            yield from self._taken(one, what, event)
            self._upto[name] = one.upto

    def _taken(self, one: _Schedule, what: str, event: Event) -> Iterator[str]:
        if what in ("fired", "triggered"):
            self.runs.append(event["run"])
            yield from one.started(event)
            yield from self._submitted(one, event)
        elif what == "queued":
            yield from one.queued(event, self._journal)
        elif what == "skipped":
            yield from one.skipped(event)
        elif what == "removed":
            yield from one.nobody_waits()
            del self._known[event["schedule"]]
        elif what == "paused":
            one.paused = True
        elif what == "resumed":
            one.paused = False
            one.upto = max(one.upto, event["since"])

    def _submitted(self, one: _Schedule, event: Event) -> Iterator[str]:
        first = self._journal.get(event["run"], [{}])[0]
        if first.get("definition") != one.definition:
            yield f"{event['run']}: runs another workflow than was set"


class _Schedule:
    """One schedule: ``upto`` is the last planned time that anything is known of."""

    def __init__(self, event: Event, upto: int) -> None:
        rule = event["rule"]
        self.name = event["schedule"]
        self.definition = event["definition"]
        self.overlap = event.get("overlap", "queue")
        self.in_line = event.get("catch_up", "one") == "all"
        self.upto = upto
        self.paused = event.get("paused", False)
        self.open: set[str] = set()
        self._period: int = rule.get("every", MINUTE)
        self._anchor: int = rule.get("anchor", 0)
        self._waiting: list[int] = []

    def take_over(self, old: _Schedule) -> None:
        """What is under way stays so when a schedule is set again."""
        self.open, self._waiting = old.open, old._waiting
        self.upto = max(self.upto, old.upto)

    @property
    def _next(self) -> int:
        return self.upto + self._period - (self.upto - self._anchor) % self._period

    def _comes(self, first: int, last: int) -> Iterator[str]:
        """The times from ``first`` to ``last`` are dealt with; they must be the next ones."""
        if first < self._next:
            yield f"{self.name}: {first} came again"
        elif first > self._next:
            yield f"{self.name}: {self._next} is lost, {first} came"
        if (last - self._anchor) % self._period:
            yield f"{self.name}: {last} is not planned"
        self.upto = max(self.upto, last)

    def started(self, event: Event) -> Iterator[str]:
        """A run began."""
        if self.open and self.overlap != "allow":
            yield f"{self.name}: a run began beside {sorted(self.open)}"
        self.open.add(event["run"])
        planned = event.get("planned")
        if planned is None:
            return
        if self.paused:
            yield f"{self.name}: {planned} fired while it was paused"
        if planned > event["at"]:
            yield f"{self.name}: {planned} fired before its time"
        if planned in self._waiting:
            self._waiting.remove(planned)
        else:
            yield from self._comes(planned, planned)

    def queued(self, event: Event, journal: dict[str, list[Event]]) -> Iterator[str]:
        """A time waits."""
        yield from self._comes(event["planned"], event["planned"])
        if self.overlap not in ("queue", "cancel"):
            yield f"{self.name}: a time waits under {self.overlap}"
        if self._waiting and not (self.in_line and self.overlap == "queue"):
            yield f"{self.name}: two times wait"
        self._waiting.append(event["planned"])
        for run in self.open if self.overlap == "cancel" else ():
            facts = {fact["type"] for fact in journal.get(run, ())}
            if "run.cancel_requested" not in facts and not _undone(journal.get(run, [])):
                yield f"{run}: was to be cancelled for the next one"

    def skipped(self, event: Event) -> Iterator[str]:
        """Times get no run."""
        first, last = event["first"], event["last"]
        if first in self._waiting:
            gone = [planned for planned in self._waiting if first <= planned <= last]
            self._waiting = [planned for planned in self._waiting if planned not in gone]
            count = len(gone)
        else:
            yield from self._comes(first, last)
            count = (last - first) // self._period + 1
        if event.get("count", count) != count:
            yield f"{self.name}: skipped {count} times, and says {event['count']}"

    def nothing_left(self, event: Event) -> Iterator[str]:
        """Whoever changes a schedule deals with the times that have come."""
        if event["since"] >= self._next:
            yield f"{self.name}: {self._next} is lost, it was changed at {event['since']}"

    def nobody_waits(self) -> Iterator[str]:
        """A schedule that is removed deals with those who wait."""
        for planned in self._waiting:
            yield f"{self.name}: {planned} waits, and the schedule is gone"


def _undone(events: list[Event]) -> bool:
    """Whether the run was being undone: that is not cancelled."""
    return any(event.get("task", "").endswith("#undo") for event in events)
