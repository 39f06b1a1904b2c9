"""The schedules of a hive: which there are, and what they start when.

Remembers the facts of the hive's stream and says what follows from the time: runs to accept, runs
to cancel, facts to record. Every planned time comes to one of three facts (fired, queued and later
one of the others, skipped), in the batch of the run if there is one; so a restart knows what has
been dealt with. Planned times are compared with what the clock shows, not with the hive's time:
when the clock steps back, nothing fires again, and what is next waits until it is due.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final, TypeAlias

import msgspec

from agenthive.core.graph.graph import Graph
from agenthive.core.journal import run_events as ev
from agenthive.core.policies.schedule import CatchUp, Overlap, Rule, next_interval, run_id, utc
from agenthive.core.ports import Calendar
from agenthive.core.values import SECOND, JSONObject, Micros
from agenthive.errors import Conflict, NotFound

GRACE: Final[Micros] = 10 * SECOND
"""How late a run may start without counting as missed."""
MOST_CAUGHT_UP: Final = 100
"""Missed times that get a run under ``catch_up: all``."""
MOST_COUNTED: Final = 500
"""Skipped times of a cron expression that are counted one by one."""
MOST_SCHEDULES: Final = 1000
_KEPT: Final = {CatchUp.NONE: 0, CatchUp.ONE: 1, CatchUp.ALL: MOST_CAUGHT_UP}


class Start(msgspec.Struct, frozen=True):
    """Accept this run."""

    event: ev.RunSubmitted
    graph: Graph


class Stop(msgspec.Struct, frozen=True):
    """Cancel this run."""

    run: str
    schedule: str


Deed: TypeAlias = Start | Stop | ev.HiveEvent
"""What the driver is to do; a fact is to be recorded."""


class ScheduleRow(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule as it is shown. ``next`` and the ``last_`` fields are None before there is one."""

    name: str
    workflow: str
    definition: str
    cron: str
    zone: str
    every: Micros
    anchor: Micros
    inputs: JSONObject
    time_input: str
    catch_up: CatchUp
    overlap: Overlap
    paused: bool
    next: Micros | None
    last_planned: Micros | None
    last_run: str | None
    last_skipped: Micros | None
    last_reason: str | None
    open_runs: list[str]
    queued: list[Micros]


def following(calendar: Calendar, rule: Rule, after: Micros) -> Micros | None:
    """The first planned time of a rule after ``after``; None if there is none."""
    if rule.every:
        return next_interval(rule, after)
    return calendar.next_after(rule.cron, rule.zone, after)


class Schedule:
    """One schedule. ``last`` is the time up to which every planned time has been dealt with."""

    def __init__(self, fact: ev.ScheduleSet, last: Micros) -> None:
        self.fact = fact
        self.last = last
        self.paused = fact.paused
        self.queue: list[Micros] = []
        self.open: dict[str, None] = {}
        self.fired: tuple[Micros, str] | None = None
        self.skipped: tuple[Micros, str] | None = None
        self.graph: Graph | None = None
        self.problem = "nobody has loaded its workflow"
        self.next: Micros | None = None
        self.fresh = False

    def equip(self, graph: Graph | None, problem: str) -> None:
        """Give it what it starts; ``problem`` says why it cannot, if it cannot."""
        self.graph, self.problem = graph, problem

    def row(self, calendar: Calendar) -> ScheduleRow:
        """What there is to show."""
        fact, rule = self.fact, self.fact.rule
        planned, run = self.fired or (None, None)
        skipped, reason = self.skipped or (None, None)
        return ScheduleRow(
            name=fact.schedule, workflow=fact.workflow, definition=fact.definition,
            cron=rule.cron, zone=rule.zone, every=rule.every, anchor=rule.anchor,
            inputs=fact.inputs, time_input=fact.time_input,
            catch_up=fact.catch_up, overlap=fact.overlap, paused=self.paused,
            next=None if self.paused else following(calendar, rule, self.last),
            last_planned=planned, last_run=run, last_skipped=skipped, last_reason=reason,
            open_runs=list(self.open), queued=list(self.queue),
        )  # fmt: skip


class _Never:
    """The calendar of a hive without schedules."""

    def next_after(self, cron: str, zone: str, after: Micros) -> Micros | None:
        return None


