"""The delay before a retry, as response headers request it.

``retry-after-ms`` (milliseconds), ``retry-after`` (seconds or a date, RFC 9110 section 10.2.3, or
a Unix time) and ``x-ratelimit-reset-*`` (durations such as ``1m30s``), of which the limit that is
used up counts. Never waits. To add a header: a row in `SPELLINGS` or `RESETS`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Final

#: A number of seconds from here on is a Unix time, of 2001 or later.
_UNIX_TIMES: Final = 1e9
#: Seconds. A longer delay is cut to this.
LONGEST: Final = 24 * 3600.0
_PART: Final = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)(ms|s|m|h|d)", re.ASCII)
#: Python's `float` reads more, such as ``1_0`` and the digits of other scripts.
_NUMBER: Final = re.compile(r"\d{1,13}(?:\.\d{0,20})?", re.ASCII)
_UNIT: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, at most `LONGEST`; None if no header says so. Names are in lower case."""
    requested = requested_delay(headers)
    return _parse_resets(headers) if requested is None else requested


def requested_delay(headers: Mapping[str, str]) -> float | None:
    """The seconds that the server asks to wait in so many words; None if it does not."""
    for name, parse in SPELLINGS:
        value = headers.get(name)
        seconds = parse(value.strip()) if value else None
        if seconds is not None and seconds >= 0:
            return min(seconds, LONGEST)
    return None


def _parse_resets(headers: Mapping[str, str]) -> float | None:
    """The longest time until a limit that is used up is reset; of all, if none says so."""
    delays: list[tuple[bool, float]] = []
    for remaining, reset in RESETS:
        seconds = _parse_duration(headers.get(reset, "").strip())
        if seconds is not None:
            delays.append((headers.get(remaining, "").strip() == "0", seconds))
    used_up = [seconds for is_used_up, seconds in delays if is_used_up]
    longest = max(used_up or [seconds for _, seconds in delays], default=None)
    return None if longest is None else min(longest, LONGEST)


def _parse_milliseconds(text: str) -> float | None:
    seconds = _parse_number(text)
    return None if seconds is None else seconds / 1000


def _parse_seconds_or_date(text: str) -> float | None:
    seconds = _parse_number(text)
    if seconds is not None:
        # No server asks for a delay of decades: that is a Unix time.
        return seconds if seconds < _UNIX_TIMES else max(0.0, seconds - time.time())
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return _parse_duration(text)


def _parse_duration(text: str) -> float | None:
    parts = _PART.findall(text[:100])
    is_complete = "".join(number + unit for number, unit in parts) == text
    return (
        sum(float(number) * _UNIT[unit] for number, unit in parts)
        if parts and is_complete
        else None
    )


def parse_seconds(text: str) -> float | None:
    """Seconds of a duration such as ``1m30s`` or of a plain number; None if it is neither."""
    number = _parse_number(text)
    return _parse_duration(text) if number is None else number


def _parse_number(text: str) -> float | None:
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if value < 1e12 else None


#: Header -> its parser; the first one that yields a delay counts, so the most exact comes first.
SPELLINGS: Final[tuple[tuple[str, Callable[[str], float | None]], ...]] = (
    ("retry-after-ms", _parse_milliseconds),
    ("retry-after", _parse_seconds_or_date),
)
#: Header with what is left of a limit, header with the time until it is reset.
RESETS: Final = (
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
)
