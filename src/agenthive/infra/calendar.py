"""The calendar: the times of a cron expression in a time zone.

An expression has five fields or is one of `ALIASES`. Its syntax, and its times around a change of
clocks, are those of Debian's cron, as the package cronsim implements them: a fixed time that the
change skips moves to the next moment that exists; a fixed time that occurs twice counts once, the
first time; an expression with ``*`` in its minutes or hours follows elapsed time. Never reads a
clock: every function receives the time.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from agenthive.errors import DefinitionError

#: Microseconds.
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
#: Characters of an expression, and of the name of a time zone.
LONGEST: Final = 200
#: Microseconds since the epoch (the year 8307). Later times are not computed.
LATEST: Final = 200_000_000_000 * SECOND
_EXAMPLE: Final = (
    'Write five fields: minute, hour, day of month, month, day of week, such as "0 9 * * mon-fri",'
    " or a name such as @daily."
)


class SystemCalendar:
    """The calendar of this machine, with the time zones that it knows.

    Implements `core.ports.Calendar`. Times are microseconds since the epoch, UTC.
    """

    def next_after(self, cron: str, zone: str, after: int) -> int | None:
        """The first time of ``cron`` after ``after``; None if there is none, or it is invalid."""
        try:
            return _next_time(cron, zone, after)
        except (DefinitionError, CronSimError, OverflowError, ValueError):
            return None

    def check_cron(self, cron: str, zone: str, after: int) -> None:
        """Raise DefinitionError if ``cron`` or ``zone`` is invalid, or has no later time."""
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
        # In an hour that occurs twice, cronsim returns the times of its first occurrence again.
        if planned > after:
            return planned
    return None


def _expand_alias(cron: str) -> str:
    """The five fields of an expression or an alias. Raises CronSimError."""
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
        # Two files in the folder of zones are links to the zone of the machine: a schedule in
        # "localtime" would change its times when it moves to another machine.
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
        return f"the cron expression {expression} never fires: no day of the next 50 years matches"
    if problem == "Wrong number of fields":
        return f"the cron expression {expression} must have 5 fields and has {len(fields)}"
    names = ("minute", "hour", "day-of-month", "month", "day-of-week")
    field_name = problem.removeprefix("Bad ")
    if field_name not in names:
        return f"the cron expression {expression} is invalid: {problem.lower()}"
    field = fields[names.index(field_name)]
    if field_name == "day-of-month" and _is_readable(field):
        return f"the cron expression {expression} never fires: its months have no day {field}"
    return f"the {field_name} of the cron expression {expression} is invalid: {field[:LONGEST]!r}"


def _is_readable(days: str) -> bool:
    """Whether a day-of-month field is valid by itself, whatever the months are."""
    try:
        CronSim(f"0 0 {days} * *", datetime(2000, 1, 1))
    except CronSimError:
        return False
    return True
