"""The calls that are under way in the embedded runtime: made, bounded, stopped, heard.

One asyncio task makes calls until one of them has to wait; that call keeps the task, and what is
left goes on in a new one. So a call that waits has a task to itself, and a thousand that do not
wait share one (and its context variables). Decides nothing: every call that ends is told to
``heard``, also if it timed out or was stopped, but not those of a runtime that is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, TypeAlias

import msgspec

from agenthive.core.engine.actions import Perform
from agenthive.core.model.calls import Fault, Reply
from agenthive.core.model.workflow import AgentSpec
from agenthive.core.ports import Agent, Agents
from agenthive.core.values import SECOND, JSONValue
from agenthive.errors import AgentHiveError
from agenthive.infra.heartbeat import HEARER, LISTENER
from agenthive.runtimes.output_validation import conforming
from agenthive.runtimes.stream_listeners import Listeners, Piece

CallId: TypeAlias = tuple[str, str, int]
Heard: TypeAlias = Callable[[CallId, Reply | None], None]

Progressed: TypeAlias = Callable[[CallId, JSONValue], None]
Lookup: TypeAlias = Callable[[str], Awaitable[Reply | None]]

MOST_OFTEN = 5.0
"""Seconds between signs of life that are journaled, at most half of how long silence may last."""
SILENT = Reply(fault=Fault(kind="timeout", message="no sign of life"))
TIMEOUT = Reply(fault=Fault(kind="timeout", message="Request timeout"))
_ABANDONED = Reply(fault=Fault(kind="agent_error", message="the agent gave up", counts=False))
MOST_FOUND = 1000
"""Agents that are looked up without asking again."""


class _Call(msgspec.Struct):
    """One call. ``verdict`` is what it comes to, once that is settled from outside.

    ``silence`` ends it when no sign of life comes; ``told`` is when one was last passed on.
    """

    perform: Perform
    expiry: asyncio.TimerHandle | None
    silence: asyncio.TimerHandle | None = None
    told: float = 0.0
    task: asyncio.Task[None] | None = None
    settled: bool = False
    verdict: Reply | None = None


class Calls:
    """Makes calls on ``loop`` with what ``agents`` finds."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        agents: Agents,
        heard: Heard,
        progressed: Progressed,
        cached: Lookup,
    ) -> None:
        self._loop, self._agents, self._heard = loop, agents, heard
        self.listeners = Listeners()
        self._progressed, self._cached = progressed, cached
        self._calls: dict[CallId, _Call] = {}
        self._due: deque[tuple[CallId, _Call]] = deque()
        self._maker: asyncio.Task[None] | None = None
        self._found: dict[int, tuple[AgentSpec, Agent]] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def make(self, perform: Perform) -> None:
        """Make a call as soon as the loop is free for it."""
        call = perform.call
        key = (call.run, call.task, call.attempt)
        expiry: asyncio.TimerHandle | None = None
        if perform.timeout is not None:
            seconds = perform.timeout / SECOND
            expiry = self._loop.call_later(seconds, self.end, key, TIMEOUT)
        made = self._calls[key] = _Call(perform, expiry)
        self._due.append((key, made))
        if self._maker is None:
            self._hand_over()

    def end(self, key: CallId, verdict: Reply | None = None) -> None:
        """Cancel a call under way: it timed out, or (no verdict) it is not wanted any more."""
        call = self._calls.get(key)
        if call is None or call.settled:
            return
        call.settled, call.verdict = True, verdict
        if call.task is not None:
            call.task.cancel()

    def cancel(self) -> list[asyncio.Task[None]]:
        """Cancel all calls; nothing more is heard of them. The tasks that then come to an end."""
        for key, call in self._due:
            del self._calls[key]
            if call.expiry is not None:
                call.expiry.cancel()
        self._due.clear()
        tasks = [call.task for call in self._calls.values() if call.task is not None]
        for task in tasks:
            task.cancel()
        return tasks

    # The tasks that make calls.

    def _hand_over(self) -> None:
        self._maker = self._loop.create_task(self._make_calls(), name="agenthive-calls")

    async def _make_calls(self) -> None:
        rest: _Rest | None = None
        try:
            rest = self._until_one_waits()
        finally:
            self._maker = None
            if self._due:
                self._hand_over()
        if rest is not None:
            await rest

    def _until_one_waits(self) -> _Rest | None:
        """Make calls that are due; what is left to do of the first that waits for something."""
        me = asyncio.current_task()
        assert me is not None
        while self._due and not me.cancelling():
            key, call = self._due.popleft()
            call.task = me
            made = self._make(key, call)
            try:
                waits_for = made.send(None)
            except StopIteration:
                continue
            return _Rest(made, waits_for)
        return None

    async def _make(self, key: CallId, call: _Call) -> None:
        reply: Reply | None
        try:
            if call.settled:
                reply = call.verdict
            elif call.perform.plain:
                reply = await self._agent(call.perform.agent).perform(call.perform.call)
            else:
                reply = await self._reply(key, call)
        except asyncio.CancelledError:
            assert call.task is not None
            if not call.settled and call.task.cancelling():
                raise
            # If nobody here cancelled it, the agent itself dropped what it was waiting for.
            reply = call.verdict if call.settled else _ABANDONED
        except Exception as error:
            kind = "unregistered" if isinstance(error, AgentHiveError) else "agent_error"
            message = f"{type(error).__name__}: {error}"
            reply = Reply(fault=Fault(kind=kind, message=message, counts=False))
        finally:
            del self._calls[key]
            if call.expiry is not None:
                call.expiry.cancel()
            if call.silence is not None:
                call.silence.cancel()
        self._heard(key, reply)

    async def _reply(self, key: CallId, call: _Call) -> Reply:
        perform = call.perform
        if perform.cache:
            known = await self._cached(perform.cache)
            if known is not None:
                return known
        if perform.heartbeat is not None:
            self._listen(key, call, perform.heartbeat / SECOND)
        # Calls that do not wait share a context: what the next one says is not this one's.
        hearer = HEARER.set(self._hearer(key) if perform.streams else None)
        try:
            reply = await self._agent(perform.agent).perform(perform.call)
        finally:
            HEARER.reset(hearer)
        return conforming(reply, perform.call) if perform.checked else reply

    def _hearer(self, key: CallId) -> Callable[[str], None]:
        run, task, attempt = key

        def hear(text: str) -> None:
            if text:
                self.listeners.tell(run, Piece(task, attempt, text))

        return hear

    def _listen(self, key: CallId, call: _Call, seconds: float) -> None:
        def beat(progress: JSONValue) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is there to hear
                self._loop.call_soon_threadsafe(self._beat, key, seconds, progress)

        LISTENER.set(beat)
        call.silence = self._loop.call_later(seconds, self.end, key, SILENT)

    def _beat(self, key: CallId, seconds: float, progress: JSONValue) -> None:
        call = self._calls.get(key)
        if call is None or call.settled or call.silence is None:
            return
        call.silence.cancel()
        call.silence = self._loop.call_later(seconds, self.end, key, SILENT)
        now = self._loop.time()
        if progress is not None and now - call.told >= min(seconds / 2, MOST_OFTEN):
            call.told = now
            self._progressed(key, progress)

    def _agent(self, spec: AgentSpec) -> Agent:
        found = self._found.get(id(spec))
        if found is None:
            if len(self._found) >= MOST_FOUND:
                self._found.clear()
            found = self._found[id(spec)] = (spec, self._agents.find(spec))
        return found[1]


class _Rest:
    """Awaits the rest of a coroutine that has already run up to its first wait."""

    __slots__ = ("_first", "_rest")

    def __init__(self, rest: Coroutine[Any, Any, None], first: object) -> None:
        self._rest, self._first = rest, first

    def __await__(self) -> Generator[object, Any, None]:
        rest, waits_for = self._rest, self._first
        try:
            while True:
                try:
                    answer = yield waits_for
                except BaseException as error:
                    waits_for = rest.throw(error)
                else:
                    waits_for = rest.send(answer)
        except StopIteration:
            return
        finally:
            rest.close()
