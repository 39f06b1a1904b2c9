"""How the progress of a run is shown: a live view on a terminal, plain lines elsewhere.

Takes the events of a run one by one. Writes to standard error only. A run with many tasks is shown
as counts, not task by task.
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
"""A run with more tasks than this is shown as counts."""
EVERY: Final = 1.0
"""Seconds between two lines with counts."""


class PlainProgress:
    """Prints a line for each event, or the counts once a second."""

    def __init__(self, name: str, total: int) -> None:
        self._name = name
        self._counts = ProgressCounts(total)
        self._next_counts = time.monotonic() + EVERY

    def show_event(self, event: EventView, *, old: bool = False) -> None:
        """Show one event; an ``old`` one is only counted."""
        task, word, detail = self._counts.add_event(event)
        if old:
            return
        if self._counts.total > MANY and event.type in ("task.started", "task.succeeded"):
            self._print_counts()
        elif word:
            print_note(f"  {escape(task or self._name):24} {word:10} {escape(detail)}".rstrip())

    def _print_counts(self) -> None:
        now = time.monotonic()
        if now >= self._next_counts:
            self._next_counts = now + EVERY
            print_note(f"  {format_counts(self._counts)}")

    def close(self) -> None:
        """Print the final counts of a run with many tasks."""
        if self._counts.total > MANY:
            print_note(f"  {format_counts(self._counts)}")


def choose_view(name: str, total: int) -> PlainProgress | LiveView:
    """The view for a run of ``total`` tasks: live if standard error is a terminal."""
    if not sys.stderr.isatty():
        return PlainProgress(name, total)
    from agenthive.cli.support.live_view import LiveView

    return LiveView(name, total)
