"""How a run is shown while it goes: live on a terminal, plain lines elsewhere.

Takes the facts of a run one by one. Writes to standard error only. A run with many tasks is told in
sums, not task by task.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final

from agenthive.cli.support.output import escape, print_note
from agenthive.cli.support.progress_counts import ProgressCounts, format_counts
from agenthive.queries.journal_reader import EventView

if TYPE_CHECKING:
    from agenthive.cli.support.live_view import LiveView

MANY: Final = 60
"""A run with more tasks than this is told in sums."""
EVERY: Final = 1.0
"""Seconds between two sums."""


class PlainProgress:
    """A line for each fact, or a sum now and then."""

    def __init__(self, name: str, total: int) -> None:
        self._name = name
        self._counts = ProgressCounts(total)
        self._next_sums = time.monotonic() + EVERY

    def show_event(self, event: EventView, *, old: bool = False) -> None:
        """Show one fact; an ``old`` one is only counted."""
        task, word, detail = self._counts.add_event(event)
        if old:
            return
        if self._counts.total > MANY and event.type in ("task.started", "task.succeeded"):
            self._print_sums()
        elif word:
            print_note(f"  {escape(task or self._name):24} {word:10} {escape(detail)}".rstrip())

    def _print_sums(self) -> None:
        now = time.monotonic()
        if now >= self._next_sums:
            self._next_sums = now + EVERY
            print_note(f"  {format_counts(self._counts)}")

    def close(self) -> None:
        """The last word."""
        if self._counts.total > MANY:
            print_note(f"  {format_counts(self._counts)}")


def choose_view(name: str, total: int) -> PlainProgress | LiveView:
    """What shows a run of ``total`` tasks here."""
    if not sys.stderr.isatty():
        return PlainProgress(name, total)
    from agenthive.cli.support.live_view import LiveView

    return LiveView(name, total)
