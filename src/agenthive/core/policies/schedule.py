"""When a workflow is to be started again and again: the rule, what to do about missed times and
about a run that has not ended, and the names that follow from a planned time.

Values and arithmetic only. What a cron expression means in a time zone is a `Calendar`'s business.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from agenthive.core.values import SECOND, Micros
from agenthive.errors import DefinitionError

RUN_ID_PREFIX: Final = "schedule:"
"""What the id of every run begins with that a schedule starts, and no other."""


class CatchUp(StrEnum):
    """What happens to times that came while nobody could start a run."""

    NONE = "none"
    ONE = "one"
    """One run, for the latest of them."""
    ALL = "all"
    """A run for each, up to a bound."""


class Overlap(StrEnum):
    """What happens to a time that comes while the run before has not ended."""

    SKIP = "skip"
    QUEUE = "queue"
    """It waits for the end of that run; one time waits, the next ones are skipped."""
    ALLOW = "allow"
    CANCEL = "cancel"
    """That run is cancelled, and the new one starts once it has ended."""


class Rule(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """The planned times: a cron expression in a zone, or ``anchor`` and every ``every`` from it."""

    cron: str = ""
    zone: str = "UTC"
    every: Micros = 0
    anchor: Micros = 0


def check_interval(rule: Rule) -> None:
    """Raises DefinitionError unless the rule is an interval that makes sense."""
    if rule.cron:
        raise DefinitionError("a schedule has a cron expression or an interval, not both")
    if rule.every < SECOND or rule.every % SECOND or rule.anchor % SECOND:
        raise DefinitionError(
            "an interval is a whole number of seconds, at least 1, from a whole second",
            hint="Write 90s, 15m, 6h or 1d.",
        )


def next_interval(rule: Rule, after: Micros) -> Micros:
    """The first time of an interval rule after ``after``."""
    return after + rule.every - (after - rule.anchor) % rule.every


def schedule_run_id(schedule: str, planned: Micros) -> str:
    """The id of the run for one planned time: the same for whoever starts it, whenever."""
    return f"{RUN_ID_PREFIX}{schedule}:{format_utc(planned)}"


def format_utc(at: Micros) -> str:
    """A time as ISO 8601 in UTC, to the second."""
    days, second = divmod(at // SECOND, 86_400)
    # Days in the calendar of years that begin in March and eras of 400 years.
    era, day = divmod(days + 719_468, 146_097)
    year = (day - day // 1460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    date = day - (153 * month + 2) // 5 + 1
    month += 3 if month < 10 else -9
    year += era * 400 + (month <= 2)
    hour, second = divmod(second, 3600)
    return f"{year:04}-{month:02}-{date:02}T{hour:02}:{second // 60:02}:{second % 60:02}Z"
