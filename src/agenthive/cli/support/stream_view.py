"""The answers of models as they come in, on standard error."""

from __future__ import annotations

import sys

from agenthive.cli.support import output
from agenthive.cli.support.session import Session


async def show(session: Session, run: str) -> None:
    """Print the text of a run's answers, by task, until the run ends or needs somebody.

    Only the process that owns the home hears them.
    """
    if session.hive is None:
        output.note("another process owns the home: answers are shown where it runs")
        return
    speaks = ""
    async for piece in session.hive.listen(run):
        if piece.task != speaks:
            output.note(
                f"\n{output.safe(piece.task)}:" if speaks else f"{output.safe(piece.task)}:"
            )
            speaks = piece.task
        sys.stderr.write(_printable(piece.text))
        sys.stderr.flush()
    if speaks:
        output.note("")


def _printable(text: str) -> str:
    """What a model says, without what a terminal would obey."""
    return "".join(char if char.isprintable() or char in "\n\t" else " " for char in text)
