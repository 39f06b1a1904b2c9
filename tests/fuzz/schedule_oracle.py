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
    book = _ScheduleBook(journal)
    violations = [line for event in hive for line in book.apply_event(event)]
    opened = [
        e["run"] for e in hive if e["type"] == "hive.run_opened" and _is_scheduled_run(e["run"])
    ]
    if sorted(opened) != sorted(book.runs):
        violations.append(f"schedules started {sorted(book.runs)}, there are {sorted(opened)}")
    if len(set(opened)) < len(opened):
        violations.append("a planned time has two runs")
    return violations


def _is_scheduled_run(run: str) -> bool:
    return run.startswith(PREFIX)


class _ScheduleBook:
    """All schedules, and what became of each of their times so far."""

    def __init__(self, journal: dict[str, list[Event]]) -> None:
        self._journal = journal
        self._known: dict[str, _Schedule] = {}
        self._handled_until: dict[str, int] = {}
        #: By schedule: the planned times that got a run or wait for one. None ever gets two.
        self._taken: dict[str, set[int]] = {}
        self.runs: list[str] = []

    def apply_event(self, event: Event) -> Iterator[str]:
        """What is wrong with the next fact."""
        if event["type"] == "hive.run_closed":
            for schedule in self._known.values():
                schedule.open.discard(event["run"])
        if event["type"] == "hive.clock_stepped_back":
            self._set_back(event.get("wall") or event["at"])
        if "schedule" not in event:
            return
        name, kind = event["schedule"], event["type"].removeprefix("hive.schedule_")
        current = self._known.get(name)
        if current is not None and "since" in event and kind != "triggered":
            yield from current.check_no_time_left(event)
        if kind == "set":
            taken = self._taken.setdefault(name, set())
            new = _Schedule(event, max(event["since"], self._handled_until.get(name, 0)), taken)
            if current is not None:
                new.inherit_from(current)
            self._known[name] = new
        elif current is None:
            yield f"{name}: {kind}, and there is none"
        else:
            yield from self._apply_change(current, kind, event)
            self._handled_until[name] = current.handled_until

    def _set_back(self, wall: int) -> None:
        """The clock was set back: later times are still to come, but for those that got a run."""
        for schedule in self._known.values():
            schedule.set_back(wall)
        self._handled_until = {name: min(at, wall) for name, at in self._handled_until.items()}

    def _apply_change(self, schedule: _Schedule, kind: str, event: Event) -> Iterator[str]:
        if kind in ("fired", "triggered"):
            self.runs.append(event["run"])
            yield from schedule.on_started(event)
            yield from self._check_submission(schedule, event)
        elif kind == "queued":
            yield from schedule.on_queued(event, self._journal)
        elif kind == "skipped":
            yield from schedule.on_skipped(event)
        elif kind == "removed":
            yield from schedule.check_none_waiting()
            del self._known[event["schedule"]]
        elif kind == "paused":
            schedule.paused = True
        elif kind == "resumed":
            schedule.paused = False
            schedule.handled_until = max(schedule.handled_until, event["since"])

    def _check_submission(self, schedule: _Schedule, event: Event) -> Iterator[str]:
        first = self._journal.get(event["run"], [{}])[0]
        if first.get("definition") != schedule.definition:
            yield f"{event['run']}: runs another workflow than was set"


