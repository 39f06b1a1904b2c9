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
from agenthive.core.policies.schedule import (
    CatchUp,
    Overlap,
    Rule,
    format_utc,
    next_interval,
    schedule_run_id,
)
from agenthive.core.ports import Calendar
from agenthive.core.values import SECOND, JSONObject, Micros
from agenthive.errors import Conflict, NotFound

GRACE: Final[Micros] = 10 * SECOND
"""How late a run may start without counting as missed."""
MAX_CAUGHT_UP: Final = 100
"""Missed times that get a run under ``catch_up: all``."""
MAX_COUNTED: Final = 500
"""Skipped times of a cron expression that are counted one by one."""
MAX_SCHEDULES: Final = 1000
_CATCH_UP_COUNTS: Final = {CatchUp.NONE: 0, CatchUp.ONE: 1, CatchUp.ALL: MAX_CAUGHT_UP}


class StartRun(msgspec.Struct, frozen=True):
    """Accept this run."""

    event: ev.RunSubmitted
    graph: Graph


class CancelRun(msgspec.Struct, frozen=True):
    """Cancel this run."""

    run: str
    schedule: str


ScheduleAction: TypeAlias = StartRun | CancelRun | ev.HiveEvent
"""What the driver is to do; a fact is to be recorded."""


class ScheduleRow(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule as it is shown.

    ``next_time`` and the ``last_`` fields are None before there is one.
    """

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


def next_planned_time(calendar: Calendar, rule: Rule, after: Micros) -> Micros | None:
    """The first planned time of a rule after ``after``; None if there is none."""
    if rule.every:
        return next_interval(rule, after)
    return calendar.next_after(rule.cron, rule.zone, after)


class Schedule:
    """One schedule. ``last`` is the time up to which every planned time has been dealt with."""

    def __init__(self, settings: ev.ScheduleSet, handled_until: Micros) -> None:
        self.settings = settings
        self.handled_until = handled_until
        self.paused = settings.paused
        self.queued_times: list[Micros] = []
        self.open_runs: dict[str, None] = {}
        self.last_fired: tuple[Micros, str] | None = None
        self.last_skipped: tuple[Micros, str] | None = None
        self.graph: Graph | None = None
        self.problem = "nobody has loaded its workflow"
        self.next_time: Micros | None = None
        self.is_current = False

    def attach_graph(self, graph: Graph | None, problem: str) -> None:
        """Give it what it starts; ``problem`` says why it cannot, if it cannot."""
        self.graph, self.problem = graph, problem

    def build_row(self, calendar: Calendar) -> ScheduleRow:
        """What there is to show."""
        settings, rule = self.settings, self.settings.rule
        planned, run = self.last_fired or (None, None)
        skipped, reason = self.last_skipped or (None, None)
        return ScheduleRow(
            name=settings.schedule,
            workflow=settings.workflow,
            definition=settings.definition,
            cron=rule.cron,
            zone=rule.zone,
            every=rule.every,
            anchor=rule.anchor,
            inputs=settings.inputs,
            time_input=settings.time_input,
            catch_up=settings.catch_up,
            overlap=settings.overlap,
            paused=self.paused,
            next=None if self.paused else next_planned_time(calendar, rule, self.handled_until),
            last_planned=planned,
            last_run=run,
            last_skipped=skipped,
            last_reason=reason,
            open_runs=list(self.open_runs),
            queued=list(self.queued_times),
        )


class _EmptyCalendar:
    """The calendar of a hive without schedules."""

    def next_after(self, cron: str, zone: str, after: Micros) -> Micros | None:
        return None


class Schedules:
    """All schedules. They start nothing before ``active`` is set."""

    def __init__(self, calendar: Calendar | None = None) -> None:
        self.calendar = calendar or _EmptyCalendar()
        self.by_name: dict[str, Schedule] = {}
        self.active = False
        self._removed_schedules: dict[str, Micros] = {}
        self._schedule_names: dict[str, str] = {}
        self._wake_outdated = True
        self._earliest_wake: Micros | None = None

    # What has happened.

    def apply_event(self, event: ev.HiveEvent) -> None:
        """Take in a fact."""
        if isinstance(event, ev.RunClosed):
            self.remove_run(event.run)
        elif isinstance(event, ev.ScheduleSet):
            self._on_schedule_set(event)
        elif isinstance(event, ev.ScheduleEvent):
            self._apply_schedule_event(self.by_name[event.schedule], event)

    def remove_run(self, run: str) -> None:
        """A run is over, or was never there."""
        name = self._schedule_names.pop(run, None)
        if name is not None:
            self._wake_outdated = True
            self.by_name[name].open_runs.pop(run)

    def _on_schedule_set(self, event: ev.ScheduleSet) -> None:
        old_schedule = self.by_name.get(event.schedule)
        handled_until = (
            old_schedule.handled_until
            if old_schedule is not None
            else self._removed_schedules.pop(event.schedule, 0)
        )
        new_schedule = self.by_name[event.schedule] = Schedule(
            event, max(event.since, handled_until)
        )
        if old_schedule is not None:
            new_schedule.queued_times, new_schedule.open_runs = (
                old_schedule.queued_times,
                old_schedule.open_runs,
            )
            new_schedule.last_fired, new_schedule.last_skipped = (
                old_schedule.last_fired,
                old_schedule.last_skipped,
            )
        self._wake_outdated = True

    def _apply_schedule_event(self, schedule: Schedule, event: ev.ScheduleEvent) -> None:
        schedule.is_current, self._wake_outdated = False, True
        match event:
            case ev.SchedulePaused():
                schedule.paused = True
            case ev.ScheduleResumed():
                schedule.paused = False
                schedule.handled_until = max(schedule.handled_until, event.since)
            case ev.ScheduleRemoved():
                self._remove_schedule(schedule)
            case ev.ScheduleTriggered():
                self._add_open_run(schedule, event.since, event.run)
            case ev.ScheduleFired():
                self._add_open_run(schedule, event.planned, event.run)
                self._mark_handled(schedule, event.planned, event.planned)
            case ev.ScheduleQueued():
                schedule.handled_until = max(schedule.handled_until, event.planned)
                schedule.queued_times.append(event.planned)
            case _:
                assert isinstance(event, ev.ScheduleSkipped)
                self._mark_handled(schedule, event.first, event.last)
                schedule.last_skipped = event.last, event.reason

    def _mark_handled(self, schedule: Schedule, first: Micros, last: Micros) -> None:
        schedule.handled_until = max(schedule.handled_until, last)
        schedule.queued_times = [
            planned for planned in schedule.queued_times if not first <= planned <= last
        ]

    def _add_open_run(self, schedule: Schedule, planned: Micros, run: str) -> None:
        schedule.last_fired = planned, run
        schedule.open_runs[run] = None
        self._schedule_names[run] = schedule.settings.schedule

    def _remove_schedule(self, schedule: Schedule) -> None:
        name = schedule.settings.schedule
        del self.by_name[name]
        self._removed_schedules[name] = schedule.handled_until
        for run in schedule.open_runs:
            del self._schedule_names[run]

    # What people ask for.

    def apply_change(self, change: ev.ScheduleChange, now: Micros) -> Iterator[ScheduleAction]:
        """What follows from a request. Raises NotFound, Conflict before anything is done."""
        schedule = self.by_name.get(change.schedule)
        if schedule is None and not isinstance(change, ev.ScheduleSet):
            raise NotFound(
                f"there is no schedule '{change.schedule}'",
                hint="`agenthive schedule list` shows the schedules of this home.",
            )
        if schedule is None:
            if len(self.by_name) >= MAX_SCHEDULES:
                raise Conflict(f"there are {MAX_SCHEDULES} schedules; remove one first")
            return iter([self._record_event(change)])
        if isinstance(change, ev.ScheduleTriggered):
            return self._trigger_run(schedule, change, now)
        return iter(list(self._change_events(schedule, change, now)))

    def _change_events(
        self, schedule: Schedule, change: ev.ScheduleChange, now: Micros
    ) -> Iterator[ev.HiveEvent]:
        if isinstance(change, ev.SchedulePaused | ev.ScheduleResumed):
            if schedule.paused == isinstance(change, ev.SchedulePaused):
                return
            yield from self._skip_past_times(schedule, change.since, "paused", now)
        elif isinstance(change, ev.ScheduleSet):
            yield from self._skip_past_times(schedule, change.since, "replaced", now)
        else:
            yield from self._skip_past_times(schedule, change.since, "removed", now)
            if schedule.queued_times:
                yield self._skip_times(
                    schedule,
                    schedule.queued_times[0],
                    schedule.queued_times[-1],
                    "removed",
                    now,
                    len(schedule.queued_times),
                )
        yield self._record_event(change)

    def _skip_past_times(
        self, schedule: Schedule, wall: Micros, reason: str, now: Micros
    ) -> Iterator[ev.HiveEvent]:
        """Times that came before the rule or its being paused changed get no run any more."""
        first = next_planned_time(self.calendar, schedule.settings.rule, schedule.handled_until)
        if first is not None and first <= wall:
            last = self._latest_times(schedule.settings.rule, schedule.handled_until, wall, 1)[-1]
            yield self._skip_times(schedule, first, last, reason, now)

    def _trigger_run(
        self, schedule: Schedule, change: ev.ScheduleTriggered, now: Micros
    ) -> Iterator[ScheduleAction]:
        if schedule.problem:
            raise Conflict(f"schedule '{change.schedule}' cannot start a run: {schedule.problem}")
        if schedule.open_runs and schedule.settings.overlap is not Overlap.ALLOW:
            raise Conflict(
                f"the run {next(iter(schedule.open_runs))} of schedule '{change.schedule}' has "
                "not ended",
                hint="Wait for it, cancel it, or set the schedule with `--overlap allow`.",
            )
        return iter(
            [self._record_event(change), self._build_start(schedule, change.since, change.run, now)]
        )

    # What is due.

    def next_wake(self) -> Micros | None:
        """When something is due, by what the clock shows."""
        if self._wake_outdated:
            self._refresh_wake()
        return self._earliest_wake if self.active else None

    def _refresh_wake(self) -> None:
        self._wake_outdated = False
        times: list[Micros] = []
        for schedule in self.by_name.values():
            if not schedule.is_current:
                schedule.next_time, schedule.is_current = (
                    next_planned_time(
                        self.calendar, schedule.settings.rule, schedule.handled_until
                    ),
                    True,
                )
            if schedule.paused:
                continue
            if schedule.queued_times and not schedule.open_runs:
                times.append(schedule.queued_times[0])
            if schedule.next_time is not None:
                times.append(schedule.next_time)
        self._earliest_wake = min(times, default=None)

    def due_actions(self, wall: Micros, now: Micros) -> Iterator[ScheduleAction]:
        """What is to be done, the clock showing ``wall``. Each deed is done before the next."""
        wake = self.next_wake()
        if wake is None or wake > wall:
            return
        for schedule in list(self.by_name.values()):
            if not schedule.paused:
                yield from self._fire_queued(schedule, now)
                if schedule.next_time is not None and schedule.next_time <= wall:
                    yield from self._handle_due_times(schedule, schedule.next_time, wall, now)
                    yield from self._fire_queued(schedule, now)

    def _fire_queued(self, schedule: Schedule, now: Micros) -> Iterator[ScheduleAction]:
        while schedule.queued_times and not schedule.open_runs:
            yield from self._fire_planned(schedule, schedule.queued_times[0], now)

    def _handle_due_times(
        self, schedule: Schedule, first: Micros, wall: Micros, now: Micros
    ) -> Iterator[ScheduleAction]:
        """Times have come, the first of them ``first``: skip or catch up, then start or wait."""
        rule, missed_until = schedule.settings.rule, wall - GRACE
        timely_times = self._latest_times(
            rule, max(schedule.handled_until, missed_until), wall, MAX_CAUGHT_UP
        )
        if first <= missed_until:
            catch_up_count = _CATCH_UP_COUNTS[schedule.settings.catch_up]
            if schedule.settings.catch_up is CatchUp.ONE and timely_times:
                catch_up_count = 0
            missed_times = self._latest_times(
                rule, schedule.handled_until, missed_until, catch_up_count + 1
            )
            if len(missed_times) > catch_up_count:
                yield self._skip_times(
                    schedule, first, missed_times[-catch_up_count - 1], "missed", now
                )
            for planned in missed_times[max(0, len(missed_times) - catch_up_count) :]:
                queue_each = schedule.settings.catch_up is CatchUp.ALL
                yield from self._apply_overlap(schedule, planned, now, queue_each=queue_each)
        for planned in timely_times:
            yield from self._apply_overlap(schedule, planned, now, queue_each=False)

    def _apply_overlap(
        self, schedule: Schedule, planned: Micros, now: Micros, *, queue_each: bool
    ) -> Iterator[ScheduleAction]:
        overlap = schedule.settings.overlap
        if (
            overlap is Overlap.ALLOW
            or not (schedule.open_runs or schedule.queued_times)
            or schedule.problem
        ):
            yield from self._fire_planned(schedule, planned, now)
        elif overlap is Overlap.SKIP or (
            overlap is Overlap.QUEUE and schedule.queued_times and not queue_each
        ):
            yield self._skip_times(
                schedule, planned, planned, "the run before has not ended", now, 1
            )
        else:
            if overlap is Overlap.CANCEL:
                yield from self._cancel_previous(schedule, now)
            name = schedule.settings.schedule
            yield self._record_event(ev.ScheduleQueued(at=now, schedule=name, planned=planned))

    def _cancel_previous(self, schedule: Schedule, now: Micros) -> Iterator[ScheduleAction]:
        for queued_time in list(schedule.queued_times):
            yield self._skip_times(
                schedule, queued_time, queued_time, "overtaken by the next one", now, 1
            )
        for run in list(schedule.open_runs):
            yield CancelRun(run, schedule.settings.schedule)

    def _fire_planned(
        self, schedule: Schedule, planned: Micros, now: Micros
    ) -> Iterator[ScheduleAction]:
        if schedule.problem:
            yield self._skip_times(schedule, planned, planned, schedule.problem, now, 1)
            return
        name = schedule.settings.schedule
        run = schedule_run_id(name, planned)
        yield self._record_event(ev.ScheduleFired(at=now, schedule=name, planned=planned, run=run))
        yield self._build_start(schedule, planned, run, now)

    # Pieces.

    def _record_event(self, event: ev.HiveEvent) -> ev.HiveEvent:
        self.apply_event(event)
        return event

    def _skip_times(
        self,
        schedule: Schedule,
        first: Micros,
        last: Micros,
        reason: str,
        now: Micros,
        count: int | None = None,
    ) -> ev.HiveEvent:
        if count is None:
            count = self._count_planned(schedule.settings.rule, first, last)
        return self._record_event(
            ev.ScheduleSkipped(
                at=now,
                schedule=schedule.settings.schedule,
                first=first,
                last=last,
                count=count,
                reason=reason,
            )
        )

    def _build_start(self, schedule: Schedule, planned: Micros, run: str, now: Micros) -> StartRun:
        settings = schedule.settings
        inputs = settings.inputs
        if settings.time_input:
            inputs = inputs | {settings.time_input: format_utc(planned)}
        assert schedule.graph is not None
        event = ev.RunSubmitted(
            at=now,
            run=run,
            name=settings.workflow,
            definition=settings.definition,
            inputs=inputs,
            tenant=settings.tenant,
            owner=settings.owner,
        )
        return StartRun(event, schedule.graph)

    def _latest_times(self, rule: Rule, after: Micros, until: Micros, limit: int) -> list[Micros]:
        """The latest planned times, ``limit`` at most, after ``after`` and not after ``until``.

        Looks back from ``until`` twice as far each time: a year that was missed is not walked.
        """
        lookback = GRACE
        while True:
            start = max(after, until - lookback)
            times = deque(self._planned_times(rule, start, until), maxlen=limit)
            if len(times) == limit or start == after:
                return list(times)
            lookback *= 2

    def _planned_times(self, rule: Rule, after: Micros, until: Micros) -> Iterator[Micros]:
        planned = next_planned_time(self.calendar, rule, after)
        while planned is not None and planned <= until:
            yield planned
            planned = next_planned_time(self.calendar, rule, planned)

    def _count_planned(self, rule: Rule, first: Micros, last: Micros) -> int | None:
        if rule.every:
            return (last - first) // rule.every + 1
        count = 0
        for _ in self._planned_times(rule, first - 1, last):
            count += 1
            if count > MAX_COUNTED:
                return None
        return count
