"""Ctrl-C and SIGTERM: the first signal starts a drain, the second stops at once.

The signal handler runs on the event loop and cancels the current work there, so that a signal never
interrupts a write halfway.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Final, TypeVar

import click

T = TypeVar("T")

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Handles signals within ``async with Interrupts() as interrupts``."""

    def __init__(self) -> None:
        self._current: asyncio.Task[Any] | None = None
        self._interrupted = False

    async def __aenter__(self) -> Interrupts:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._on_signal)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.remove_signal_handler(number)

    def _on_signal(self) -> None:
        self._interrupted = True
        if self._current is not None:
            self._current.cancel()

    async def run_or_abort(self, work: Coroutine[Any, Any, T]) -> T:
        """Run work before which there is nothing to drain; its result.

        Raises click.Abort if interrupted.
        """
        results: list[T] = []

        async def keep_result() -> None:
            results.append(await work)

        if not await self.run_to_end(keep_result()):
            work.close()
            raise click.Abort
        return results[0]

    async def run_to_end(self, work: Coroutine[Any, Any, Any]) -> bool:
        """Run ``work``; return False if a signal cancelled it, True if it finished."""
        if self._interrupted:
            self._interrupted = False
            work.close()
            return False
        self._current = asyncio.ensure_future(work)
        try:
            await self._current
        except asyncio.CancelledError:
            if not self._interrupted:
                raise
            self._interrupted = False
            return False
        finally:
            self._current = None
        return True