class Schedules:
    """All schedules. They start nothing before ``active`` is set."""

    def __init__(self, calendar: Calendar | None = None) -> None:
        self.calendar = calendar or _Never()
        self.known: dict[str, Schedule] = {}
        self.active = False
        self._removed: dict[str, Micros] = {}
        self._runs: dict[str, str] = {}
        self._stale = True
        self._wake: Micros | None = None

    # What has happened.

    def remember(self, event: ev.HiveEvent) -> None:
        """Take in a fact."""
        if isinstance(event, ev.RunClosed):
            self.ended(event.run)
        elif isinstance(event, ev.ScheduleSet):
            self._set(event)
        elif isinstance(event, ev.ScheduleEvent):
            self._happened(self.known[event.schedule], event)

    def ended(self, run: str) -> None:
        """A run is over, or was never there."""
        name = self._runs.pop(run, None)
        if name is not None:
            self._stale = True
            self.known[name].open.pop(run)

    def _set(self, event: ev.ScheduleSet) -> None:
        old = self.known.get(event.schedule)
        before = old.last if old is not None else self._removed.pop(event.schedule, 0)
        new = self.known[event.schedule] = Schedule(event, max(event.since, before))
        if old is not None:
            new.queue, new.open = old.queue, old.open
            new.fired, new.skipped = old.fired, old.skipped
        self._stale = True

    def _happened(self, one: Schedule, event: ev.ScheduleEvent) -> None:
        one.fresh, self._stale = False, True
        match event:
            case ev.SchedulePaused():
                one.paused = True
            case ev.ScheduleResumed():
                one.paused = False
                one.last = max(one.last, event.since)
            case ev.ScheduleRemoved():
                self._remove(one)
            case ev.ScheduleTriggered():
                self._opened(one, event.since, event.run)
            case ev.ScheduleFired():
                self._opened(one, event.planned, event.run)
                self._dealt(one, event.planned, event.planned)
            case ev.ScheduleQueued():
                one.last = max(one.last, event.planned)
                one.queue.append(event.planned)
            case _:
                assert isinstance(event, ev.ScheduleSkipped)
                self._dealt(one, event.first, event.last)
                one.skipped = event.last, event.reason

    def _dealt(self, one: Schedule, first: Micros, last: Micros) -> None:
        one.last = max(one.last, last)
        one.queue = [planned for planned in one.queue if not first <= planned <= last]

    def _opened(self, one: Schedule, planned: Micros, run: str) -> None:
        one.fired = planned, run
        one.open[run] = None
        self._runs[run] = one.fact.schedule

    def _remove(self, one: Schedule) -> None:
        name = one.fact.schedule
        del self.known[name]
        self._removed[name] = one.last
        for run in one.open:
            del self._runs[run]

    # What people ask for.

    def change(self, change: ev.ScheduleChange, now: Micros) -> Iterator[Deed]:
        """What follows from a request. Raises NotFound, Conflict before anything is done."""
        one = self.known.get(change.schedule)
        if one is None and not isinstance(change, ev.ScheduleSet):
            raise NotFound(
                f"there is no schedule '{change.schedule}'",
                hint="`agenthive schedule list` shows the schedules of this home.",
            )
        if one is None:
            if len(self.known) >= MOST_SCHEDULES:
                raise Conflict(f"there are {MOST_SCHEDULES} schedules; remove one first")
            return iter([self._noted(change)])
        if isinstance(change, ev.ScheduleTriggered):
            return self._trigger(one, change, now)
        return iter(list(self._changed(one, change, now)))

    def _changed(
        self, one: Schedule, change: ev.ScheduleChange, now: Micros
    ) -> Iterator[ev.HiveEvent]:
        if isinstance(change, ev.SchedulePaused | ev.ScheduleResumed):
            if one.paused == isinstance(change, ev.SchedulePaused):
                return
            yield from self._settled(one, change.since, "paused", now)
        elif isinstance(change, ev.ScheduleSet):
            yield from self._settled(one, change.since, "replaced", now)
        else:
            yield from self._settled(one, change.since, "removed", now)
            if one.queue:
                yield self._skip(one, one.queue[0], one.queue[-1], "removed", now, len(one.queue))
        yield self._noted(change)

    def _settled(
        self, one: Schedule, wall: Micros, reason: str, now: Micros
    ) -> Iterator[ev.HiveEvent]:
        """Times that came before the rule or its being paused changed get no run any more."""
        first = following(self.calendar, one.fact.rule, one.last)
        if first is not None and first <= wall:
            last = self._latest(one.fact.rule, one.last, wall, 1)[-1]
            yield self._skip(one, first, last, reason, now)

    def _trigger(self, one: Schedule, change: ev.ScheduleTriggered, now: Micros) -> Iterator[Deed]:
        if one.problem:
            raise Conflict(f"schedule '{change.schedule}' cannot start a run: {one.problem}")
        if one.open and one.fact.overlap is not Overlap.ALLOW:
            raise Conflict(
                f"the run {next(iter(one.open))} of schedule '{change.schedule}' has not ended",
                hint="Wait for it, cancel it, or set the schedule with `--overlap allow`.",
            )
        return iter([self._noted(change), self._submission(one, change.since, change.run, now)])

    # What is due.

    def next_wake(self) -> Micros | None:
        """When something is due, by what the clock shows."""
        if self._stale:
            self._refresh()
        return self._wake if self.active else None

    def _refresh(self) -> None:
        self._stale = False
        times: list[Micros] = []
        for one in self.known.values():
            if not one.fresh:
                one.next, one.fresh = following(self.calendar, one.fact.rule, one.last), True
            if one.paused:
                continue
            if one.queue and not one.open:
                times.append(one.queue[0])
            if one.next is not None:
                times.append(one.next)
        self._wake = min(times, default=None)

    def due(self, wall: Micros, now: Micros) -> Iterator[Deed]:
        """What is to be done, the clock showing ``wall``. Each deed is done before the next."""
        wake = self.next_wake()
        if wake is None or wake > wall:
            return
        for one in list(self.known.values()):
            if not one.paused:
                yield from self._next_in_line(one, now)
                if one.next is not None and one.next <= wall:
                    yield from self._come(one, one.next, wall, now)
                    yield from self._next_in_line(one, now)

    def _next_in_line(self, one: Schedule, now: Micros) -> Iterator[Deed]:
        while one.queue and not one.open:
            yield from self._fire(one, one.queue[0], now)

    def _come(self, one: Schedule, first: Micros, wall: Micros, now: Micros) -> Iterator[Deed]:
        """Times have come, the first of them ``first``: skip or catch up, then start or wait."""
        rule, late = one.fact.rule, wall - GRACE
        timely = self._latest(rule, max(one.last, late), wall, MOST_CAUGHT_UP)
        if first <= late:
            kept = _KEPT[one.fact.catch_up]
            if one.fact.catch_up is CatchUp.ONE and timely:
                kept = 0
            missed = self._latest(rule, one.last, late, kept + 1)
            if len(missed) > kept:
                yield self._skip(one, first, missed[-kept - 1], "missed", now)
            for planned in missed[max(0, len(missed) - kept) :]:
                each = one.fact.catch_up is CatchUp.ALL
                yield from self._offer(one, planned, now, in_line=each)
        for planned in timely:
            yield from self._offer(one, planned, now, in_line=False)

    def _offer(
        self, one: Schedule, planned: Micros, now: Micros, *, in_line: bool
    ) -> Iterator[Deed]:
        overlap = one.fact.overlap
        if overlap is Overlap.ALLOW or not (one.open or one.queue) or one.problem:
            yield from self._fire(one, planned, now)
        elif overlap is Overlap.SKIP or (overlap is Overlap.QUEUE and one.queue and not in_line):
            yield self._skip(one, planned, planned, "the run before has not ended", now, 1)
        else:
            if overlap is Overlap.CANCEL:
                yield from self._overtake(one, now)
            name = one.fact.schedule
            yield self._noted(ev.ScheduleQueued(at=now, schedule=name, planned=planned))

    def _overtake(self, one: Schedule, now: Micros) -> Iterator[Deed]:
        for waiting in list(one.queue):
            yield self._skip(one, waiting, waiting, "overtaken by the next one", now, 1)
        for run in list(one.open):
            yield Stop(run, one.fact.schedule)

    def _fire(self, one: Schedule, planned: Micros, now: Micros) -> Iterator[Deed]:
        if one.problem:
            yield self._skip(one, planned, planned, one.problem, now, 1)
            return
        name = one.fact.schedule
        run = run_id(name, planned)
        yield self._noted(ev.ScheduleFired(at=now, schedule=name, planned=planned, run=run))
        yield self._submission(one, planned, run, now)

    # Pieces.

    def _noted(self, event: ev.HiveEvent) -> ev.HiveEvent:
        self.remember(event)
        return event

    def _skip(
        self,
        one: Schedule,
        first: Micros,
        last: Micros,
        reason: str,
        now: Micros,
        count: int | None = None,
    ) -> ev.HiveEvent:
        if count is None:
            count = self._count(one.fact.rule, first, last)
        return self._noted(
            ev.ScheduleSkipped(
                at=now, schedule=one.fact.schedule, first=first, last=last, count=count,
                reason=reason,
            )
        )  # fmt: skip

    def _submission(self, one: Schedule, planned: Micros, run: str, now: Micros) -> Start:
        fact = one.fact
        inputs = fact.inputs
        if fact.time_input:
            inputs = inputs | {fact.time_input: utc(planned)}
        assert one.graph is not None
        event = ev.RunSubmitted(
            at=now, run=run, name=fact.workflow, definition=fact.definition, inputs=inputs,
            tenant=fact.tenant, owner=fact.owner,
        )  # fmt: skip
        return Start(event, one.graph)

    def _latest(self, rule: Rule, after: Micros, until: Micros, most: int) -> list[Micros]:
        """The latest planned times, ``most`` at most, after ``after`` and not after ``until``.

        Looks back from ``until`` twice as far each time: a year that was missed is not walked.
        """
        back = GRACE
        while True:
            start = max(after, until - back)
            found = deque(self._walk(rule, start, until), maxlen=most)
            if len(found) == most or start == after:
                return list(found)
            back *= 2

    def _walk(self, rule: Rule, after: Micros, until: Micros) -> Iterator[Micros]:
        planned = following(self.calendar, rule, after)
        while planned is not None and planned <= until:
            yield planned
            planned = following(self.calendar, rule, planned)

    def _count(self, rule: Rule, first: Micros, last: Micros) -> int | None:
        if rule.every:
            return (last - first) // rule.every + 1
        count = 0
        for _ in self._walk(rule, first - 1, last):
            count += 1
            if count > MOST_COUNTED:
                return None
        return count
