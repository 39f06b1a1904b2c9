"""The responses of models on standard error while they are generated."""

from __future__ import annotations

import sys

from agenthive.cli.support import output
from agenthive.cli.support.session import Session


async def show_answers(session: Session, run: str) -> None:
    """Print the text of model responses, by task, until the run ends or waits for input.

    Only the process that owns the home receives the partial responses.
    """
    if session.hive is None:
        output.print_note(
            "another process owns the home and receives the responses: --stream shows nothing here"
        )
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
    """Replace control characters, so that a model cannot control the terminal."""
    return "".join(char if char.isprintable() or char in "\n\t" else " " for char in text)
