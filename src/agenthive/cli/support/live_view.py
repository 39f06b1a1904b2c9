"""The live view of a run on a terminal (rich): a bar, the running tasks, the failures.

The view disappears when the run ends; the command prints the results. Imported on terminals only.
"""

from __future__ import annotations

import sys
import time
from typing import Final

from rich.console import Console, Group
from rich.live import Live as Screen
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from agenthive.cli.support.output import escape, format_duration
from agenthive.cli.support.progress_counts import ProgressCounts, format_counts
from agenthive.queries.journal_reader import EventView

MOST_LINES: Final = 12
"""Running tasks and failures that are shown at once."""
_TROUBLES: Final = (
    "task.failed",
    "task.faulted",
    "task.lost",
    "task.blocked",
    "run.timed_out",
)
"""Events that stay in the view, and on the terminal after it."""


class LiveView:
    """Shows the progress of a run until it is closed."""

    def __init__(self, name: str, total: int) -> None:
        self._name = escape(name)
        self._counts = ProgressCounts(total)
        self._failures: list[tuple[str, str, str]] = []
        self._spinner = Spinner("dots")
        self._screen = Screen(
            get_renderable=self._render,
            console=Console(file=sys.stderr),
            transient=True,
            refresh_per_second=8,
        )
        self._screen.start()

    def show_event(self, event: EventView, *, old: bool = False) -> None:
        """Show one event; an ``old`` one is only counted."""
        task, word, detail = self._counts.add_event(event)
        if not old and event.type in _TROUBLES:
            self._failures = [*self._failures, (task, word, detail)][-MOST_LINES:]

    def close(self) -> None:
        """Remove the view; print one line for each failure that it showed."""
        self._screen.stop()
        for task, word, detail in self._failures:
            self._screen.console.print(Text(f"  {escape(task)} {word} {escape(detail)}", "yellow"))

    def _render(self) -> Group:
        counts = self._counts
        head = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=max(counts.total, 1), completed=counts.done, width=30)
        head.add_row(self._spinner, Text(self._name, "bold"), bar, format_counts(counts))
        body = Table.grid(padding=(0, 2))
        now = time.time() * 1e6
        for task, (started, agent) in list(counts.started.items())[:MOST_LINES]:
            elapsed = format_duration(max(0.0, (now - started) / 1e6))
            body.add_row(
                "  ", Text(escape(task), "cyan"), Text(f"agent {escape(agent)}", "dim"), elapsed
            )
        for task, word, detail in self._failures:
            body.add_row("  ", Text(escape(task), "yellow"), word, Text(escape(detail), "dim"))
        return Group(head, body)
