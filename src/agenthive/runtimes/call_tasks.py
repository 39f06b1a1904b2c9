"""The calls in progress of the embedded runtime: they are made, timed out, cancelled, reported.

One asyncio task makes calls until one of them waits for something. That call keeps the task, and a
new task makes the remaining calls. So a call that waits has a task of its own, and a thousand calls
that do not wait share one task and its context variables. This saves the cost of a task for each
call of a local function.

Nothing is decided here. Each call that ends is reported to ``on_call_ended``, also if it timed out
or was cancelled; only the calls of a runtime that stops are not. A call that timed out while a
thread works for it is reported when the thread has ended, or after `MAX_THREAD_WAIT`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from concurrent.futures import Future
from typing import Any, TypeAlias

import msgspec

from agenthive.core.engine.actions import PerformCall
from agenthive.core.model.calls import Fault, Reply
from agenthive.core.model.workflow import AgentSpec
from agenthive.core.policies.fault_classes import FaultClass
from agenthive.core.ports import Agent, Agents
from agenthive.core.values import SECOND, JSONValue
from agenthive.errors import AgentHiveError
from agenthive.infra.heartbeat import HEARTBEAT_LISTENER, TEXT_LISTENER
from agenthive.infra.thread_calls import WorkContinues, WorkNotBegun
from agenthive.runtimes.output_validation import validate_output
from agenthive.runtimes.stream_listeners import Piece, StreamListeners

CallId: TypeAlias = tuple[str, str, int]
"""Run id, task key, attempt."""
OnCallEnded: TypeAlias = Callable[[CallId, Reply | None], None]
"""Receives the reply of a call; None if it was cancelled."""
OnProgress: TypeAlias = Callable[[CallId, JSONValue], None]
"""Receives the progress that an agent reports with a heartbeat."""
CacheLookup: TypeAlias = Callable[[str], Awaitable[Reply | None]]
"""Cache key -> the cached reply, or None."""

MAX_BEAT_INTERVAL = 5.0
"""Seconds between reports of progress that are journaled; at most half the heartbeat time-out."""
MAX_THREAD_WAIT = 60.0
"""Seconds that a call which timed out waits for its thread to end. If the thread still runs then,
the task is not called again."""


def _unknown_reply(kind: str, message: str) -> Reply:
    return Reply(fault=Fault(kind=kind, message=message, class_=FaultClass.UNKNOWN))


SILENCE_REPLY = _unknown_reply("timeout", "no heartbeat")
TIMEOUT_REPLY = _unknown_reply("timeout", "Request timeout")
_ABANDONED_REPLY = _unknown_reply("agent_error", "the agent cancelled its own call")
MAX_CACHED_AGENTS = 1000
"""Agents that are kept by spec, so that the registry is not searched for every call."""


class _ActiveCall(msgspec.Struct):
    """One call in progress."""

    action: PerformCall
    #: Ends the call when its time-out is over; None without a time-out.
    timeout_timer: asyncio.TimerHandle | None
    #: Ends the call when no heartbeat comes; None if none is required.
    silence_timer: asyncio.TimerHandle | None = None
    #: Loop time in seconds at which progress was last passed on.
    last_reported: float = 0.0
    #: The task that makes the call; None until it begins.
    task: asyncio.Task[None] | None = None
    #: Whether the call was ended from outside; then `final_reply` is its reply.
    settled: bool = False
    #: The reply of a call that timed out; None for one that was cancelled.
    final_reply: Reply | None = None


class CallTasks:
    """Makes calls on ``loop`` with the agents that ``agents`` finds."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        agents: Agents,
        on_call_ended: OnCallEnded,
        on_progress: OnProgress,
        find_cached: CacheLookup,
    ) -> None:
        self._loop, self._agents, self._on_call_ended = loop, agents, on_call_ended
        self.listeners = StreamListeners()
        self._on_progress, self._find_cached = on_progress, find_cached
        #: All calls that have not ended.
        self._calls: dict[CallId, _ActiveCall] = {}
        #: Those of them that have not begun, in order.
        self._due_calls: deque[tuple[CallId, _ActiveCall]] = deque()
        #: The task that makes the due calls; None if there is none.
        self._caller_task: asyncio.Task[None] | None = None
        #: Identity of a spec -> the spec (which keeps the identity in use) and its agent.
        self._agent_cache: dict[int, tuple[AgentSpec, Agent]] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def start_call(self, action: PerformCall) -> None:
        """Make a call as soon as the loop is free."""
        call = action.call
        key = (call.run, call.task, call.attempt)
        timeout_timer: asyncio.TimerHandle | None = None
        if action.timeout is not None:
            seconds = action.timeout / SECOND
            timeout_timer = self._loop.call_later(seconds, self.end_call, key, TIMEOUT_REPLY)
        active_call = self._calls[key] = _ActiveCall(action, timeout_timer)
        self._due_calls.append((key, active_call))
        if self._caller_task is None:
            self._start_caller()

    def end_call(self, key: CallId, final_reply: Reply | None = None) -> None:
        """End a call in progress with this reply; without one, it counts as cancelled."""
        call = self._calls.get(key)
        if call is None or call.settled:
            return
        call.settled, call.final_reply = True, final_reply
        if call.task is not None:
            call.task.cancel()

    def cancel(self) -> list[asyncio.Task[None]]:
        """Cancel all calls without reporting them; returns the tasks that are still to end."""
        for key, call in self._due_calls:
            del self._calls[key]
            if call.timeout_timer is not None:
                call.timeout_timer.cancel()
        self._due_calls.clear()
        tasks = [call.task for call in self._calls.values() if call.task is not None]
        for task in tasks:
            task.cancel()
        return tasks

    # The tasks that make calls.

    def _start_caller(self) -> None:
        self._caller_task = self._loop.create_task(self._make_calls(), name="agenthive-calls")

    async def _make_calls(self) -> None:
        continuation: _Continuation | None = None
        try:
            continuation = self._make_until_wait()
        finally:
            self._caller_task = None
            if self._due_calls:
                self._start_caller()
        if continuation is not None:
            await continuation

    def _make_until_wait(self) -> _Continuation | None:
        """Make due calls until one waits; returns the rest of that call, None if none waits."""
        current_task = asyncio.current_task()
        assert current_task is not None
        while self._due_calls and not current_task.cancelling():
            key, call = self._due_calls.popleft()
            call.task = current_task
            coroutine = self._make_call(key, call)
            try:
                awaited = coroutine.send(None)
            except StopIteration:
                continue
            return _Continuation(coroutine, awaited)
        return None

    async def _make_call(self, key: CallId, call: _ActiveCall) -> None:
        reply: Reply | None
        try:
            if call.settled:
                reply = _not_begun(call.final_reply)
            elif call.action.is_plain:
                reply = await self._find_agent(call.action.agent).perform(call.action.call)
            else:
                reply = await self._perform_call(key, call)
        except asyncio.CancelledError as error:
            assert call.task is not None
            if not call.settled and call.task.cancelling():
                raise
            # Not cancelled by this class: the agent cancelled what it was waiting for.
            reply = call.final_reply if call.settled else _ABANDONED_REPLY
            if isinstance(error, WorkNotBegun):
                reply = _not_begun(reply)
            elif isinstance(error, WorkContinues) and reply is not None:
                reply = await _wait_for_thread(error.work, reply)
        except Exception as error:
            reply = Reply(fault=_exception_fault(error))
        finally:
            del self._calls[key]
            if call.timeout_timer is not None:
                call.timeout_timer.cancel()
            if call.silence_timer is not None:
                call.silence_timer.cancel()
        self._on_call_ended(key, reply)

    async def _perform_call(self, key: CallId, call: _ActiveCall) -> Reply:
        action = call.action
        if action.cache_key:
            cached_reply = await self._find_cached(action.cache_key)
            if cached_reply is not None:
                return cached_reply
        if action.heartbeat is not None:
            self._watch_heartbeat(key, call, action.heartbeat / SECOND)
        # Calls that do not wait share a context: the next call must not stream to this listener.
        context_token = TEXT_LISTENER.set(
            self._stream_callback(key) if action.is_streamed else None
        )
        try:
            reply = await self._find_agent(action.agent).perform(action.call)
        finally:
            TEXT_LISTENER.reset(context_token)
        return validate_output(reply, action.call) if action.needs_validation else reply

    def _stream_callback(self, key: CallId) -> Callable[[str], None]:
        run, task, attempt = key

        def publish_text(text: str) -> None:
            if text:
                self.listeners.publish_piece(run, Piece(task, attempt, text))

        return publish_text

    def _watch_heartbeat(self, key: CallId, call: _ActiveCall, seconds: float) -> None:
        def report_beat(progress: JSONValue) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the runtime has stopped
                self._loop.call_soon_threadsafe(self._record_beat, key, seconds, progress)

        HEARTBEAT_LISTENER.set(report_beat)
        call.silence_timer = self._loop.call_later(seconds, self.end_call, key, SILENCE_REPLY)

    def _record_beat(self, key: CallId, seconds: float, progress: JSONValue) -> None:
        """Restart the heartbeat time-out of a call, and pass its progress on if that is due."""
        call = self._calls.get(key)
        if call is None or call.settled or call.silence_timer is None:
            return
        call.silence_timer.cancel()
        call.silence_timer = self._loop.call_later(seconds, self.end_call, key, SILENCE_REPLY)
        now = self._loop.time()
        if progress is not None and now - call.last_reported >= min(seconds / 2, MAX_BEAT_INTERVAL):
            call.last_reported = now
            self._on_progress(key, progress)

    def _find_agent(self, spec: AgentSpec) -> Agent:
        entry = self._agent_cache.get(id(spec))
        if entry is None:
            if len(self._agent_cache) >= MAX_CACHED_AGENTS:
                self._agent_cache.clear()
            try:
                agent = self._agents.find_agent(spec)
            except Exception as error:
                raise _AgentMissing from error
            entry = self._agent_cache[id(spec)] = (spec, agent)
        return entry[1]