class _Schedule:
    """One schedule: ``handled_until`` is the last planned time that anything is known of."""

    def __init__(self, event: Event, handled_until: int, taken: set[int]) -> None:
        rule = event["rule"]
        self.name = event["schedule"]
        self.definition = event["definition"]
        self.overlap = event.get("overlap", "queue")
        self.in_line = event.get("catch_up", "one") == "all"
        self.handled_until = handled_until
        self.paused = event.get("paused", False)
        self.open: set[str] = set()
        self._period: int = rule.get("every", MINUTE)
        self._anchor: int = rule.get("anchor", 0)
        self._waiting: list[int] = []
        self._taken = taken

    def inherit_from(self, old: _Schedule) -> None:
        """What is under way stays so when a schedule is set again."""
        self.open, self._waiting = old.open, old._waiting
        self.handled_until = max(self.handled_until, old.handled_until)

    def set_back(self, wall: int) -> None:
        """Later times are still to come, also those that waited for a run."""
        self._taken -= {planned for planned in self._waiting if planned > wall}
        self._waiting = [planned for planned in self._waiting if planned <= wall]
        self.handled_until = min(self.handled_until, wall)

    @property
    def _next_time(self) -> int:
        period = self._period
        planned = self.handled_until + period - (self.handled_until - self._anchor) % period
        while planned in self._taken:
            planned += period
        return planned

    def _is_planned(self, time: int) -> bool:
        """Whether the rule of now plans a time; another rule may have planned it."""
        return (time - self._anchor) % self._period == 0

    def _advance_to(self, first: int, last: int) -> Iterator[str]:
        """The times from ``first`` to ``last`` are dealt with; they must be the next ones."""
        if first < self._next_time:
            yield f"{self.name}: {first} came again"
        elif first > self._next_time:
            yield f"{self.name}: {self._next_time} is lost, {first} came"
        if not self._is_planned(last):
            yield f"{self.name}: {last} is not planned"
        self.handled_until = max(self.handled_until, last)

    def on_started(self, event: Event) -> Iterator[str]:
        """A run began."""
        if self.open and self.overlap != "allow":
            yield f"{self.name}: a run began beside {sorted(self.open)}"
        self.open.add(event["run"])
        planned = event.get("planned")
        if planned is None:
            return
        if self.paused:
            yield f"{self.name}: {planned} fired while it was paused"
        if planned in self._waiting:
            self._waiting.remove(planned)
        else:
            if planned > (event.get("wall") or event["at"]):
                yield f"{self.name}: {planned} fired before its time"
            yield from self._advance_to(planned, planned)
            self._taken.add(planned)

    def on_queued(self, event: Event, journal: dict[str, list[Event]]) -> Iterator[str]:
        """A time waits."""
        yield from self._advance_to(event["planned"], event["planned"])
        self._taken.add(event["planned"])
        if self.overlap not in ("queue", "cancel"):
            yield f"{self.name}: a time waits under {self.overlap}"
        if self._waiting and not (self.in_line and self.overlap == "queue"):
            yield f"{self.name}: two times wait"
        self._waiting.append(event["planned"])
        for run in self.open if self.overlap == "cancel" else ():
            event_types = {entry["type"] for entry in journal.get(run, ())}
            if "run.cancel_requested" not in event_types and not _is_compensating(
                journal.get(run, [])
            ):
                yield f"{run}: was to be cancelled for the next one"

    def on_skipped(self, event: Event) -> Iterator[str]:
        """Times get no run."""
        first, last = event["first"], event["last"]
        if first in self._waiting:
            skipped_times = [planned for planned in self._waiting if first <= planned <= last]
            self._waiting = [planned for planned in self._waiting if planned not in skipped_times]
            self._taken -= set(skipped_times)
            count = len(skipped_times)
        else:
            yield from self._advance_to(first, last)
            taken = sum(
                first <= planned <= last and self._is_planned(planned) for planned in self._taken
            )
            count = (last - first) // self._period + 1 - taken
        if event.get("count", count) != count:
            yield f"{self.name}: skipped {count} times, and says {event['count']}"

    def check_no_time_left(self, event: Event) -> Iterator[str]:
        """Whoever changes a schedule deals with the times that have come."""
        if event["since"] >= self._next_time:
            yield f"{self.name}: {self._next_time} is lost, it was changed at {event['since']}"

    def check_none_waiting(self) -> Iterator[str]:
        """A schedule that is removed deals with those who wait."""
        for planned in self._waiting:
            yield f"{self.name}: {planned} waits, and the schedule is gone"


def _is_compensating(events: list[Event]) -> bool:
    """Whether the run was being undone: that is not cancelled."""
    return any(event.get("task", "").endswith("#undo") for event in events)
