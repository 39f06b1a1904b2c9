"""The value types that all other modules use.

Time is integer microseconds UTC, money is integer nano-dollars, data is JSON. Integers, so that
sums are exact and equal on every computer. Nothing here may read a clock or do I/O. Add a type here
only if two packages exchange it.
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
"""Microseconds: since 1970-01-01 UTC for a point in time, else a duration."""

NanoUSD: TypeAlias = int
"""US dollars times 10**9."""

MOST_AMOUNT: Final[NanoUSD] = 10**18
"""A billion US dollars: the largest limit, and where sums of money end. A store keeps 64 bits."""

SECOND: Final[Micros] = 1_000_000
"""Microseconds of a second."""


def to_nano_usd(amount: float | Decimal, *, up: bool = False) -> NanoUSD:
    """US dollars as nano-dollars, rounded down, or ``up``.

    A float counts as its shortest decimal notation: 0.1 is 100,000,000 and not a little more.
    """
    rounding = ROUND_CEILING if up else ROUND_FLOOR
    return int((Decimal(str(amount)) * 10**9).to_integral_value(rounding))


def format_dollars(amount: NanoUSD) -> str:
    """Nano-dollars as text for users: two decimals, and more only if they are not zero."""
    whole, fraction = divmod(abs(amount), 10**9)
    digits = f"{fraction:09}".rstrip("0").ljust(2, "0")
    return f"{'-' if amount < 0 else ''}${whole:,}.{digits}"


def to_micros(seconds: float) -> Micros:
    """Seconds as whole microseconds, rounded half to even."""
    return round(seconds * SECOND)
