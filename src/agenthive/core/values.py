"""The value types everything else is made of.

Time is integer microseconds UTC, money is integer nano-dollars, data is JSON. Nothing here may
know a clock or do I/O. Add a type here only if two rooms exchange it.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    JSONValue: TypeAlias = (
        "bool | int | float | str | list[JSONValue] | dict[str, JSONValue] | None"
    )
    JSONObject: TypeAlias = dict[str, JSONValue]
else:
    # msgspec resolves annotations when a struct is first used and knows no recursive alias.
    JSONValue = object
    JSONObject = dict[str, object]

Micros: TypeAlias = int
"""Microseconds: since the epoch (UTC) where it is a time, else a length of time."""

NanoUSD: TypeAlias = int
"""US dollars times 10**9."""

SECOND: Final[Micros] = 1_000_000


def to_nano_usd(amount: float | Decimal, *, up: bool = False) -> NanoUSD:
    """US dollars, as they are written, in nano-dollars: cut off there, or rounded ``up``."""
    rounding = ROUND_CEILING if up else ROUND_FLOOR
    return int((Decimal(str(amount)) * 10**9).to_integral_value(rounding))


def format_dollars(amount: NanoUSD) -> str:
    """Nano-dollars for people: at least cents, at most what is there."""
    whole, fraction = divmod(abs(amount), 10**9)
    digits = f"{fraction:09}".rstrip("0").ljust(2, "0")
    return f"{'-' if amount < 0 else ''}${whole:,}.{digits}"


def to_micros(seconds: float) -> Micros:
    """Seconds as whole microseconds, rounded half to even."""
    return round(seconds * SECOND)
