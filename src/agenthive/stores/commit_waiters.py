"""From the thread that writes back to the loop that waits: how a write ended."""

from __future__ import annotations

import asyncio
import contextlib


def notify_waiter(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[None], error: Exception | None
) -> None:
    """Settle ``done`` on its own loop; called from any thread."""

    def settle() -> None:
        if future.done():
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    # The loop may be gone when the process is being torn down; the write itself has happened.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(settle)
