"""Schedules: the rule of the planned times, what to do about missed times and about a run that has
not ended, and the run ids that follow from planned times.

Values and arithmetic only, never a calendar: a `core.ports.Calendar` knows what a cron expression
means in a time zone. To add a kind of rule: fields of `Rule` with defaults, and its arithmetic
here.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from agenthive.core.values import SECOND, Micros
from agenthive.errors import DefinitionError

RUN_ID_PREFIX: Final = "schedule:"
"""The ids of runs that schedules start begin with this, and the ids of no other runs do."""


class CatchUp(StrEnum):
    """What happens to planned times that passed while no process could start a run."""

    NONE = "none"
    """They get no run."""
    ONE = "one"
    """One run, for the latest of them."""
    ALL = "all"
    """A run for each, up to a bound."""


class Overlap(StrEnum):
    """What happens to a planned time that comes before the run of the last one has ended."""

    SKIP = "skip"
    """It gets no run."""
    QUEUE = "queue"
    """It waits for the end of that run; one time may wait, further ones are skipped."""
    ALLOW = "allow"
    """Its run starts at once, beside the other."""
    CANCEL = "cancel"
    """The earlier run is cancelled, and the new one starts once it has ended."""


class Rule(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """The planned times of a schedule: either a cron expression or an interval."""

    #: Cron expression; empty for an interval.
    cron: str = ""
    #: Time zone of ``cron``, by its IANA name.
    zone: str = "UTC"
    #: Length of the interval in microseconds; 0 for a cron expression.
    every: Micros = 0
    #: A planned time that the intervals are counted from (microseconds since the epoch).
    anchor: Micros = 0


def check_interval(rule: Rule) -> None:
    """Raises DefinitionError unless the rule is a valid interval: whole seconds, at least one."""
    if rule.cron:
        raise DefinitionError("a schedule has a cron expression or an interval, not both")
    if rule.every < SECOND or rule.every % SECOND or rule.anchor % SECOND:
        raise DefinitionError(
            "an interval is a whole number of seconds, at least 1, from a whole second",
            hint="Write 90s, 15m, 6h or 1d.",
        )


def next_interval(rule: Rule, after: Micros) -> Micros:
    """The first planned time of an interval rule after ``after``, both in microseconds."""
    return after + rule.every - (after - rule.anchor) % rule.every


def schedule_run_id(schedule: str, planned: Micros) -> str:
    """The id of the run for a planned time: always the same, so that it is not started twice."""
    return f"{RUN_ID_PREFIX}{schedule}:{format_utc(planned)}"


def format_utc(at: Micros) -> str:
    """Microseconds since the epoch as ISO 8601 in UTC, to the second.

    H. Hinnant, "chrono-compatible low-level date algorithms", civil_from_days.
    """
    days, second = divmod(at // SECOND, 86_400)
    # Days of a calendar with years that begin in March, in eras of 400 years.
    era, day = divmod(days + 719_468, 146_097)
    year = (day - day // 1460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    date = day - (153 * month + 2) // 5 + 1
    month += 3 if month < 10 else -9
    year += era * 400 + (month <= 2)
    hour, second = divmod(second, 3600)
    return f"{year:04}-{month:02}-{date:02}T{hour:02}:{second // 60:02}:{second % 60:02}Z"
