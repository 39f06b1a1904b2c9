"""Custom agents: functions and callable objects, sync and async."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import functools
import math
import threading
from typing import Any

import pytest

from agenthive.agents import python
from agenthive.agents.base import AgentResponse
from agenthive.agents.python import FunctionAgent, NonRetryableError
from agenthive.core.model.calls import Call, Fault, Reply
from agenthive.core.model.workflow import AgentSpec
from agenthive.errors import ConfigurationError
from agenthive.testing import check_agent
from tests.agents.peers import until

SPEC = AgentSpec(name="f", type="custom", endpoint="custom://f")


def asked(action: str = "do", *, key: str = "k", **parameters: Any) -> Call:
    return Call(
        run="r", task="t", attempt=1, key=key, agent="f", action=action, parameters=parameters
    )


class World:
    """A function that does what its action says, and what it saw."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.given_up = 0

    async def act(self, call: Call) -> Any:
        if call.action == "good":
            self.keys.append(call.key)
            return {"n": 1}
        if call.action == "hang":
            try:
                await asyncio.Event().wait()
            finally:
                self.given_up += 1
        if call.action == "large":
            return "x" * (python.MAX_RESULT + 1)
        raise ValueError("no such thing")

    def act_in_a_thread(self, call: Call) -> Any:
        return asyncio.run(self.act(call))


async def test_the_kit_for_async_functions() -> None:
    world = World()
    await check_agent(
        lambda: FunctionAgent(SPEC, world.act),
        good=asked("good"),
        bad=asked("bad"),
        hanging=asked("hang"),
        large=asked("large"),
        keys=lambda: world.keys,
        stopped=lambda: world.given_up == 1,
    )


async def test_the_kit_for_sync_functions() -> None:
    """Without the call that hangs: a thread cannot be stopped, and the sign says so."""
    world = World()
    await check_agent(
        lambda: FunctionAgent(SPEC, world.act_in_a_thread),
        good=asked("good"),
        bad=asked("bad"),
        hanging=None,
        large=asked("large"),
        keys=lambda: world.keys,
    )


async def test_a_cancelled_sync_function_lets_the_caller_go() -> None:
    go, ended = threading.Event(), threading.Event()

    def stubborn() -> None:
        go.wait(10)
        ended.set()

    call = asyncio.ensure_future(FunctionAgent(SPEC, stubborn).perform(asked()))
    await asyncio.sleep(0.05)
    call.cancel()
    await asyncio.wait({call}, timeout=1)
    assert call.cancelled()
    assert not ended.is_set()
    assert python.has_running_calls()
    go.set()
    assert ended.wait(5)
    await until(lambda: not python.has_running_calls())


@dataclasses.dataclass
class Point:
    x: int
    where: tuple[int, ...] = (1, 2)


class Callable:
    async def __call__(self, parameters: dict[str, Any]) -> Any:
        return parameters["x"]


async def nothing() -> None:
    """Takes nothing, gives nothing."""


FUNCTIONS: list[tuple[Any, Any]] = [
    (lambda parameters: parameters, {"x": 5}),
    (lambda action: action, "do"),
    (lambda call: call.key, "k"),
    (lambda parameters, action, call: [parameters["x"], action, call.attempt], [5, "do", 1]),
    (lambda: None, None),
    (nothing, None),
    (Callable(), 5),
    (functools.partial(Callable().__call__), 5),
    (lambda: nothing(), None),
    (lambda: Point(3), {"x": 3, "where": [1, 2]}),
    (lambda: {1: {2}}, {"1": [2]}),
    (lambda: Reply(result="as it is"), "as it is"),
    (lambda: AgentResponse(success=True, result=[1]), [1]),
    (lambda: threading.current_thread().name.startswith("agenthive-custom"), True),
]


@pytest.mark.parametrize(("function", "result"), FUNCTIONS)
async def test_functions(function: Any, result: Any) -> None:
    reply = await FunctionAgent(SPEC, function).perform(asked(x=5))
    assert reply.fault is None
    assert reply.result == result


def raising(error: BaseException) -> Any:
    def function() -> None:
        raise error

    return function


FAILURES: list[tuple[Any, str, str, bool]] = [
    (raising(ValueError("odd")), "agent_error", "ValueError: odd", True),
    (raising(KeyError("x")), "agent_error", "KeyError: 'x'", True),
    (raising(NonRetryableError("never")), "refused", "never", False),
    (lambda: object(), "agent_error", "unsupported", True),
    (lambda: math.nan, "agent_error", "Out of range", True),
    (lambda: AgentResponse(success=False, error="no"), "agent_error", "no", True),
    (lambda: AgentResponse(success=False), "agent_error", "the agent gave no reason", True),
    (lambda: "x" * (python.MAX_RESULT + 1), "invalid_reply", "larger than", False),
    (lambda: Reply(fault=Fault(kind="lost", message="mine")), "lost", "mine", True),
]


@pytest.mark.parametrize(("function", "kind", "words", "retriable"), FAILURES)
async def test_failures(function: Any, kind: str, words: str, retriable: bool) -> None:
    one = FunctionAgent(SPEC, function)
    fault = (await one.perform(asked())).fault
    assert fault is not None
    assert (fault.kind, fault.retriable) == (kind, retriable)
    assert words in fault.message
    response = await one.execute("do", {})
    assert not response.success
    assert response.error == fault.message


async def test_outside_a_run() -> None:
    assert (await FunctionAgent(SPEC, lambda parameters: parameters).execute("do", {"x": 1})) == (
        AgentResponse(success=True, result={"x": 1})
    )


async def test_a_thread_sees_the_context_of_its_call() -> None:
    who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")
    who.set("the caller")
    assert (await FunctionAgent(SPEC, lambda: who.get()).perform(asked())).result == "the caller"


async def test_many_threads_at_once() -> None:
    """More than asyncio's own executor has on a small machine."""
    together = threading.Barrier(20, timeout=10)
    one = FunctionAgent(SPEC, lambda: together.wait() >= 0)
    replies = await asyncio.gather(*(one.perform(asked()) for _ in range(20)))
    assert [reply.result for reply in replies] == [True] * 20


def test_a_function_that_wants_what_there_is_not() -> None:
    def wants(parameters: Any, weather: Any) -> None: ...

    with pytest.raises(ConfigurationError, match="'wants' has the argument 'weather'") as caught:
        FunctionAgent(SPEC, wants)
    assert caught.value.hint == "It may have the arguments call, action, parameters."


@pytest.mark.parametrize("sync", [True, False])
async def test_function_that_exits_ends_its_own_call_only(sync: bool) -> None:
    def leave() -> None:
        raise SystemExit(7)

    async def leave_async() -> None:
        raise SystemExit(8)

    reply = await FunctionAgent(SPEC, leave if sync else leave_async).perform(asked())
    assert reply.fault is not None
    assert "SystemExit" in reply.fault.message
