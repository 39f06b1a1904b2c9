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


class Lost(Exception):
    """The connection ended before it could be used."""


class Peer(Protocol[C_co]):
    """The other side of a connection: a command that runs, or an address."""

    async def open(self, stack: AsyncExitStack) -> C_co:
        """Connect, and put on the stack how to disconnect."""
        ...

    async def lost(self) -> None:
        """Ends when nothing can be asked any more."""
        ...

    def story(self) -> str:
        """What is known of how it ended."""
        ...

    def kill(self) -> None:
        """Stop everything at once."""
        ...


class Held(Generic[C]):
    """One connection, opened at once. ``over`` once it takes no more calls.

    ``ping`` ends, or fails, when the other side has answered anything. It is needed where all calls
    go through one pipe, so that one of them can block the others. After ``idle`` seconds without a
    call the connection is closed.
    """

    def __init__(
        self,
        peer: Peer[C],
        start_timeout: float,
        idle: float,
        ping: Callable[[C], Awaitable[object]] | None = None,
    ) -> None:
        self.peer = peer
        self.ping = ping
        self.over = False
        self._start, self._idle = start_timeout, idle
        self._rest: asyncio.TimerHandle | None = None
        self._calls = 0
        self._stop = asyncio.Event()
        self._ready: asyncio.Future[C | Exception] = asyncio.get_running_loop().create_future()
        self._doubt: asyncio.Task[None] | None = None
        self.owner = asyncio.create_task(self._own())

    async def ready(self) -> C:
        """The client, once the other side has answered. Raises what kept it from that."""
        client = await asyncio.shield(self._ready)
        if isinstance(client, Exception):
            raise client
        return client

    async def run(self, work: Awaitable[Any]) -> Any:
        """Wait for one call. Cancelled: it is told so, and killed if it does not hear."""
        self._calls += 1
        self._wake()
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            await self._give_up(task)
            raise
        finally:
            self._calls -= 1
            self._settle()
        return task.result()

    def retire(self) -> None:
        """Take no more calls; close when those under way have ended."""
        self.over = True
        self._settle()

    async def close(self) -> None:
        """End it now."""
        self.over = True
        self._stop.set()
        if self._ready.done():
            await asyncio.wait({self.owner}, timeout=CLOSING)
        self.owner.cancel()
        await asyncio.wait({self.owner})

    def _settle(self) -> None:
        if self._calls:
            return
        if self.over:
            self._stop.set()
        else:
            self._wake()
            self._rest = asyncio.get_running_loop().call_later(self._idle, self.retire)

    def _wake(self) -> None:
        if self._rest is not None:
            self._rest.cancel()

    async def _give_up(self, task: asyncio.Future[Any]) -> None:
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        task.cancel()
        await asyncio.wait({task}, timeout=GIVE_UP)
        if not task.done():
            self._kill()
        elif self.ping is None:
            self.over = True  # the call may still hold a connection, until this one is closed
        elif self._doubt is None:
            self._doubt = asyncio.create_task(self._check(self.ping))

    async def _check(self, ping: Callable[[C], Awaitable[object]]) -> None:
        """Is it still there? One that a cancelled call has hung serves nobody any more."""
        client = await self.ready()
        try:
            await asyncio.wait_for(ping(client), PROOF_OF_LIFE)
        except TimeoutError:
            if not self._calls:
                self._kill()
        except Exception:
            return  # an error is an answer too
        finally:
            self._doubt = None

    def _kill(self) -> None:
        self.over = True
        self.peer.kill()
        self._stop.set()

    async def _own(self) -> None:
        try:
            async with AsyncExitStack() as stack:
                await self._serve(stack)
        except Exception as error:
            self._begin(error)
        finally:
            self.over = True
            self._wake()
            self._begin(Lost())
            if self._doubt is not None:
                self._doubt.cancel()

    async def _serve(self, stack: AsyncExitStack) -> None:
        async with asyncio.timeout(self._start):
            client = await self.peer.open(stack)
        self._begin(client)
        self._settle()
        waits = [asyncio.ensure_future(wait) for wait in (self._stop.wait(), self.peer.lost())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.over = True
            for wait in waits:
                wait.cancel()

    def _begin(self, client: C | Exception) -> None:
        if not self._ready.done():
            self._ready.set_result(client)
