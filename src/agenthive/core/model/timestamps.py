"""Timestamps as users write them, converted to microseconds since 1970 (UTC).

By arithmetic alone: there is no clock and no table of time zones here, so a time without an offset
has no meaning and is refused. Never guesses. To accept another form: extend the pattern.
"""

from __future__ import annotations

import re
from typing import Final

from agenthive.core.values import SECOND, Micros

_TIME: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?"
    r"([Zz]|[+-][0-9]{2}:?[0-9]{2})"
)
_MONTH_LENGTHS: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def parse_timestamp(text: str) -> Micros | None:
    """Microseconds of an ISO 8601 time with an offset; None if the text is not one.

    An example is ``2026-12-01T09:00:00+01:00``. Seconds may be left out, and may have up to nine
    decimals, of which six count. Years before 1970 are refused.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None:
        return None
    year, month, day, hour, minute = (int(part) for part in match.groups()[:5])
    second, fraction = int(match[6] or 0), (match[7] or "").ljust(6, "0")[:6]
    offset = _parse_offset(match[8])
    day_fits = year >= 1970 and 1 <= month <= 12 and 1 <= day <= _days_in_month(year, month)
    if offset is None or not day_fits or hour > 23 or minute > 59 or second > 59:
        return None
    minutes = (_count_days(year, month, day) * 24 + hour) * 60 + minute - offset
    timestamp = (minutes * 60 + second) * SECOND + int(fraction)
    return timestamp if timestamp >= 0 else None


def _parse_offset(text: str) -> int | None:
    """Minutes east of Greenwich; None if the offset does not exist."""
    if text in "Zz":
        return 0
    hours, minutes = int(text[1:3]), int(text[-2:])
    if hours > 23 or minutes > 59:
        return None
    return (hours * 60 + minutes) * (-1 if text[0] == "-" else 1)


def _days_in_month(year: int, month: int) -> int:
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return _MONTH_LENGTHS[month - 1] + (month == 2 and leap)


def _count_days(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 to a date of the Gregorian calendar.

    H. Hinnant, "chrono-compatible low-level date algorithms", days_from_civil.
    """
    # Years begin in March, so that the leap day is the last day of a year.
    year -= month <= 2
    era, year_of_era = divmod(year, 400)
    day_of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return (
        era * 146_097
        + year_of_era * 365
        + year_of_era // 4
        - year_of_era // 100
        + day_of_year
        - 719_468
    )