class _AgentMissing(Exception):
    """No agent could be made for a call; the cause says why."""


def _exception_fault(error: BaseException) -> Fault:
    """The fault for what was raised instead of a reply."""
    class_, counts = FaultClass.UNKNOWN, True
    kind = "agent_error"
    if isinstance(error, _AgentMissing) and error.__cause__ is not None:
        error = error.__cause__
        class_, counts = FaultClass.NOT_SENT, False
        kind = "unregistered" if isinstance(error, AgentHiveError) else kind
    elif isinstance(error, NotImplementedError):
        class_, counts = FaultClass.BAD_END, False
    message = f"{type(error).__name__}: {error}"
    return Fault(kind=kind, message=message, counts=counts, class_=class_)


def _not_begun(reply: Reply | None) -> Reply | None:
    """The reply of a call that was ended before the agent had begun with it."""
    if reply is None or reply.fault is None:
        return reply
    # The slots were given to the call too early; the endpoint has nothing to do with it.
    fault = msgspec.structs.replace(reply.fault, class_=FaultClass.NOT_SENT, counts=False)
    return Reply(fault=fault)


async def _wait_for_thread(work: Future[Any], reply: Reply) -> Reply:
    """The reply of a call that timed out, once its thread has ended: it keeps its slots until then.

    So no other attempt runs beside the thread. A thread that does not end is given up.
    """
    ended = asyncio.wrap_future(work)
    ended.add_done_callback(lambda done: done.cancelled() or done.exception())
    await asyncio.wait({ended}, timeout=MAX_THREAD_WAIT)
    if ended.done() or reply.fault is None:
        return reply
    message = (
        f"{reply.fault.message}; the function still runs {MAX_THREAD_WAIT:.0f} s later, so it is "
        "not called again: give it a time-out of its own, or make it async"
    )
    fault = msgspec.structs.replace(reply.fault, message=message, retriable=False)
    return Reply(fault=fault)


class _Continuation:
    """Awaits the rest of a coroutine that has already run to its first wait."""

    __slots__ = ("_coroutine", "_first_awaited")

    def __init__(self, coroutine: Coroutine[Any, Any, None], first_awaited: object) -> None:
        self._coroutine, self._first_awaited = coroutine, first_awaited

    def __await__(self) -> Generator[object, Any, None]:
        coroutine, awaited = self._coroutine, self._first_awaited
        try:
            while True:
                try:
                    result = yield awaited
                except BaseException as error:
                    awaited = coroutine.throw(error)
                else:
                    awaited = coroutine.send(result)
        except StopIteration:
            return
        finally:
            coroutine.close()
