"""Size limits of a definition, shared by all readers.

The bounds for nesting and numbers are the same for YAML, JSON and Python mappings. Change a bound
only here.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

MAX_DEPTH: Final = 64
"""Maximum levels of nested lists and maps."""

MAX_INT: Final = 2**63 - 1
"""Integers must fit 64 bits with a sign."""


class SizeLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The largest definition that is accepted."""

    #: UTF-8 bytes of the text, and of all embedded workflows together.
    max_bytes: int
    #: Tasks, including those of embedded workflows.
    max_tasks: int


OPERATOR: Final = SizeLimits(max_bytes=64 << 20, max_tasks=1_000_000)
"""For files on the command line, which the owner of the machine chooses."""

SERVER: Final = SizeLimits(max_bytes=256 << 10, max_tasks=10_000)
"""For definitions that a server receives."""

TOO_DEEP: Final = f"nested more than {MAX_DEPTH} levels deep; flatten the definition"
NOT_FINITE: Final = (
    "NaN and Infinity are not allowed; write a finite number, or quote it if it is text"
)
TOO_LARGE: Final = "a whole number must fit 64 bits; quote it if it is text"


def number_fault(value: float) -> str:
    """Why a number is refused; empty if it is accepted."""
    if isinstance(value, float):
        return "" if math.isfinite(value) else NOT_FINITE
    return "" if -MAX_INT - 1 <= value <= MAX_INT else TOO_LARGE
