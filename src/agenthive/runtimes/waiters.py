"""Futures of the callers that wait for the embedded runtime: for a request, or for a run to end.

`EmbeddedRuntime` reports what has happened, and the futures of that token or run are resolved.
"""

from __future__ import annotations

import asyncio

from agenthive.core.model.states import RunStatus
from agenthive.errors import AgentHiveError


class Waiters:
    """Futures on ``loop``. One that its caller has cancelled is left alone."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        #: The token that was given out last.
        self._token = 0
        #: Token -> future of a request that is not on disk yet.
        self._requests: dict[int, asyncio.Future[None]] = {}
        #: Run id -> futures of its end.
        self._runs: dict[str, list[asyncio.Future[RunStatus]]] = {}

    def add_request(self) -> tuple[int, asyncio.Future[None]]:
        """A token for a request, and a future that is done when the request is on disk."""
        self._token += 1
        future: asyncio.Future[None] = self._loop.create_future()
        self._requests[self._token] = future
        return self._token, future

    def settle_request(self, token: int, error: AgentHiveError | None = None) -> None:
        """Resolve the request of that token: it is on disk, or it failed with ``error``."""
        future = self._requests.pop(token, None)
        if future is None or future.done():
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    def watch_run(self, run: str) -> asyncio.Future[RunStatus]:
        """A future that is done when the run ends or waits for help."""
        future: asyncio.Future[RunStatus] = self._loop.create_future()
        self._runs.setdefault(run, []).append(future)
        return future

    def notify_run(self, run: str, status: RunStatus) -> None:
        """Resolve the futures of a run with its status."""
        for future in self._runs.pop(run, ()):
            if not future.done():
                future.set_result(status)

    def fail_run(self, run: str, error: AgentHiveError) -> None:
        """The run was set apart: its futures fail with the error."""
        for future in self._runs.pop(run, ()):
            if not future.done():
                future.set_exception(error)
                future.exception()

    def fail_all(self, error: AgentHiveError) -> None:
        """The runtime has stopped: every future fails with the error."""
        for token in list(self._requests):
            self.settle_request(token, error)
        for run in list(self._runs):
            for future in self._runs.pop(run):
                if not future.done():
                    future.set_exception(error)
                    future.exception()
