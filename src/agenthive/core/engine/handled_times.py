"""Which planned times of a schedule have been handled, also while the clock was ahead.

Ordinarily one number says it: every time up to `HandledTimes.until` has been handled. A clock that
was ahead and is set back leaves times behind that are still to come. Of these, the ones that got a
run stay handled, so that no time ever gets two; the ones that got none (they seemed to be missed,
or waited for a run that had not begun) come again when it is their time. Times are microseconds
UTC.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Final, TypeAlias

from agenthive.core.policies.schedule import Rule, next_interval
from agenthive.core.ports import Calendar
from agenthive.core.values import Micros

Interval: TypeAlias = tuple[Micros, Micros]
"""The first and the last time of an interval, both included."""

MAX_INTERVALS: Final = 300
"""Times with a run that are remembered for one schedule; see `HandledTimes.record_run`."""


def next_planned_time(calendar: Calendar, rule: Rule, after: Micros) -> Micros | None:
    """The first planned time of a rule after ``after``; None if there is none."""
    if rule.every:
        return next_interval(rule, after)
    return calendar.next_after(rule.cron, rule.zone, after)


class HandledTimes:
    """The handled times of one schedule: all up to ``until``, and later ones that got a run."""

    def __init__(self, until: Micros) -> None:
        #: Every planned time up to this one has fired, was skipped, or is queued.
        self.until = until
        #: The times that got a run or wait for one, whatever the rule was; before and after
        #: `until`; in order, without overlap.
        self._taken: list[Interval] = []

    @property
    def has_gaps(self) -> bool:
        """Whether times after `until` were handled while the clock was ahead."""
        return bool(self._taken) and self._taken[-1][1] > self.until

    def record_run(self, planned: Micros, now: Micros) -> None:
        """A planned time got a run, or waits for one, when the clock showed ``now``.

        Of more than `MAX_INTERVALS` times, the two that are closest become one interval, of which
        all counts as handled: most likely no planned time lies between them.
        """
        taken = self._taken
        index = self._find_interval(planned)
        if index is None:
            taken.insert(bisect_left(taken, (planned, planned)), (planned, planned))
            if len(taken) > MAX_INTERVALS:
                closest = min(range(len(taken) - 1), key=lambda i: taken[i + 1][0] - taken[i][1])
                taken[closest : closest + 2] = [(taken[closest][0], taken[closest + 1][1])]
        self._advance(planned, now)

    def withdraw_run(self, planned: Micros) -> None:
        """A planned time that waited for a run gets none."""
        index = self._find_interval(planned)
        if index is not None:
            first, last = self._taken[index]
            parts = [(first, planned - 1), (planned + 1, last)]
            self._taken[index : index + 1] = [part for part in parts if part[0] <= part[1]]

    def record_skipped(self, last: Micros, now: Micros) -> None:
        """The planned times up to ``last`` get no run; the clock showed ``now``."""
        self._advance(last, now)

    def start_after(self, time: Micros) -> None:
        """The schedule was set or resumed: times up to ``time`` get no run."""
        self.until = max(self.until, time)

    def set_back(self, wall: Micros) -> None:
        """The clock was set back to ``wall``: later times without a run are still to come."""
        self.until = min(self.until, wall)

    def next_after(self, calendar: Calendar, rule: Rule, after: Micros) -> Micros | None:
        """The first planned time after ``after`` that has not been handled; None if there is none.

        ``after`` is not before `until`.
        """
        planned = next_planned_time(calendar, rule, after)
        while planned is not None:
            index = self._find_interval(planned)
            if index is None:
                break
            planned = next_planned_time(calendar, rule, self._taken[index][1])
        return planned

    def _find_interval(self, time: Micros) -> int | None:
        """The index of the interval in `_taken` that ``time`` is in; None if it is in none."""
        taken = self._taken
        if not taken or time > taken[-1][1]:
            return None
        index = bisect_right(taken, time, key=lambda interval: interval[0]) - 1
        return index if index >= 0 and time <= taken[index][1] else None

    def _advance(self, time: Micros, now: Micros) -> None:
        # A later time than the clock's was queued while the clock was ahead: those before it are
        # still to come. (Older processes fired such times; a step back drops them from the queue.)
        if time <= now:
            self.until = max(self.until, time)
