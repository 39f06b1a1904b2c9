"""Custom agents: functions and callable objects, sync and async."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import functools
import math
import threading
from typing import Any

import httpx2
import pytest

from agenthive.agents import python, results
from agenthive.agents.base import AgentResponse
from agenthive.agents.python import FunctionAgent, NonRetryableError
from agenthive.core.model.calls import Call, Fault, Reply
from agenthive.core.model.workflow import AgentSpec
from agenthive.core.policies.fault_classes import FaultClass
from agenthive.errors import ConfigurationError
from agenthive.infra.thread_calls import WorkContinues
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
            return "x" * (results.MAX_RESULT + 1)
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


async def test_a_cancelled_sync_function_lets_the_caller_go_and_says_that_it_runs() -> None:
    go, ended = threading.Event(), threading.Event()

    def stubborn() -> None:
        go.wait(10)
        ended.set()

    seen: list[BaseException] = []

    async def perform() -> None:
        try:
            await FunctionAgent(SPEC, stubborn).perform(asked())
        except asyncio.CancelledError as error:
            seen.append(error)
            raise

    call = asyncio.ensure_future(perform())
    await asyncio.sleep(0.05)
    call.cancel()
    await asyncio.wait({call}, timeout=1)
    assert call.cancelled()
    assert [type(error) for error in seen] == [WorkContinues]
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


def half_written() -> None:
    """A TypeError from within: the function ran."""
    len(5)  # type: ignore[arg-type]


def positional(parameters: Any, /) -> None:
    """It cannot be called with named arguments."""


@functools.wraps(half_written)
def wrapped(*values: Any) -> None:
    half_written()


NOT_SENT, REFUSED, BAD_END, UNKNOWN = FaultClass
FAILURES: list[tuple[Any, str, str, FaultClass]] = [
    (raising(ValueError("odd")), "agent_error", "ValueError: odd", UNKNOWN),
    (raising(KeyError("x")), "agent_error", "KeyError: 'x'", UNKNOWN),
    (raising(ConfigurationError("x")), "agent_error", "ConfigurationError: x", UNKNOWN),
    (raising(httpx2.ConnectError("x")), "agent_error", "ConnectError: x", UNKNOWN),
    (raising(TimeoutError("x")), "agent_error", "TimeoutError: x", UNKNOWN),
    (raising(NonRetryableError("never")), "agent_error", "never", BAD_END),
    (raising(NotImplementedError("later")), "agent_error", "later", BAD_END),
    (half_written, "agent_error", "TypeError: object of type 'int'", UNKNOWN),
    (wrapped, "agent_error", "TypeError: object of type 'int'", UNKNOWN),
    (positional, "refused", "positional cannot be called", BAD_END),
    (lambda: object(), "invalid_reply", "it ran, and its result cannot be kept", BAD_END),
    (lambda: math.nan, "invalid_reply", "result: NaN cannot be kept", BAD_END),
    (lambda: AgentResponse(success=False, error="no"), "agent_error", "no", UNKNOWN),
    (lambda: AgentResponse(success=False), "agent_error", "gave no reason", UNKNOWN),
    (lambda: AgentResponse(success=True, result=math.inf), "invalid_reply", "inf", BAD_END),
    (lambda: "x" * (results.MAX_RESULT + 1), "invalid_reply", "larger than", BAD_END),
]


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(("function", "kind", "words", "class_"), FAILURES)
async def test_failures(
    function: Any, kind: str, words: str, class_: FaultClass, is_async: bool
) -> None:
    async def wait_for(call: Call) -> Any:
        return function()

    if is_async and function is positional:
        return
    one = FunctionAgent(SPEC, wait_for if is_async else function)
    fault = (await one.perform(asked())).fault
    assert fault is not None
    assert (fault.kind, fault.class_) == (kind, class_)
    assert fault.counts is (class_ is UNKNOWN)
    assert words in fault.message
    response = await one.execute("do", {})
    assert not response.success
    assert response.error == fault.message


async def test_a_fault_of_the_function_is_passed_on() -> None:
    mine = Fault(kind="lost", message="mine")
    assert (await FunctionAgent(SPEC, lambda: Reply(fault=mine)).perform(asked())).fault == mine


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
