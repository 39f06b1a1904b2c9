"""The value types everything else is made of.

Time is integer microseconds UTC, money is integer nano-dollars, data is JSON. Nothing here may
know a clock or do I/O. Add a type here only if two rooms exchange it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    JSONValue: TypeAlias = (
        "bool | int | float | str | list[JSONValue] | dict[str, JSONValue] | None"
    )
    JSONObject: TypeAlias = dict[str, JSONValue]
else:
    # msgspec cannot decode into a recursive alias; JSON decodes to nothing but JSON anyway.
    JSONValue = object
    JSONObject = dict[str, object]

Micros: TypeAlias = int
"""Microseconds: since the epoch (UTC) where it is a time, else a length of time."""

NanoUSD: TypeAlias = int
"""US dollars times 10**9."""

SECOND: Final[Micros] = 1_000_000


def micros(seconds: float) -> Micros:
    """Seconds as whole microseconds, rounded half to even."""
    return round(seconds * SECOND)
