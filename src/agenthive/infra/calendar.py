"""The calendar: what a cron expression means in a time zone, and which make sense.

Expressions have five fields, or are one of `ALIASES`; what they may hold and what happens when the
clocks change follows Debian's cron, by cronsim. A fixed time that a change of clocks leaves out
comes at the next moment there is, one that comes twice counts the first time; rules with ``*`` in
minutes or hours go by real time. Never reads a clock.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from agenthive.errors import DefinitionError

SECOND: Final = 1_000_000
ALIASES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
LONGEST: Final = 200
"""Characters of an expression, and of the name of a zone."""
LATEST: Final = 200_000_000_000 * SECOND
"""Times beyond are not computed (the year 8307)."""
_EXAMPLE: Final = (
    'Write five fields: minute, hour, day of month, month, day of week, such as "0 9 * * mon-fri",'
    " or a name such as @daily."
)


class SystemCalendar:
    """The calendar of this machine: the zones it knows. Times are microseconds UTC."""

    def next_after(self, cron: str, zone: str, after: int) -> int | None:
        """The first planned time after ``after``; None if there is none or nobody can read it."""
        try:
            return _next_time(cron, zone, after)
        except (DefinitionError, CronSimError, OverflowError, ValueError):
            return None

    def check_cron(self, cron: str, zone: str, after: int) -> None:
        """Raises DefinitionError if it cannot be read, or gives no time after ``after``."""
        _load_zone(zone)
        try:
            if _next_time(cron, zone, after) is None:
                raise CronSimError("never")
        except CronSimError as error:
            raise DefinitionError(_describe_fault(cron, str(error)), hint=_EXAMPLE) from None


def _next_time(cron: str, zone: str, after: int) -> int | None:
    if after > LATEST:
        return None
    begin = datetime.fromtimestamp(after // SECOND, UTC).astimezone(_load_zone(zone))
    for moment in CronSim(_expand_alias(cron), begin):
        planned = round(moment.timestamp()) * SECOND
        # In an hour that comes twice the times of the first are offered again.
        if planned > after:
            return planned
    return None


def _expand_alias(cron: str) -> str:
    """Five fields, for an expression or an alias."""
    text = cron.strip()
    if len(text) > LONGEST:
        raise CronSimError("Too long")
    text = ALIASES.get(text.lower(), text)
    if len(text.split()) != 5:
        raise CronSimError("Wrong number of fields")
    return text


@lru_cache(maxsize=256)
def _load_zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        # Not every file below the folder of zones is one: "localtime" is whatever is set there.
        if len(name) <= LONGEST and name not in ("localtime", "posixrules"):
            return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        pass
    raise DefinitionError(
        f"there is no time zone {name[:LONGEST]!r}",
        hint="Name one of the IANA database, such as Europe/Berlin, America/New_York or UTC.",
    )


def _describe_fault(cron: str, problem: str) -> str:
    expression = repr(cron[:LONGEST])
    fields = cron.split()
    if problem == "never":
        return f"the cron expression {expression} never fires: no day of the next 50 years fits"
    if problem == "Wrong number of fields":
        return f"the cron expression {expression} does not have 5 fields, but {len(fields)}"
    names = ("minute", "hour", "day-of-month", "month", "day-of-week")
    field_name = problem.removeprefix("Bad ")
    if field_name not in names:
        return f"the cron expression {expression} cannot be read: {problem.lower()}"
    field = fields[names.index(field_name)]
    if field_name == "day-of-month" and _is_readable(field):
        return f"the cron expression {expression} never fires: its months have no day {field}"
    return (
        f"the {field_name} of the cron expression {expression} cannot be read: {field[:LONGEST]!r}"
    )


def _is_readable(days: str) -> bool:
    """Whether a day of the month is fine by itself."""
    try:
        CronSim(f"0 0 {days} * *", datetime(2000, 1, 1))
    except CronSimError:
        return False
    return True
