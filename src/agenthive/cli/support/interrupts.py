"""Ctrl-C and SIGTERM: the first asks to drain, the second to stop at once.

Signals only set something; what they interrupt is cancelled on the event loop, so nothing is torn.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Final

import click

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Use it as ``async with Interrupts() as interrupts``."""

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

    async def run_or_abort(self, work: Coroutine[Any, Any, Any]) -> None:
        """Do what must be done before there is anything to drain. Raises Abort if interrupted."""
        if not await self.run_to_end(work):
            raise click.Abort

    async def run_to_end(self, work: Coroutine[Any, Any, Any]) -> bool:
        """Whether ``work`` came to its end; False if it was interrupted, and cancelled for that."""
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
