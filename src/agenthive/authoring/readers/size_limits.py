"""How large a definition may be, and what every reader refuses alike.

Depth, whole numbers and floats are bounded here for YAML, JSON and Python mappings together, so
that no reader is laxer than another. Change a bound here and nowhere else.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

MAX_DEPTH: Final = 64
"""Levels of lists and maps in a definition."""

MAX_INT: Final = 2**63 - 1


class SizeLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What is accepted. ``max_bytes`` of text, ``max_tasks`` in one definition."""

    max_bytes: int
    max_tasks: int


OPERATOR: Final = SizeLimits(max_bytes=64 << 20, max_tasks=1_000_000)
"""For a file that whoever owns the machine gives on the command line."""

SERVER: Final = SizeLimits(max_bytes=256 << 10, max_tasks=10_000)
"""For what comes through the service."""

TOO_DEEP: Final = f"nested more than {MAX_DEPTH} levels deep; flatten the definition"
NOT_FINITE: Final = "NaN and Infinity are not allowed; write a finite number, or quote it as text"
TOO_LARGE: Final = "a whole number of more than 64 bits is not allowed; quote it if it is text"


def number_fault(value: float) -> str:
    """Why a number is not accepted; empty if it is."""
    if isinstance(value, float):
        return "" if math.isfinite(value) else NOT_FINITE
    return "" if -MAX_INT - 1 <= value <= MAX_INT else TOO_LARGE
