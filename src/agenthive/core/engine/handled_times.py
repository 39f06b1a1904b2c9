"""Which planned times of a schedule have been handled, also while the clock was ahead.

Ordinarily one number says it: every time up to `HandledTimes.until` has been handled. A clock that
was ahead and is set back leaves times behind that are still to come. Of these, the ones that got a
run stay handled, so that no time ever gets two; the ones that got none (they seemed to be missed)
come again when it is their time. Times are microseconds UTC.
"""

from __future__ import annotations

from collections import deque
from typing import Final, TypeAlias

from agenthive.core.policies.schedule import Rule, next_interval
from agenthive.core.ports import Calendar
from agenthive.core.values import Micros

Interval: TypeAlias = tuple[Micros, Micros]
"""The first and the last time of an interval, both included."""

MAX_RUNS: Final = 300
"""Times with a run that are remembered for one schedule one by one, the latest."""
MAX_INTERVALS: Final = 2 * MAX_RUNS
"""Intervals without a run that are remembered for one schedule, the latest."""


def next_planned_time(calendar: Calendar, rule: Rule, after: Micros) -> Micros | None:
    """The first planned time of a rule after ``after``; None if there is none."""
    if rule.every:
        return next_interval(rule, after)
    return calendar.next_after(rule.cron, rule.zone, after)


class HandledTimes:
    """The handled times of one schedule: all up to ``until``, and a few after it."""

    def __init__(self, until: Micros) -> None:
        #: Every planned time up to this one has fired, was skipped, or is queued.
        self.until = until
        #: Later times that were handled while the clock was ahead; in order, without overlap.
        self._ahead: list[Interval] = []
        #: Where planned times got no run, if there were any; in the order of the events.
        self._without_run: list[Interval] = []
        #: Whether the next interval without a run follows directly on the last one.
        self._continues = False
        #: The latest planned times that got a run, in the order of the events.
        self._runs: deque[Micros] = deque(maxlen=MAX_RUNS)

    @property
    def has_gaps(self) -> bool:
        """Whether times after `until` were handled while the clock was ahead."""
        return bool(self._ahead)

    def record_run(self, planned: Micros) -> None:
        """A planned time got a run, or waits for one."""
        self._continues = False
        self._runs.append(planned)
        self._advance(planned)

    def record_skipped(self, first: Micros, last: Micros) -> None:
        """The planned times from ``first`` to ``last`` got no run."""
        intervals = self._without_run
        if self._continues and first > intervals[-1][1]:
            intervals[-1] = (intervals[-1][0], last)
        else:
            intervals.append((first, last))
            del intervals[:-MAX_INTERVALS]
        self._continues = True
        self._advance(last)

    def change_rule(self) -> None:
        """The schedule gets another rule: of its times, only those that got a run are handled."""
        runs = sorted(self._runs)
        is_complete = len(runs) < MAX_RUNS
        starts = [0, *(planned + 1 for planned in runs)]
        ends = [*(planned - 1 for planned in runs), self.until]
        # A run may be ahead of `until`: what lies between the two has not been handled.
        intervals = [
            (first, min(last, self.until))
            for first, last in zip(starts, ends, strict=True)
            if first <= min(last, self.until)
        ]
        self._without_run = intervals if is_complete else intervals[1:]
        self._ahead = [(planned, planned) for planned in runs if planned > self.until]
        self._continues = False

    def start_after(self, time: Micros) -> None:
        """The schedule was set or resumed: times up to ``time`` get no run."""
        if time > self.until:
            self.record_skipped(self.until + 1, time)

    def set_back(self, wall: Micros) -> None:
        """The clock was set back to ``wall``: what is later is still to come."""
        handled = list(self._ahead)
        start = wall + 1
        for first, last in sorted(self._without_run):
            if last > wall:
                if first > start:
                    handled.append((start, min(first - 1, self.until)))
                start = max(start, last + 1)
        if start <= self.until:
            handled.append((start, self.until))
        # Not by `wall`: a pause may have kept `until` behind times that got a run.
        self.until = min(self.until, wall)
        self._ahead = sorted(
            (max(first, self.until + 1), last) for first, last in handled if last > self.until
        )
        self._without_run = [
            (first, min(last, wall)) for first, last in self._without_run if first <= wall
        ]
        self._continues = False

    def next_after(self, calendar: Calendar, rule: Rule, after: Micros) -> Micros | None:
        """The first planned time after ``after`` that has not been handled; None if there is none.

        ``after`` is not before `until`.
        """
        planned = next_planned_time(calendar, rule, after)
        for first, last in self._ahead:
            if planned is not None and first <= planned <= last:
                planned = next_planned_time(calendar, rule, last)
        return planned

    def _advance(self, time: Micros) -> None:
        if any(first <= time <= last for first, last in self._ahead):
            return  # it was queued while the clock was ahead
        self.until = max(self.until, time)
        if self._ahead and self._ahead[0][1] <= self.until:
            self._ahead = [interval for interval in self._ahead if interval[1] > self.until]
