"""The live view of a run on a terminal (rich): a bar, what is under way, what failed.

Gone when the run ends; what stays is printed by the command. Imported on terminals only.
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

from agenthive.cli.support.output import safe, span
from agenthive.cli.support.progress_counts import Tally, told
from agenthive.queries.journal_reader import Fact

MOST_LINES: Final = 12
"""Tasks under way, and failures, that are named at once."""


class Live:
    """Shows the facts it takes until it is closed."""

    def __init__(self, name: str, total: int) -> None:
        self._name = safe(name)
        self._tally = Tally(total)
        self._said: list[tuple[str, str, str]] = []
        self._spinner = Spinner("dots")
        self._screen = Screen(
            get_renderable=self._view,
            console=Console(file=sys.stderr),
            transient=True,
            refresh_per_second=8,
        )
        self._screen.start()

    def take(self, fact: Fact, *, old: bool = False) -> None:
        """Show one fact; an ``old`` one is only counted."""
        task, word, detail = self._tally.take(fact)
        if not old and word in ("failed", "was cut off", "blocked", "timed out"):
            self._said = [*self._said, (task, word, detail)][-MOST_LINES:]

    def close(self) -> None:
        """Take the view down; leave one line for what was shown."""
        self._screen.stop()
        for task, word, detail in self._said:
            self._screen.console.print(Text(f"  {safe(task)} {word} {safe(detail)}", "yellow"))

    def _view(self) -> Group:
        tally = self._tally
        head = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=max(tally.total, 1), completed=tally.done, width=30)
        head.add_row(self._spinner, Text(self._name, "bold"), bar, told(tally))
        body = Table.grid(padding=(0, 2))
        now = time.time() * 1e6
        for task, (began, agent) in list(tally.started.items())[:MOST_LINES]:
            spent = span(max(0.0, (now - began) / 1e6))
            body.add_row("  ", Text(safe(task), "cyan"), Text(f"at {safe(agent)}", "dim"), spent)
        for task, word, detail in self._said:
            body.add_row("  ", Text(safe(task), "yellow"), word, Text(safe(detail), "dim"))
        return Group(head, body)
