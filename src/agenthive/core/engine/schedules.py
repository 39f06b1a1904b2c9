"""The schedules of a hive: what each starts, and which planned times are due.

`Schedules` is a state machine of its own. `apply_event` applies the events of the hive's stream;
`due_actions` and `apply_change` return what follows from the time and from requests: runs to
accept, runs to cancel, events to record. `ScheduleRunner` carries these out.

Every planned time ends as one of two events, *fired* or *skipped*; *queued* may come before either.
The event is in the same batch as the run that it starts, so a restart knows which times have been
handled. When the clock is set back, no time fires twice, and those that were skipped or queued and
are now to come fire when the clock shows them (`handled_times`). Times are microseconds UTC;
`core.policies.schedule` has the rules, and the calendar port the time zones.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

import msgspec

from agenthive.core.engine.handled_times import HandledTimes
from agenthive.core.graph.graph import Graph
from agenthive.core.journal import run_events as ev
from agenthive.core.policies.schedule import (
    CatchUp,
    Overlap,
    format_utc,
    schedule_run_id,
)
from agenthive.core.ports import Calendar
from agenthive.core.values import SECOND, JSONObject, Micros
from agenthive.errors import Conflict, NotFound

GRACE: Final[Micros] = 10 * SECOND
"""How late a run may start without its time counting as missed, in microseconds."""
MAX_CAUGHT_UP: Final = 100
"""Missed times, the latest, that get a run under ``catch_up: all``."""
MAX_COUNTED: Final = 500
"""Skipped times of a cron expression that are counted one by one."""
MAX_SCHEDULES: Final = 1000
"""Schedules of one hive."""
_CATCH_UP_COUNTS: Final = {CatchUp.NONE: 0, CatchUp.ONE: 1, CatchUp.ALL: MAX_CAUGHT_UP}


class StartRun(msgspec.Struct, frozen=True):
    """Accept a run of a schedule."""

    event: ev.RunSubmitted
    #: Graph of the workflow in ``event``.
    graph: Graph


class CancelRun(msgspec.Struct, frozen=True):
    """Cancel a run of a schedule, because the next one is due (``overlap: cancel``)."""

    #: Id of the run.
    run: str
    #: Name of the schedule.
    schedule: str


ScheduleAction: TypeAlias = StartRun | CancelRun | ev.HiveEvent
"""What `ScheduleRunner` does; an event is recorded in the hive's stream."""


