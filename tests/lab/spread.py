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


def map_pieces(function: Callable[[range], T], units: range, size: int, say: Say) -> list[T]:
    """What ``function`` gives for each piece of the units, in order.

    A fork sees what we have here.
    """
    pieces = ranges.split_range(units, size)
    results: list[T] = []
    if jobs() == 1 or len(pieces) == 1:
        for span in pieces:
            results.append(function(span))
            say(f"{span.stop - units.start:,} of {len(units):,}")
        return results
    with multiprocessing.get_context("fork").Pool(jobs()) as pool:
        for span, result in zip(pieces, pool.imap(function, pieces), strict=True):
            results.append(result)
            say(f"{span.stop - units.start:,} of {len(units):,}")
    return results


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for states, in memory where there is one: they are not what is being tested."""
    memory = Path("/dev/shm")
    where = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="agenthive-lab-", dir=where) as name:
        yield Path(name)
