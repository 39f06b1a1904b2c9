"""A connection that a task of its own holds open, for packages that want it closed by its opener.

Calls come from any task. When the connection is lost, or takes no more calls, it is closed for all.
A call that is cancelled ends within `GIVE_UP`; a server that it leaves mute serves nobody and is
killed. Never reconnects: whoever needs another one makes another one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Final, Generic, Protocol, TypeVar

C = TypeVar("C")
C_co = TypeVar("C_co", covariant=True)

GIVE_UP: Final = 1.0
"""Seconds a call may take to end after it was cancelled, before the other side is killed."""
PROOF_OF_LIFE: Final = 5.0
"""Seconds the other side has to answer anything, after a call to it was cancelled."""
CLOSING: Final = 5.0
"""Seconds that closing in good order may take."""


class ConnectionLost(Exception):
    """The connection ended before it could be used."""


class Peer(Protocol[C_co]):
    """The other side of a connection: a command that runs, or an address."""

    async def open(self, stack: AsyncExitStack) -> C_co:
        """Connect, and put on the stack how to disconnect."""
        ...

    async def wait_lost(self) -> None:
        """Ends when nothing can be asked any more."""
        ...

    def describe_end(self) -> str:
        """What is known of how it ended."""
        ...

    def kill(self) -> None:
        """Stop everything at once."""
        ...


class SessionOwner(Generic[C]):
    """One connection, opened at once. ``over`` once it takes no more calls.

    ``ping`` ends, or fails, when the other side has answered anything. It is needed where all calls
    go through one pipe, so that one of them can block the others. After ``idle_timeout`` seconds
    without a call the connection is closed.
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
        self.retired = False
        self._start_timeout, self._idle_timeout = start_timeout, idle_timeout
        self._idle_timer: asyncio.TimerHandle | None = None
        self._calls = 0
        self._stop = asyncio.Event()
        self._ready: asyncio.Future[C | Exception] = asyncio.get_running_loop().create_future()
        self._alive_check: asyncio.Task[None] | None = None
        self.owner = asyncio.create_task(self._run_owner())

    async def wait_ready(self) -> C:
        """The client, once the other side has answered. Raises what kept it from that."""
        client = await asyncio.shield(self._ready)
        if isinstance(client, Exception):
            raise client
        return client

    async def run(self, work: Awaitable[Any]) -> Any:
        """Wait for one call. Cancelled: it is told so, and killed if it does not hear."""
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
        """Take no more calls; close when those under way have ended."""
        self.retired = True
        self._update_idle_timer()

    async def close(self) -> None:
        """End it now."""
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
            self.retired = True  # the call may still hold a connection, until this one is closed
        elif self._alive_check is None:
            self._alive_check = asyncio.create_task(self._check_alive(self.ping))

    async def _check_alive(self, ping: Callable[[C], Awaitable[object]]) -> None:
        """Is it still there? One that a cancelled call has hung serves nobody any more."""
        client = await self.wait_ready()
        try:
            await asyncio.wait_for(ping(client), PROOF_OF_LIFE)
        except TimeoutError:
            if not self._calls:
                self._kill_peer()
        except Exception:
            return  # an error is an answer too
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
