"""What the runtime learns of a call that is cancelled while its work is in a thread.

Python cannot stop a thread. An agent that is cancelled while a thread works for it raises one of
these instead of a plain CancelledError, so that the runtime neither calls the task again beside the
thread nor takes a call for made that never began. `run_in_thread` does so. The decision what to do
is the runtime's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any


class WorkContinues(asyncio.CancelledError):
    """The call is cancelled, and its thread still runs; ``work`` is done when it has ended."""

    def __init__(self, work: Future[Any]) -> None:
        super().__init__()
        self.work = work


class WorkNotBegun(asyncio.CancelledError):
    """The call is cancelled before a thread was free for it: nothing has been done."""


async def run_in_thread(executor: Executor, function: Callable[[], Any]) -> Any:
    """The result of ``function``, called in a thread of ``executor``.

    Raises WorkContinues or WorkNotBegun if it is cancelled.
    """
    work = executor.submit(function)
    try:
        return await asyncio.wrap_future(work)
    except asyncio.CancelledError:
        if work.cancel():
            raise WorkNotBegun from None
        raise WorkContinues(work) from None
