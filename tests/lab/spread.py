"""Units spread over the processes a row may keep busy, each a fork of this one; their place."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
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


@contextmanager
def place() -> Iterator[Path]:
    """A folder for states, in memory where there is one: they are not what is being tested."""
    memory = Path("/dev/shm")
    where = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="agenthive-lab-", dir=where) as name:
        yield Path(name)
