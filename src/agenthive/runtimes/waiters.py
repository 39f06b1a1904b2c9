"""Whoever waits for the embedded runtime: for a request to be on disk, or for a run to end.

Futures by token and by run. Decides nothing; it is told what has happened and passes it on.
"""

from __future__ import annotations

import asyncio

from agenthive.core.model.states import RunStatus
from agenthive.errors import AgentHiveError


class Waiters:
    """Futures on ``loop``. A future that was cancelled by whoever waited is left alone."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._token = 0
        self._requests: dict[int, asyncio.Future[None]] = {}
        self._runs: dict[str, list[asyncio.Future[RunStatus]]] = {}

    def add_request(self) -> tuple[int, asyncio.Future[None]]:
        """A token for a request, and what ends when the request is on disk."""
        self._token += 1
        future: asyncio.Future[None] = self._loop.create_future()
        self._requests[self._token] = future
        return self._token, future

    def settle_request(self, token: int, error: AgentHiveError | None = None) -> None:
        """The request of that token is on disk, or was refused."""
        future = self._requests.pop(token, None)
        if future is None or future.done():
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    def watch_run(self, run: str) -> asyncio.Future[RunStatus]:
        """What ends when the run does, or when it needs somebody."""
        future: asyncio.Future[RunStatus] = self._loop.create_future()
        self._runs.setdefault(run, []).append(future)
        return future

    def notify_run(self, run: str, status: RunStatus) -> None:
        """The run came to that."""
        for future in self._runs.pop(run, ()):
            if not future.done():
                future.set_result(status)

    def fail_all(self, error: AgentHiveError) -> None:
        """Nothing more will happen: everybody gets the error."""
        for token in list(self._requests):
            self.settle_request(token, error)
        for run in list(self._runs):
            for future in self._runs.pop(run):
                if not future.done():
                    future.set_exception(error)
                    future.exception()