class ScheduleRow(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule as it is shown to users. Times are microseconds UTC."""

    name: str
    #: Name of the workflow that it starts.
    workflow: str
    #: Digest of the workflow's definition.
    definition: str
    #: Cron expression; empty if ``every`` is set.
    cron: str
    #: Time zone of the cron expression.
    zone: str
    #: Interval in microseconds; 0 if ``cron`` is set.
    every: Micros
    #: A time from which the intervals are counted.
    anchor: Micros
    #: Inputs of each run.
    inputs: JSONObject
    #: Name of the input that gets the planned time; empty: none does.
    time_input: str
    #: Which missed times get a run.
    catch_up: CatchUp
    #: What happens if a time is due and the run before it is open.
    overlap: Overlap
    paused: bool
    #: The next planned time; None if paused, or if there is none.
    next: Micros | None
    #: The planned time and the id of the last run; None before the first.
    last_planned: Micros | None
    last_run: str | None
    #: The last time that got no run, and why; None if there was none.
    last_skipped: Micros | None
    last_reason: str | None
    #: Ids of its runs that have not ended.
    open_runs: list[str]
    #: Planned times that wait for an open run to end.
    queued: list[Micros]


class Schedule:
    """One schedule: its settings, and which of its planned times have been handled."""

    def __init__(self, settings: ev.ScheduleSet, handled: HandledTimes) -> None:
        #: Workflow, rule, inputs and policies, as they were set last.
        self.settings = settings
        #: Which planned times have fired, were skipped, or are queued.
        self.handled = handled
        self.paused = settings.paused
        #: Planned times that wait for an open run to end, in order.
        self.queued_times: list[Micros] = []
        #: Ids of its runs that have not ended, in order (the values are unused).
        self.open_runs: dict[str, None] = {}
        #: Planned time and run id of the last run.
        self.last_fired: tuple[Micros, str] | None = None
        #: The last planned time that got no run, and why.
        self.last_skipped: tuple[Micros, str] | None = None
        #: What it starts; None while there is a `problem`.
        self.graph: Graph | None = None
        #: Why its runs cannot start in this process; empty if they can.
        self.problem = "its workflow is not loaded"
        #: The next planned time, if `is_current`; None if there is none.
        self.next_time: Micros | None = None
        #: Whether `next_time` has been computed since `handled` changed.
        self.is_current = False

    def attach_graph(self, graph: Graph | None, problem: str) -> None:
        """Set the graph of its workflow, or the ``problem`` for which its runs cannot start."""
        self.graph, self.problem = graph, problem

    def find_next_time(self, calendar: Calendar, after: Micros | None = None) -> Micros | None:
        """The first planned time after ``after`` (None: all handled ones) that is not handled."""
        start = self.handled.until if after is None else after
        return self.handled.next_after(calendar, self.settings.rule, start)

    def build_row(self, calendar: Calendar) -> ScheduleRow:
        """The schedule as it is shown to users."""
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
            next=None if self.paused else self.find_next_time(calendar),
            last_planned=planned,
            last_run=run,
            last_skipped=skipped,
            last_reason=reason,
            open_runs=list(self.open_runs),
            queued=list(self.queued_times),
        )


class _EmptyCalendar:
    """The calendar of a hive without schedules: it has no times."""

    def next_after(self, cron: str, zone: str, after: Micros) -> Micros | None:
        return None


class Schedules:
    """All schedules, by name. They start nothing until ``active`` is set."""

    def __init__(self, calendar: Calendar | None = None) -> None:
        self.calendar = calendar or _EmptyCalendar()
        self.by_name: dict[str, Schedule] = {}
        #: Whether this process starts what is due. Only the process that owns the home does.
        self.active = False
        #: Name of a removed schedule -> which of its planned times were handled.
        self._removed_schedules: dict[str, HandledTimes] = {}
        #: Id of an open run -> name of its schedule.
        self._schedule_names: dict[str, str] = {}
        #: Whether `_earliest_wake` must be computed anew.
        self._wake_outdated = True
        #: The earliest time at which a schedule is due; None if none is.
        self._earliest_wake: Micros | None = None

    # Events.

    def apply_event(self, event: ev.HiveEvent) -> None:
        """Apply an event of the hive's stream; events about other things change nothing."""
        if isinstance(event, ev.RunClosed):
            self.remove_run(event.run)
        elif isinstance(event, ev.ScheduleSet):
            self._on_schedule_set(event)
        elif isinstance(event, ev.ScheduleEvent):
            self._apply_schedule_event(self.by_name[event.schedule], event)
        elif isinstance(event, ev.ClockSteppedBack):
            self._on_clock_stepped_back(event)

    def _on_clock_stepped_back(self, event: ev.ClockSteppedBack) -> None:
        # Before events had a ``wall``, ``at`` was ahead by all that the clock had been set back.
        wall = event.wall or event.at - event.by
        for schedule in self.by_name.values():
            self._withdraw_queued(schedule, lambda planned: planned > wall)
            schedule.handled.set_back(wall)
            schedule.is_current = False
        for handled in self._removed_schedules.values():
            handled.set_back(wall)
        self._wake_outdated = True

    def remove_run(self, run: str) -> None:
        """Forget a run that has ended or was withdrawn."""
        name = self._schedule_names.pop(run, None)
        if name is not None:
            self._wake_outdated = True
            self.by_name[name].open_runs.pop(run)

    def _on_schedule_set(self, event: ev.ScheduleSet) -> None:
        old_schedule = self.by_name.get(event.schedule)
        handled = (
            self._removed_schedules.pop(event.schedule, HandledTimes(0))
            if old_schedule is None
            else old_schedule.handled
        )
        handled.start_after(event.since)
        new_schedule = self.by_name[event.schedule] = Schedule(event, handled)
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
        now = event.wall or event.at
        match event:
            case ev.SchedulePaused():
                schedule.paused = True
            case ev.ScheduleResumed():
                schedule.paused = False
                schedule.handled.start_after(event.since)
            case ev.ScheduleRemoved():
                self._remove_schedule(schedule)
            case ev.ScheduleTriggered():
                self._add_open_run(schedule, event.since, event.run)
            case ev.ScheduleFired():
                self._add_open_run(schedule, event.planned, event.run)
                schedule.handled.record_run(event.planned, now)
                if event.planned in schedule.queued_times:
                    schedule.queued_times.remove(event.planned)
            case ev.ScheduleQueued():
                schedule.handled.record_run(event.planned, now)
                schedule.queued_times.append(event.planned)
            case _:
                assert isinstance(event, ev.ScheduleSkipped)
                # Missed times may lie on both sides of one that waits.
                if event.first in schedule.queued_times:
                    self._withdraw_queued(
                        schedule, lambda planned: event.first <= planned <= event.last
                    )
                else:
                    schedule.handled.record_skipped(event.last, now)
                schedule.last_skipped = event.last, event.reason

    def _withdraw_queued(self, schedule: Schedule, is_chosen: Callable[[Micros], bool]) -> None:
        """Take the chosen planned times from the queue: they get no run."""
        for planned in schedule.queued_times:
            if is_chosen(planned):
                schedule.handled.withdraw_run(planned)
        schedule.queued_times = [
            planned for planned in schedule.queued_times if not is_chosen(planned)
        ]

    def _add_open_run(self, schedule: Schedule, planned: Micros, run: str) -> None:
        schedule.last_fired = planned, run
        schedule.open_runs[run] = None
        self._schedule_names[run] = schedule.settings.schedule

    def _remove_schedule(self, schedule: Schedule) -> None:
        name = schedule.settings.schedule
        del self.by_name[name]
        self._removed_schedules[name] = schedule.handled
        for run in schedule.open_runs:
            del self._schedule_names[run]

    # Requests.

    def apply_change(self, change: ev.ScheduleChange, now: Micros) -> Iterator[ScheduleAction]:
        """What follows from a request. Raises NotFound, Conflict before anything changes."""
        schedule = self.by_name.get(change.schedule)
        if schedule is None and not isinstance(change, ev.ScheduleSet):
            raise NotFound(
                f"there is no schedule '{change.schedule}'",
                hint="`agenthive schedule list` shows the schedules of this home.",
            )
        if schedule is None:
            if len(self.by_name) >= MAX_SCHEDULES:
                raise Conflict(
                    f"this home has {MAX_SCHEDULES} schedules, which is the limit; remove one first"
                )
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
        """Skip the planned times before a change of the schedule that were not handled yet."""
        first = schedule.find_next_time(self.calendar)
        if first is not None and first <= wall:
            last = self._latest_times(schedule, schedule.handled.until, wall, 1)[-1]
            yield self._skip_times(schedule, first, last, reason, now)

    def _trigger_run(
        self, schedule: Schedule, change: ev.ScheduleTriggered, now: Micros
    ) -> Iterator[ScheduleAction]:
        if schedule.problem:
            raise Conflict(f"schedule '{change.schedule}' cannot start a run: {schedule.problem}")
        if schedule.open_runs and schedule.settings.overlap is not Overlap.ALLOW:
            raise Conflict(
                f"run {next(iter(schedule.open_runs))} of schedule '{change.schedule}' has not "
                "ended",
                hint="Wait for it, cancel it, or set the schedule with `--overlap allow`.",
            )
        return iter(
            [self._record_event(change), self._build_start(schedule, change.since, change.run, now)]
        )

    # Due times.

    def next_wake(self) -> Micros | None:
        """The time at which something is due; None if nothing is."""
        if self._wake_outdated:
            self._refresh_wake()
        return self._earliest_wake if self.active else None

    def _refresh_wake(self) -> None:
        self._wake_outdated = False
        times: list[Micros] = []
        for schedule in self.by_name.values():
            if not schedule.is_current:
                schedule.next_time, schedule.is_current = (
                    schedule.find_next_time(self.calendar),
                    True,
                )
            if schedule.paused:
                continue
            if schedule.queued_times and not schedule.open_runs:
                times.append(schedule.queued_times[0])
            if schedule.next_time is not None:
                times.append(schedule.next_time)
        self._earliest_wake = min(times, default=None)

    def due_actions(self, now: Micros) -> Iterator[ScheduleAction]:
        """What is due when the clock shows ``now``.

        Carry out each action before the next one is taken: it may change what follows.
        """
        wake = self.next_wake()
        if wake is None or wake > now:
            return
        for schedule in list(self.by_name.values()):
            if not schedule.paused:
                yield from self._fire_queued(schedule, now)
                if schedule.next_time is not None and schedule.next_time <= now:
                    yield from self._handle_due_times(schedule, schedule.next_time, now)
                    yield from self._fire_queued(schedule, now)

    def _fire_queued(self, schedule: Schedule, now: Micros) -> Iterator[ScheduleAction]:
        while schedule.queued_times and not schedule.open_runs:
            yield from self._fire_planned(schedule, schedule.queued_times[0], now)

    def _handle_due_times(
        self, schedule: Schedule, first: Micros, now: Micros
    ) -> Iterator[ScheduleAction]:
        """Handle the planned times from ``first`` on: skip or catch up missed ones, then fire."""
        missed_until = now - GRACE
        timely_times = self._latest_times(
            schedule, max(schedule.handled.until, missed_until), now, MAX_CAUGHT_UP
        )
        if first <= missed_until:
            catch_up_count = _CATCH_UP_COUNTS[schedule.settings.catch_up]
            if schedule.settings.catch_up is CatchUp.ONE and timely_times:
                catch_up_count = 0
            missed_times = self._latest_times(
                schedule, schedule.handled.until, missed_until, catch_up_count + 1
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

    # Helpers.

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
            count = self._count_planned(schedule, first, last)
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

    def _latest_times(
        self, schedule: Schedule, after: Micros, until: Micros, limit: int
    ) -> list[Micros]:
        """The latest planned times, ``limit`` at most, after ``after`` and not after ``until``.

        Looks back from ``until`` twice as far each time, so that a year of missed times is not
        enumerated from its beginning.
        """
        lookback = GRACE
        while True:
            start = max(after, until - lookback)
            times = deque(self._planned_times(schedule, start, until), maxlen=limit)
            if len(times) == limit or start == after:
                return list(times)
            lookback *= 2

    def _planned_times(self, schedule: Schedule, after: Micros, until: Micros) -> Iterator[Micros]:
        planned = schedule.find_next_time(self.calendar, after)
        while planned is not None and planned <= until:
            yield planned
            planned = schedule.find_next_time(self.calendar, planned)

    def _count_planned(self, schedule: Schedule, first: Micros, last: Micros) -> int | None:
        """The planned times from ``first`` to ``last``; None if more than `MAX_COUNTED`."""
        rule = schedule.settings.rule
        if rule.every and not schedule.handled.has_gaps:
            return (last - first) // rule.every + 1
        count = 0
        for _ in self._planned_times(schedule, first - 1, last):
            count += 1
            if count > MAX_COUNTED:
                return None
        return count
