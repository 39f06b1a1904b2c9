"""Holds a session open in a task of its own, for packages that must close it where it was opened.

The MCP SDK builds on anyio's task groups, which must be left by the task that entered them, while
calls come from any task. So a `SessionOwner` has one task that opens the session, waits, and closes
it; calls use the client from their own tasks.

A session is *retired* when it takes no more calls: on `close`, on the loss of the peer, after an
idle time, or when a cancelled call may have left it unusable. A retired session ends when its last
call has ended. A call that is cancelled ends within `GIVE_UP` seconds; if the peer does not respond
to anything afterwards, it is killed. Never reconnects: the agent creates another `SessionOwner`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Final, Generic, Protocol, TypeVar

C = TypeVar("C")
C_co = TypeVar("C_co", covariant=True)

#: Seconds that a cancelled call has to end before the peer is killed.
GIVE_UP: Final = 1.0
#: Seconds that the peer has to respond to a ping after a call was cancelled.
PROOF_OF_LIFE: Final = 5.0
#: Seconds that an orderly close may take.
CLOSING: Final = 5.0


class ConnectionLost(Exception):
    """The session ended before it could be used."""


class Peer(Protocol[C_co]):
    """The other side of a session: a command that runs, or an address."""

    async def open(self, stack: AsyncExitStack) -> C_co:
        """Connect, push the clean-up on ``stack``, and return the client."""
        ...

    async def wait_lost(self) -> None:
        """Return when the peer can take no more requests."""
        ...

    def describe_end(self) -> str:
        """How the session ended, as part of an error message."""
        ...

    def kill(self) -> None:
        """End the peer at once."""
        ...


class SessionOwner(Generic[C]):
    """One session, whose opening begins at once.

    ``start_timeout`` is the seconds that opening may take; after ``idle_timeout`` seconds without a
    call the session is closed. ``ping`` is a request that any living peer responds to, be it with
    an error. It is needed where all calls share one pipe, so that one of them can block the others.
    """

    def __init__(
        self,
        peer: Peer[C],
        start_timeout: float,
        idle_timeout: float,
        ping: Callable[[C], Awaitable[object]] | None = None,
    ) -> None:
        self.peer = peer
        self.ping = ping
        #: Whether the session takes no more calls.
        self.retired = False
        self._start_timeout, self._idle_timeout = start_timeout, idle_timeout
        self._idle_timer: asyncio.TimerHandle | None = None
        #: The number of calls in flight.
        self._calls = 0
        #: Set when the owner is to close the session.
        self._stop = asyncio.Event()
        #: The client, or the error that prevented it. Not an exception of the future: one that no
        #: call awaits would be logged.
        self._ready: asyncio.Future[C | Exception] = asyncio.get_running_loop().create_future()
        self._alive_check: asyncio.Task[None] | None = None
        #: The task that opens and closes the session.
        self.owner = asyncio.create_task(self._run_owner())

    async def wait_ready(self) -> C:
        """The client, once the session is open. Raises the error that prevented it."""
        client = await asyncio.shield(self._ready)
        if isinstance(client, Exception):
            raise client
        return client

    async def run(self, work: Awaitable[Any]) -> Any:
        """Run one call. If it is cancelled and does not end in time, the peer is killed."""
        self._calls += 1
        self._cancel_idle_timer()
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            await self._abandon_call(task)
            raise
        finally:
            self._calls -= 1
            self._update_idle_timer()
        return task.result()

    def retire(self) -> None:
        """Take no more calls, and close when those in flight have ended."""
        self.retired = True
        self._update_idle_timer()

    async def close(self) -> None:
        """Close the session now: in order if possible within `CLOSING` seconds, else by force."""
        self.retired = True
        self._stop.set()
        if self._ready.done():
            await asyncio.wait({self.owner}, timeout=CLOSING)
        self.owner.cancel()
        await asyncio.wait({self.owner})

    def _update_idle_timer(self) -> None:
        if self._calls:
            return
        if self.retired:
            self._stop.set()
        else:
            self._cancel_idle_timer()
            self._idle_timer = asyncio.get_running_loop().call_later(
                self._idle_timeout, self.retire
            )

    def _cancel_idle_timer(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()

    async def _abandon_call(self, task: asyncio.Future[Any]) -> None:
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        task.cancel()
        await asyncio.wait({task}, timeout=GIVE_UP)
        if not task.done():
            self._kill_peer()
        elif self.ping is None:
            self.retired = True  # The call may hold a connection until the session is closed.
        elif self._alive_check is None:
            self._alive_check = asyncio.create_task(self._check_alive(self.ping))

    async def _check_alive(self, ping: Callable[[C], Awaitable[object]]) -> None:
        """Kill the peer if it does not respond any more: the cancelled call may block its pipe."""
        client = await self.wait_ready()
        try:
            await asyncio.wait_for(ping(client), PROOF_OF_LIFE)
        except TimeoutError:
            if not self._calls:
                self._kill_peer()
        except Exception:
            return  # An error is a response too.
        finally:
            self._alive_check = None

    def _kill_peer(self) -> None:
        self.retired = True
        self.peer.kill()
        self._stop.set()

    async def _run_owner(self) -> None:
        try:
            async with AsyncExitStack() as stack:
                await self._hold_open(stack)
        except Exception as error:
            self._set_ready(error)
        finally:
            self.retired = True
            self._cancel_idle_timer()
            self._set_ready(ConnectionLost())
            if self._alive_check is not None:
                self._alive_check.cancel()

    async def _hold_open(self, stack: AsyncExitStack) -> None:
        async with asyncio.timeout(self._start_timeout):
            client = await self.peer.open(stack)
        self._set_ready(client)
        self._update_idle_timer()
        waiters = [
            asyncio.ensure_future(waiter) for waiter in (self._stop.wait(), self.peer.wait_lost())
        ]
        try:
            await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.retired = True
            for waiter in waiters:
                waiter.cancel()

    def _set_ready(self, client: C | Exception) -> None:
        if not self._ready.done():
            self._ready.set_result(client)
