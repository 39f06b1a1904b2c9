"""What acts and then answers badly: the table of calls and ends, at the border with the outside.

Each way to answer, for each effect, in one run over real connections. The calls are counted where
they act, not here. The table itself is in docs/explanation/effects.md.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx2
import pytest

from agenthive.agents import faults
from agenthive.agents.mcp import agent as mcp_agent
from agenthive.agents.mcp import transport
from agenthive.agents.python import NonRetryableError
from agenthive.agents.registry import AgentRegistry
from agenthive.core.history.report import TaskReport
from agenthive.core.model.workflow import AgentSpec, Effect, FailureStrategy, TaskSpec, WorkflowSpec
from agenthive.core.policies.circuit_breaker import BreakerPolicy
from agenthive.core.policies.fault_classes import FaultClass
from agenthive.core.policies.retry import RetryPolicy, RetryStrategy
from agenthive.hive import Hive
from agenthive.runtimes import call_tasks
from tests.agents.acting import (
    CLOSE,
    HANG,
    RESET,
    ActingServer,
    Way,
    http,
    rpc_error,
    tool_result,
)

NOT_SENT, REFUSED, BAD_END, UNKNOWN = FaultClass
RETRY = RetryPolicy(max_attempts=2, strategy=RetryStrategy.IMMEDIATE)
PATIENT = BreakerPolicy(failure_threshold=100_000)
TIMEOUT = 0.4


def always(response: bytes) -> Way:
    return lambda count, number: response


def with_rpc(status: int, body: Callable[[int, Any], Any]) -> Way:
    return lambda count, number: http(status, body(count, number))


HALF = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"a": '
HTTP_WAYS: dict[str, tuple[Way, FaultClass | None]] = {
    "200": (always(http(200, {"a": 1})), None),
    **{
        str(status): (always(http(status, {"acted": True}, retry_after="0")), REFUSED)
        for status in (400, 401, 402, 403, 404, 410, 413, 422)
    },
    **{
        str(status): (always(http(status, {"acted": True}, retry_after="0")), UNKNOWN)
        for status in (408, 409, 425, 429, 499, 500, 502, 503, 504, 529)
    },
    "reset-after-acting": (always(RESET), UNKNOWN),
    "closed-after-acting": (always(CLOSE), UNKNOWN),
    "garbage": (always(http(200, "{nope", content_type="application/json")), UNKNOWN),
    "no-http": (always(b"SMTP ready\r\n\r\n"), UNKNOWN),
    "half-a-body": (always(HALF), UNKNOWN),
    "time-out": (always(HANG), UNKNOWN),
    "too-large": (always(http(200, "x" * 5000)), BAD_END),
    "a-large-500": (always(http(500, "x" * 5000)), UNKNOWN),
    "a-large-400": (always(http(400, "x" * 5000)), REFUSED),
    # Moved after acting, and what is there cannot be reached, or does not exist.
    "303-to-nowhere": (always(http(303, location="http://127.0.0.1:9/")), UNKNOWN),
    "307-to-nowhere": (always(http(307, location="http://127.0.0.1:9/")), UNKNOWN),
    "303-to-404": (always(http(303, location="/nothing")), UNKNOWN),
    "303-to-bad-url": (always(http(303, location="http://[")), UNKNOWN),
    # Answers that break off or cannot be decoded: what the status says is enough.
    "half-a-400": (always(HALF.replace(b"200 OK", b"400 Bad")), REFUSED),
    "half-a-500": (always(HALF.replace(b"200 OK", b"500 Bad")), UNKNOWN),
    "no-gzip-400": (always(http(400, "plain", content_encoding="gzip")), REFUSED),
    "no-gzip": (always(http(200, "plain", content_encoding="gzip")), UNKNOWN),
    "half-a-head": (always(b"HTTP/1.1 200 OK\r\ncontent-ty"), UNKNOWN),
    "only-100": (always(b"HTTP/1.1 100 Continue\r\n\r\n"), UNKNOWN),
    "a-bad-chunk": (
        always(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}"),
        UNKNOWN,
    ),
    "204": (always(b"HTTP/1.1 204 No\r\n\r\n"), None),
    "307-to-404": (always(http(307, location="/nothing")), REFUSED),
    "300": (always(http(300)), UNKNOWN),
    "302-to-no-place": (always(http(302)), UNKNOWN),
    "304-after-acting": (always(http(304)), UNKNOWN),
}
#: Ways in which nothing arrives; the endpoint is what matters.
UNSENT = {
    "connection-refused": "http://127.0.0.1:9",
    "no-such-host": "http://no-such-host.invalid",
    "no-tls": "https://{host}",
    "no-secret": "http://127.0.0.1:9",
}
MCP_WAYS: dict[str, tuple[Way, FaultClass | None]] = {
    "fine": (with_rpc(200, tool_result("fine")), None),
    "is-error": (with_rpc(200, tool_result("it failed", failed=True)), BAD_END),
    "too-large": (with_rpc(200, tool_result("x" * 5000)), BAD_END),
    **{f"rpc{code}": (with_rpc(200, rpc_error(code)), REFUSED) for code in range(-32602, -32599)},
    **{
        f"rpc{code}": (with_rpc(200, rpc_error(code)), UNKNOWN)
        for code in (-32603, -32001, -32000, -32700, -32099, 7)
    },
    "400-and-rpc": (with_rpc(400, rpc_error(-32602)), REFUSED),
    "503-and-rpc": (with_rpc(503, rpc_error(-32602)), UNKNOWN),
    "408-and-rpc": (with_rpc(408, rpc_error(-32600)), UNKNOWN),
    **{
        str(status): (always(http(status, "no", retry_after="0")), REFUSED)
        for status in (400, 403, 404)
    },
    **{
        str(status): (always(http(status, "no", retry_after="0")), UNKNOWN)
        for status in (409, 429, 500, 503, 202)
    },
    "garbage": (always(http(200, "{nope", content_type="application/json")), UNKNOWN),
    "a-page": (always(http(200, "<html>", content_type="text/html")), UNKNOWN),
    "no-result": (with_rpc(200, lambda count, number: {"id": number, "jsonrpc": "2.0"}), UNKNOWN),
    "half-a-body": (always(HALF), UNKNOWN),
    "reset-after-acting": (always(RESET), UNKNOWN),
    "closed-after-acting": (always(CLOSE), UNKNOWN),
    "time-out": (always(HANG), UNKNOWN),
    "nan": (with_rpc(200, tool_result("x", number=math.nan)), BAD_END),
    "nan-in-a-note": (with_rpc(200, tool_result("x", note=math.nan)), BAD_END),
    "too-large-a-number": (with_rpc(200, tool_result("x", note=math.inf)), BAD_END),
}


class Called:
    """What a function did before it ended in some way."""

    def __init__(self) -> None:
        self.acted: Counter[str] = Counter()
        self.running: Counter[str] = Counter()
        self.most = 0
        self._lock = threading.Lock()

    def act(self, action: str) -> Any:
        with self._lock:
            self.acted[action] += 1
            self.running[action] += 1
            self.most = max(self.most, self.running[action])
        try:
            return FUNCTION_WAYS[action.partition("~")[2]][0]()
        finally:
            with self._lock:
                self.running[action] -= 1

    async def act_async(self, action: str) -> Any:
        self.acted[action] += 1
        if action.endswith("time-out"):
            await asyncio.sleep(60)
        return FUNCTION_WAYS[action.partition("~")[2]][0]()


class OwnKind(BaseException):
    """No Exception, so that ``except Exception`` does not see it."""


class Speechless(Exception):
    """Its text cannot be read."""

    def __str__(self) -> str:
        raise KeyboardInterrupt


class ExitsWhileConverted:
    """A result whose own code ends the process when it is converted."""

    def model_dump(self, mode: str) -> Any:
        raise SystemExit(3)


def raising(error: BaseException) -> Callable[[], Any]:
    def function() -> Any:
        raise error

    return function


def circle() -> Any:
    values: list[Any] = []
    values.append(values)
    return values


FUNCTION_WAYS: dict[str, tuple[Callable[[], Any], FaultClass | None]] = {
    "fine": (lambda: 1, None),
    **{
        f"raises-{type(error).__name__}": (raising(error), UNKNOWN)
        for error in (
            ValueError("x"),
            KeyError("x"),
            TypeError("from within"),
            ConnectionRefusedError("x"),
            httpx2.ConnectError("x"),
            TimeoutError("x"),
            SystemExit(3),
            KeyboardInterrupt("x"),
            StopIteration("x"),
            asyncio.CancelledError("x"),
            GeneratorExit("x"),
            BaseExceptionGroup("x", [KeyboardInterrupt()]),
            OwnKind("x"),
            Speechless(),
            MemoryError(),
        )
    },
    "raises-NotImplementedError": (raising(NotImplementedError("x")), BAD_END),
    "raises-NonRetryableError": (raising(NonRetryableError("x")), BAD_END),
    "time-out": (lambda: time.sleep(TIMEOUT + 0.5), UNKNOWN),
    "nan": (lambda: {"items": [{"price": math.nan}]}, BAD_END),
    "object": (object, BAD_END),
    "half-a-surrogate": (lambda: "\ud800", BAD_END),
    "circle": (circle, BAD_END),
    "exits-while-converted": (ExitsWhileConverted, BAD_END),
    "generator": (lambda: (number for number in range(3)), BAD_END),
    "key-of-two": (lambda: {(1, 2): 3}, BAD_END),
    "too-deep": (lambda: nested(150), BAD_END),
}


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def names_of(ways: Any) -> list[str]:
    return [f"{effect}~{way}" for way in ways for effect in Effect]


def violations_of(
    classes: dict[str, FaultClass | None], acted: Counter[str], tasks: dict[str, TaskReport]
) -> list[str]:
    """Where calls and ends differ from the table."""
    found = []
    for way, class_ in classes.items():
        for effect in Effect:
            name, once = f"{effect}~{way}", effect is Effect.ONCE
            again = class_ is UNKNOWN and not once
            status = "succeeded" if class_ is None else "failed"
            if class_ is UNKNOWN and once:
                status = "unknown_outcome"
            calls = 0 if class_ is NOT_SENT else 1 + again
            task = tasks[name]
            seen = (acted[name], task.status, task.attempts)
            wanted = (calls, status, 2 if class_ is NOT_SENT else calls)
            if seen != wanted or (class_ is not None and task.fault_class is not class_):
                found.append(
                    f"{name}: {seen} {task.fault_class}, not {wanted} {class_}: {task.error}"
                )
            ran = "it ran" in str(task.error) and "not repeated" in str(task.error)
            if ran != (class_ is BAD_END and once):
                found.append(f"{name}: {task.error}")
    return found


async def play(
    agents: list[AgentSpec], tasks: list[TaskSpec], **functions: Any
) -> dict[str, TaskReport]:
    registry = AgentRegistry()
    for name, function in functions.items():
        registry.register(name, function)
    spec = WorkflowSpec(
        name="w",
        agents=tuple(agents),
        tasks=tuple(tasks),
        failure_strategy=FailureStrategy.CONTINUE,
    )
    async with Hive.open(agents=registry) as hive:
        report = await asyncio.wait_for(hive.run(spec), 120)
    return report.tasks


def agent(name: str, type: str, endpoint: str, **more: Any) -> AgentSpec:
    fields: dict[str, Any] = {"retry": RETRY, "circuit_breaker": PATIENT, "timeout": 10.0, **more}
    return AgentSpec(name=name, type=type, endpoint=endpoint, **fields)


def post(name: str, agent: str, path: str, **more: Any) -> TaskSpec:
    effect = Effect(name.partition("~")[0])
    parameters = {"method": "POST", "endpoint": path, "json": {}}
    slow = TIMEOUT if name.endswith("time-out") else None
    fields: dict[str, Any] = {"timeout": slow, **more}
    return TaskSpec(
        name=name, agent=agent, action="request", parameters=parameters, effect=effect, **fields
    )


async def play_http() -> list[str]:
    ways = {name: HTTP_WAYS[name.partition("~")[2]][0] for name in names_of(HTTP_WAYS)}
    async with ActingServer({**ways, "nothing": always(http(404))}) as server:
        options = {"max_body": 1000}
        agents = [agent("web", "http_api", server.url, custom_params=options)]
        tasks = [post(name, "web", f"/{name}") for name in ways]
        for way, endpoint in UNSENT.items():
            more: dict[str, Any] = {}
            if way == "no-secret":
                more["authentication"] = {"type": "bearer", "token": "${env:NO_SUCH_SECRET_HERE}"}
            address = endpoint.format(host=server.url.removeprefix("http://"))
            agents.append(agent(way, "http_api", address, **more))
            tasks += [post(name, way, f"/{name}") for name in names_of([way])]
        found = await play(agents, tasks)
    classes = {way: class_ for way, (_, class_) in HTTP_WAYS.items()}
    classes |= dict.fromkeys(UNSENT, NOT_SENT)
    return violations_of(classes, server.acted, found)


async def play_mcp() -> list[str]:
    ways = {name: MCP_WAYS[name.partition("~")[2]][0] for name in names_of(MCP_WAYS)}
    async with ActingServer(ways) as server:
        options = {"max_result": 2000}
        agents = [agent("mcp", "mcp_server", f"{server.url}/mcp", custom_params=options)]
        tasks = [
            TaskSpec(
                name=name,
                agent="mcp",
                action=name,
                effect=Effect(name.partition("~")[0]),
                timeout=TIMEOUT if name.endswith("time-out") else None,
            )
            for name in ways
        ]
        nobody = names_of(["no-greeting"])
        agents.append(agent("nobody", "mcp_server", "http://127.0.0.1:9/mcp"))
        tasks += [
            TaskSpec(name=name, agent="nobody", action="x", effect=Effect(name.partition("~")[0]))
            for name in nobody
        ]
        found = await play(agents, tasks)
    classes = {way: class_ for way, (_, class_) in MCP_WAYS.items()} | {"no-greeting": NOT_SENT}
    return violations_of(classes, server.acted, found)


async def play_functions(*, is_async: bool) -> list[str]:
    called = Called()
    names = names_of(FUNCTION_WAYS)
    tasks = [
        TaskSpec(
            name=name,
            agent="f",
            action=name,
            effect=Effect(name.partition("~")[0]),
            timeout=TIMEOUT if name.endswith("time-out") else None,
        )
        for name in names
    ]
    function = called.act_async if is_async else called.act
    found = await play([agent("f", "custom", "custom://f")], tasks, f=function)
    classes = {way: class_ for way, (_, class_) in FUNCTION_WAYS.items()}
    overlap = [f"{called.most} attempts of one task at once"] if called.most > 1 else []
    return violations_of(classes, called.acted, found) + overlap


@pytest.mark.slow
async def test_http_servers_that_act_and_answer_badly() -> None:
    assert await play_http() == []


@pytest.mark.slow
async def test_mcp_servers_that_act_and_answer_badly() -> None:
    assert await play_mcp() == []


@pytest.mark.slow
@pytest.mark.parametrize("is_async", [False, True])
async def test_functions_that_act_and_end_badly(is_async: bool) -> None:
    assert await play_functions(is_async=is_async) == []


async def test_a_429_that_the_service_documents_is_no_attempt() -> None:
    def way(count: int, number: Any) -> bytes:
        return http(429, "busy", retry_after="0") if count <= 3 else http(200, {"a": 1})

    ways = dict.fromkeys(names_of(["busy"]), way)
    async with ActingServer(ways) as server:
        options = {"refused_statuses": [429]}
        tasks = [post(name, "web", f"/{name}") for name in ways]
        found = await play([agent("web", "http_api", server.url, custom_params=options)], tasks)
    for name, task in found.items():
        once = name.startswith("once")
        calls, status = (1, "failed") if once else (4, "succeeded")
        assert (server.acted[name], task.status) == (calls, status), name


async def test_retry_on_repeats_a_bad_end_and_once_stays_once() -> None:
    retry = RetryPolicy(
        max_attempts=3, strategy=RetryStrategy.IMMEDIATE, retry_on=(FaultClass.BAD_END,)
    )
    ways = {name: always(http(200, "x" * 5000)) for name in names_of(["large"])}
    async with ActingServer(ways) as server:
        options = {"max_body": 1000}
        tasks = [post(name, "web", f"/{name}", retry=retry) for name in ways]
        await play([agent("web", "http_api", server.url, custom_params=options)], tasks)
    assert server.acted == {"none~large": 3, "keyed~large": 3, "any~large": 3, "once~large": 1}


# The same, with a bug in each place where a class is set: the table must notice.


def plant_conflicts_are_refusals(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(faults, "DOUBTFUL_STATUSES", frozenset())


def plant_any_lost_connection_was_not_made(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(faults, "_NOT_CONNECTED", (httpx2.TransportError,))


def plant_redirects_leave_no_doubt(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("agenthive.agents.http.doubt", lambda fault: fault)


def plant_429_is_always_a_refusal(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("agenthive.agents.http.find_refused_statuses", lambda *_: frozenset({429}))


def plant_an_internal_error_is_a_refusal(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(mcp_agent, "REFUSED_CODES", transport.REFUSED_CODES | {-32603})


def plant_a_page_is_an_invalid_request(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(transport, "_is_strange", lambda *_: False)


def plant_a_gateways_refusal_is_believed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(transport, "DOUBTFUL_STATUSES", frozenset())


def plant_a_tool_that_failed_is_in_doubt(patch: pytest.MonkeyPatch) -> None:
    real = mcp_agent.build_fault

    def build(kind: str, message: str, class_: FaultClass, **more: Any) -> Any:
        return real(kind, message, UNKNOWN if class_ is BAD_END else class_, **more)

    patch.setattr(mcp_agent, "build_fault", build)


def plant_results_are_in_doubt(patch: pytest.MonkeyPatch) -> None:
    real = faults.fault_reply
    patch.setattr(
        "agenthive.agents.results.fault_reply",
        lambda kind, message, class_, **more: real(kind, message, UNKNOWN, **more),
    )


def plant_time_outs_do_not_wait_for_the_thread(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(call_tasks, "MAX_THREAD_WAIT", 0.0)


def plant_what_a_function_raises_was_not_sent(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("agenthive.agents.python.exception_fault", faults.fault_of)


def plant_what_ends_a_thread_is_a_bad_end(patch: pytest.MonkeyPatch) -> None:
    def is_fine(error: BaseException) -> Any:
        return faults.build_fault("agent_error", "x", BAD_END)

    patch.setattr("agenthive.agents.python.exception_fault", is_fine)


PLANTED: list[tuple[Callable[[pytest.MonkeyPatch], None], Callable[[], Any]]] = [
    (plant_conflicts_are_refusals, play_http),
    (plant_any_lost_connection_was_not_made, play_http),
    (plant_redirects_leave_no_doubt, play_http),
    (plant_429_is_always_a_refusal, play_http),
    (plant_an_internal_error_is_a_refusal, play_mcp),
    (plant_a_page_is_an_invalid_request, play_mcp),
    (plant_a_gateways_refusal_is_believed, play_mcp),
    (plant_a_tool_that_failed_is_in_doubt, play_mcp),
    (plant_results_are_in_doubt, partial(play_functions, is_async=False)),
    (plant_time_outs_do_not_wait_for_the_thread, partial(play_functions, is_async=False)),
    (plant_what_ends_a_thread_is_a_bad_end, partial(play_functions, is_async=False)),
    (plant_what_a_function_raises_was_not_sent, partial(play_functions, is_async=True)),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plant", "play_all"), PLANTED, ids=lambda value: getattr(value, "__name__", "")
)
async def test_a_planted_bug_is_seen(
    plant: Callable[[pytest.MonkeyPatch], None],
    play_all: Callable[[], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant(monkeypatch)
    assert await play_all() != []
