"""Reading a point in time: ISO 8601 with a zone, as microseconds since the epoch.

Arithmetic only; a date is a number of days (H. Hinnant, "chrono-compatible low-level date
algorithms", days_from_civil). Knows no clock and no names of zones.
"""

from __future__ import annotations

import re
from typing import Final

from agenthive.core.values import SECOND, Micros

_FORM: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6})\d*)?)?"
    r"(?:([Zz])|([+-])(\d\d):?(\d\d))"
)
_DAYS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def parse_instant(text: str) -> Micros | None:
    """``2026-12-01T09:00:00+01:00`` as microseconds UTC; None if it is no such time."""
    found = _FORM.fullmatch(text.strip())
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups()[:6])
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not 1 <= month <= 12 or not 1 <= day <= _DAYS[month - 1] - (month == 2 and not leap):
        return None
    if hour > 23 or minute > 59 or second > 59:
        return None
    fraction = int((found[7] or "0").ljust(6, "0"))
    offset = (
        0 if found[8] else (int(found[10]) * 60 + int(found[11])) * (-1 if found[9] == "-" else 1)
    )
    minutes = (_days(year, month, day) * 24 + hour) * 60 + minute - offset
    return (minutes * 60 + second) * SECOND + fraction


def _days(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01."""
    year -= month <= 2
    era, of_era = divmod(year, 400)
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468
