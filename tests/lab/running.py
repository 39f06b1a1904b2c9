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


def rows(folder: Path = FOLDER) -> dict[str, Row]:
    """Every row of the folder by its name, T1 before T10."""
    names = [module.name for module in pkgutil.iter_modules([str(folder)])]
    found = {row.ROW: row for row in map(load, names)}
    return dict(sorted(found.items(), key=lambda item: (len(item[0]), item[0])))


def load(name: str) -> Row:
    """The row in `rows/NAME.py`."""
    module: ModuleType = importlib.import_module(f"tests.lab.rows.{name}")
    missing = [word for word in (*Row.__annotations__, "run") if not hasattr(module, word)]
    if missing:
        raise AttributeError(f"tests/lab/rows/{name}.py has no {', '.join(missing)}")
    return module


def progress(row: str) -> Say:
    """One line now and then, on standard error."""
    last = time.monotonic()

    def say(text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= OFTEN:
            last = time.monotonic()
            print(f"{row}: {text}", file=sys.stderr, flush=True)

    return say


def parts(row: Row, units: range, done: list[range]) -> list[range]:
    """What of ``units`` is not done yet, in pieces that are written down one by one."""
    most = int(getattr(row, "CHUNK", len(units)))
    return [part for one in ranges.without(units, done) for part in ranges.chunks(one, most)]


def run(
    row: Row, units: range, *, again: bool, write: Callable[[Result], object]
) -> Iterator[Result]:
    """Run the units, or with ``again`` False only those that these sources were not through yet.

    Hands each result to ``write`` before it goes on. Raises Skipped.
    """
    done = [] if again else records.done(row.ROW, records.read(), sources.digest())
    for part in parts(row, units, done):
        result = row.run(part, say=progress(row.ROW))
        write(result)
        yield result
