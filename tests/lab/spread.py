"""Units spread over the processes that a row may keep busy, each a fork of this one."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import TypeVar

from tests.lab import ranges
from tests.lab.result import Say, jobs

T = TypeVar("T")


def spread(do: Callable[[range], T], units: range, piece: int, say: Say) -> list[T]:
    """What ``do`` gives for each piece of the units, in order. A fork sees what we have here."""
    pieces = ranges.chunks(units, piece)
    found: list[T] = []
    if jobs() == 1 or len(pieces) == 1:
        for one in pieces:
            found.append(do(one))
            say(f"{one.stop - units.start:,} of {len(units):,}")
        return found
    with multiprocessing.get_context("fork").Pool(jobs()) as pool:
        for one, result in zip(pieces, pool.imap(do, pieces), strict=True):
            found.append(result)
            say(f"{one.stop - units.start:,} of {len(units):,}")
    return found
