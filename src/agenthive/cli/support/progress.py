"""How a run is shown while it goes: live on a terminal, plain lines elsewhere.

Takes the facts of a run one by one. Writes to standard error only. A run with many tasks is told in
sums, not task by task.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final

from agenthive.cli.support.output import note, safe
from agenthive.cli.support.progress_counts import Tally, told
from agenthive.queries.journal_reader import Fact

if TYPE_CHECKING:
    from agenthive.cli.support.live_view import Live

MANY: Final = 60
"""A run with more tasks than this is told in sums."""
EVERY: Final = 1.0
"""Seconds between two sums."""


class Plain:
    """A line for each fact, or a sum now and then."""

    def __init__(self, name: str, total: int) -> None:
        self._name = name
        self._tally = Tally(total)
        self._next = time.monotonic() + EVERY

    def take(self, fact: Fact, *, old: bool = False) -> None:
        """Show one fact; an ``old`` one is only counted."""
        task, word, detail = self._tally.take(fact)
        if old:
            return
        if self._tally.total > MANY and fact.type in ("task.started", "task.succeeded"):
            self._sum()
        elif word:
            note(f"  {safe(task or self._name):24} {word:10} {safe(detail)}".rstrip())

    def _sum(self) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + EVERY
            note(f"  {told(self._tally)}")

    def close(self) -> None:
        """The last word."""
        if self._tally.total > MANY:
            note(f"  {told(self._tally)}")


def progress(name: str, total: int) -> Plain | Live:
    """What shows a run of ``total`` tasks here."""
    if not sys.stderr.isatty():
        return Plain(name, total)
    from agenthive.cli.support.live_view import Live

    return Live(name, total)
