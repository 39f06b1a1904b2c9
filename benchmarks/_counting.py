"""Counts the Python functions that are called, in every thread: the same number on any machine.

A count is taken in a process of its own, never in a timed one: counting makes a program several
times slower. A coroutine or generator that is resumed counts as a call. Functions written in
C do not count.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

PACKAGE = "agenthive"


class Calls(NamedTuple):
    """How many calls there were: of ``all`` functions, and of the package's ``own``."""

    all: int
    own: int

    def __sub__(self, other: object) -> Calls:
        assert isinstance(other, Calls)
        return Calls(self.all - other.all, self.own - other.own)


class CallCounter:
    """Counts from `start` on, in this thread and in those that are started later."""

    def __init__(self) -> None:
        spec = importlib.util.find_spec(PACKAGE)
        assert spec is not None
        assert spec.origin is not None
        self._folder = f"{Path(spec.origin).parent}/"
        # A table for each thread: adding to one that is shared would lose calls.
        self._tables: list[dict[int, list[Any]]] = []

    def start(self) -> None:
        """Begin to count."""
        threading.setprofile(self._enter_thread)
        self._count_thread()

    def stop(self) -> None:
        """Count no longer in this thread, nor in new ones."""
        sys.setprofile(None)
        threading.setprofile(None)

    def read(self) -> Calls:
        """The calls so far."""
        rows = [(code, calls) for table in self._tables for calls, code in list(table.values())]
        own = sum(calls for code, calls in rows if code.co_filename.startswith(self._folder))
        return Calls(sum(calls for _, calls in rows), own)

    def sum_by_function(self) -> dict[str, int]:
        """The calls of each function so far, the most frequent first."""
        totals: dict[str, int] = {}
        for table in self._tables:
            for calls, code in list(table.values()):
                name = self._name_function(code)
                totals[name] = totals.get(name, 0) + calls
        return dict(sorted(totals.items(), key=lambda item: -item[1]))

    def count_function(self, name: str) -> int:
        """The calls so far of the functions of agenthive with a name that ends so."""
        totals = self.sum_by_function()
        return sum(calls for function, calls in totals.items() if function.endswith(name))

    def _name_function(self, code: CodeType) -> str:
        file = code.co_filename
        own = file.startswith(self._folder)
        module = file.removeprefix(self._folder) if own else Path(file).name
        return f"{module}:{code.co_qualname}"

    def _enter_thread(self, frame: FrameType, event: str, argument: object) -> None:
        """The first event of a new thread."""
        self._count_thread()(frame, event, argument)

    def _count_thread(self) -> Any:
        table: dict[int, list[Any]] = {}
        self._tables.append(table)

        # Codes by identity: the hash of a code object is computed anew each time.
        def count(frame: FrameType, event: str, argument: object) -> None:
            if event == "call":
                code = frame.f_code
                row = table.get(id(code))
                if row is None:
                    table[id(code)] = [1, code]
                else:
                    row[0] += 1

        sys.setprofile(count)
        return count
