"""Passes the outcome of a write from the writer thread to the event loop that waits for it."""

from __future__ import annotations

import asyncio
import contextlib


def notify_waiter(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[None], error: Exception | None
) -> None:
    """Settle ``future`` on its own loop: with ``error``, or successfully if that is None.

    May be called from any thread. A future that was cancelled meanwhile is left alone.
    """

    def settle() -> None:
        if future.done():
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    # The loop may already be closed when the process is shutting down; the write itself is done.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(settle)
