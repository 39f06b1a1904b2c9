"""The answers of models as they come in, on standard error."""

from __future__ import annotations

import sys

from agenthive.cli.support import output
from agenthive.cli.support.session import Session


async def show_answers(session: Session, run: str) -> None:
    """Print the text of a run's answers, by task, until the run ends or needs somebody.

    Only the process that owns the home hears them.
    """
    if session.hive is None:
        output.print_note("another process owns the home: answers are shown where it runs")
        return
    current_task = ""
    async for piece in session.hive.stream(run):
        if piece.task != current_task:
            output.print_note(
                f"\n{output.escape(piece.task)}:"
                if current_task
                else f"{output.escape(piece.task)}:"
            )
            current_task = piece.task
        sys.stderr.write(_blank_controls(piece.text))
        sys.stderr.flush()
    if current_task:
        output.print_note("")


def _blank_controls(text: str) -> str:
    """What a model says, without what a terminal would obey."""
    return "".join(char if char.isprintable() or char in "\n\t" else " " for char in text)
