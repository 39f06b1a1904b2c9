"""Finds rows and runs them: a range at a time, each result written down as soon as it is there."""

from __future__ import annotations

import importlib
import pkgutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

from tests.lab import ranges, records, sources
from tests.lab.result import Result, Row, Say

FOLDER = Path(__file__).parent / "rows"
OFTEN = 5.0
"""Seconds between two lines of progress."""


def load_rows(folder: Path = FOLDER) -> dict[str, Row]:
    """Every row of the folder by its name, T1 before T10."""
    names = [module.name for module in pkgutil.iter_modules([str(folder)])]
    by_name = {row.ROW: row for row in map(load_row, names)}
    return dict(sorted(by_name.items(), key=lambda item: (len(item[0]), item[0])))


def load_row(name: str) -> Row:
    """The row in `rows/NAME.py`."""
    module: ModuleType = importlib.import_module(f"tests.lab.rows.{name}")
    missing = [
        attribute for attribute in (*Row.__annotations__, "run") if not hasattr(module, attribute)
    ]
    if missing:
        raise AttributeError(f"tests/lab/rows/{name}.py has no {', '.join(missing)}")
    return module


def make_progress(row: str) -> Say:
    """One line now and then, on standard error."""
    last = time.monotonic()

    def say(text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= OFTEN:
            last = time.monotonic()
            print(f"{row}: {text}", file=sys.stderr, flush=True)

    return say


def pending_parts(row: Row, units: range, finished: list[range]) -> list[range]:
    """What of ``units`` is not done yet, in pieces that are written down one by one."""
    chunk_size = int(getattr(row, "CHUNK", len(units)))
    return [
        part
        for gap in ranges.subtract_ranges(units, finished)
        for part in ranges.split_range(gap, chunk_size)
    ]


def run(
    row: Row, units: range, *, repeat: bool, write: Callable[[Result], object]
) -> Iterator[Result]:
    """Run the units, or with ``again`` False only those that these sources were not through yet.

    Hands each result to ``write`` before it goes on. Raises Skipped.
    """
    finished = (
        [] if repeat else records.finished_ranges(row.ROW, records.read_results(), sources.digest())
    )
    for part in pending_parts(row, units, finished):
        result = row.run(part, say=make_progress(row.ROW))
        write(result)
        yield result
