"""MCP over streamable HTTP, against the real SDK's server on loopback, and against rude answers."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from agenthive.agents.base import AgentServices
from agenthive.agents.mcp import agent as mcp
from agenthive.core.model.workflow import AgentSpec, TaskSpec, WorkflowSpec
from agenthive.core.policies.retry import RetryPolicy
from agenthive.hive import Hive
from agenthive.infra.egress import Egress
from agenthive.infra.secrets import Secrets
from agenthive.testing import check_agent
from tests.agents.peers import Log, agent, asked, fault, free_port, serving, until
from tests.agents.wire import Answer, Seen, Wire

pytestmark = pytest.mark.slow
"""Many of its tests start processes or wait."""

TOKEN = "peer-token-4711"


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return Log(tmp_path_factory.mktemp("peer") / "peer.log")


@pytest.fixture(scope="module", params=["stream", "json"])
def url(request: pytest.FixtureRequest, log: Log) -> Iterator[str]:
    port = free_port()
    with serving(log.path, port, request.param):
        yield f"http://127.0.0.1:{port}/mcp"


@pytest.fixture
async def peer(url: str) -> AsyncIterator[mcp.McpAgent]:
    one = agent(url, max_result=100_000)
    yield one
    await one.close()


async def test_the_kit(url: str, log: Log, request: pytest.FixtureRequest) -> None:
    def stopped() -> bool:
        # A server that answers in one piece does not look whether anybody is still there.
        one_piece = request.node.callspec.params["url"] == "json"
        return one_piece or len(log.of("given up")) == len(log.of("hanging"))

    await check_agent(
        lambda: agent(url, max_result=100_000),
        good=asked("echo", text="hello"),
        bad=asked("failing"),
        hanging=asked("hang"),
        large=asked("much", size=1_000_000),
        keys=lambda: log.keys,
        secrets=[TOKEN],
        stopped=stopped,
    )


async def test_everything_that_can_be_asked(peer: mcp.McpAgent) -> None:
    assert (await peer.execute("echo", {"text": "x"})).result["content"] == "x"
    tools = (await peer.execute("list_tools", {})).result["tools"]
    assert "echo" in [tool["name"] for tool in tools]
    read = await peer.execute("read_resource", {"uri": "peer://greeting"})
    assert read.result["content"] == "hello"
    poem = await peer.execute("get_prompt", {"name": "poem", "arguments": {"about": "ants"}})
    assert poem.result["content"] == "Write a poem about ants."
    kind, message, _ = await fault(peer, "failing")
    assert kind == "agent_error"
    assert message.startswith(mcp.server_label(peer.config))
    assert message.endswith("it did not work")


async def test_too_much(peer: mcp.McpAgent) -> None:
    for size in (60_000, 1_000_000):
        kind, message, _ = await fault(peer, "much", size=size)
        assert kind == "invalid_reply"
        assert "larger than" in message
    assert (await peer.execute("echo", {"text": "x"})).success


async def test_what_is_too_much_for_one_call_spoils_no_other(peer: mcp.McpAgent) -> None:
    slow = asyncio.ensure_future(peer.perform(asked("hang", seconds=1.0)))
    await asyncio.sleep(0.3)
    assert (await fault(peer, "much", size=1_000_000))[0] == "invalid_reply"
    assert (await slow).fault is None


@pytest.mark.parametrize("way", ["stream", "json"])
async def test_the_server_is_killed_in_the_middle_of_a_call(tmp_path: Path, way: str) -> None:
    log, port = Log(tmp_path / "log"), free_port()
    one = agent(f"http://127.0.0.1:{port}/mcp")
    with serving(log.path, port, way) as process:
        calls = [asyncio.ensure_future(one.perform(asked("hang"))) for _ in range(2)]
        await log.until("hanging", 2)
        process.send_signal(signal.SIGKILL)
        for call in calls:
            found = (await call).fault
            assert found is not None
            assert (found.kind, found.retriable) == ("connection", True)
    kind, message, retriable = await fault(one, "echo", text="x")
    assert (kind, retriable) == ("connection", True)
    assert "ConnectError" in message
    with serving(log.path, port, way):
        assert (await one.perform(asked("echo", text="x"))).fault is None
    await one.close()


async def test_a_run_survives_a_server_that_is_killed_and_comes_back(tmp_path: Path) -> None:
    log, port = Log(tmp_path / "log"), free_port()
    spec = AgentSpec(name="peer", type="mcp_server", endpoint=f"http://127.0.0.1:{port}/mcp")
    retry = RetryPolicy(max_attempts=20, initial_delay=0.1, max_delay=0.5)
    task = TaskSpec(name="t", agent="peer", action="hang", parameters={"seconds": 1.0}, retry=retry)
    workflow = WorkflowSpec(name="w", agents=(spec,), tasks=(task,))
    async with Hive.open() as hive:
        with serving(log.path, port):
            run = asyncio.ensure_future(hive.run(workflow))
            await log.until("hanging")
        with serving(log.path, port):
            report = await run
    assert report.tasks["t"].result["content"] == "rested"  # type: ignore[index,call-overload]
    assert (report.tasks["t"].attempts or 0) >= 2


async def test_authentication_is_sent_and_never_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEER_TOKEN", TOKEN)
    with Wire() as wire:
        wire.answer(401, body=f"no, not with {TOKEN}")
        login = {"type": "bearer", "token": "${env:PEER_TOKEN}"}
        spec = AgentSpec(name="a", type="mcp_server", endpoint=wire.url, authentication=login)
        one = mcp.make(spec, AgentServices(Secrets(), Egress()))
        found = (await one.perform(asked("echo"))).fault
        await one.close()
    assert wire.seen[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert found is not None
    assert (found.kind, found.retriable) == ("refused", False)
    assert "HTTP 401: no, not with ***" in found.message


@pytest.mark.parametrize(
    ("status", "kind", "wait"),
    [
        (429, "rate_limited", 7.0),
        (503, "overloaded", 7.0),
        (500, "unavailable", None),
        (404, "refused", None),
    ],
)
async def test_what_a_status_means(status: int, kind: str, wait: float | None) -> None:
    with Wire() as wire:
        wire.answer(status, headers={"retry-after": "7"}, body="go away")
        one = agent(wire.url)
        found = (await one.perform(asked("echo"))).fault
        await one.close()
    assert found is not None
    assert (found.kind, found.retry_after) == (kind, wait)
    assert f"HTTP {status}: go away" in found.message


class Old:
    """A server of the older protocol, with sessions, that goes wrong as it is told."""

    def __init__(self, wire: Wire) -> None:
        self.sessions = 0
        self.calls: list[Any] = []
        wire.reply = self.reply

    def reply(self, request: Seen) -> Answer | None:
        """Status, headers, body."""
        plain = {"content-type": "application/json"}
        if request.method != "POST":
            return 405, plain, b""
        message = json.loads(request.body)
        method, number = message["method"], message.get("id")
        if method == "initialize":
            self.sessions += 1
            about = {"name": "old", "version": "1"}
            found = {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": about}
            body = {"jsonrpc": "2.0", "id": number, "result": found}
            return 200, {**plain, "mcp-session-id": f"s{self.sessions}"}, json.dumps(body).encode()
        if method == "tools/call":
            answer = self.calls.pop(0)
            if answer is None:
                return None
            return answer[0], {**plain, **answer[1]}, answer[2].replace(b"ID", str(number).encode())
        if number is None:
            return 202, plain, b""
        error = {"code": -32601, "message": "Method not found"}
        return 400, plain, json.dumps({"jsonrpc": "2.0", "id": number, "error": error}).encode()


FINE = b'{"jsonrpc":"2.0","id":ID,"result":{"content":[{"type":"text","text":"fine"}]}}'
WRONG = b'{"jsonrpc":"2.0","id":ID,"error":{"code":-32602,"message":"no such argument"}}'


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        ((404, {}, b"gone"), "connection", "does not know the session any more"),
        ((404, {}, WRONG), "connection", "does not know the session any more"),
        ((400, {}, WRONG), "refused", "no such argument"),
        ((200, {}, b'{"jsonrpc": "2.0", "id": '), "invalid_reply", "parse"),
        ((200, {"content-type": "text/html"}, b"<html>"), "invalid_reply", "text/html"),
        ((200, {"content-encoding": "gzip"}, FINE), "invalid_reply", "compressed (gzip)"),
        ((200, {}, FINE.replace(b"fine", b"x" * 500_000)), "invalid_reply", "larger than"),
        ((200, {"x-cut": "1"}, FINE), "connection", "RemoteProtocolError"),
        ((500, {"x-cut": "1"}, b"half of it"), "unavailable", "HTTP 500"),
        ((302, {"location": "http://127.0.0.1:9/"}, b""), "invalid_reply", "not followed"),
        ((202, {"content-type": ""}, b""), "invalid_reply", "202"),
        ((503, {}, WRONG), "overloaded", "no such argument"),
        (
            (200, {"content-type": "text/event-stream"}, b": nothing comes\n\n"),
            "connection",
            "ended without a response",
        ),
        (
            (200, {"content-type": "text/event-stream"}, b"data: " + b"x" * 500_000),
            "invalid_reply",
            "larger than",
        ),
    ],
)
async def test_rude_answers(answer: Any, kind: str, words: str) -> None:
    with Wire() as wire:
        old = Old(wire)
        one = agent(wire.url, max_result=100_000)
        old.calls = [answer, (200, {}, FINE)]
        found_kind, message, _ = await fault(one, "echo")
        assert (await one.execute("echo", {})).result == {"content": "fine"}
        await one.close()
    assert found_kind == kind
    assert words in message
    assert old.sessions == (2 if kind == "connection" else 1)


async def test_cancelling_hangs_up_on_an_old_server_too() -> None:
    with Wire() as wire:
        old = Old(wire)
        one = agent(wire.url)
        old.calls = [None, (200, {}, FINE)]
        call = asyncio.ensure_future(one.perform(asked("hang")))
        await until(lambda: len(old.calls) == 1)
        call.cancel()
        await asyncio.wait({call})
        assert call.cancelled()
        await until(lambda: wire.gone == 1)
        told = [json.loads(seen.body)["method"] for seen in wire.seen if seen.body]
        assert "notifications/cancelled" in told
        assert (await one.execute("echo", {})).success
        await one.close()


async def test_a_server_that_does_not_answer_the_greeting() -> None:
    with Wire() as wire:
        wire.hang()
        one = agent(wire.url, start_timeout=0.3)
        started = time.monotonic()
        assert (await fault(one, "echo"))[0] == "timeout"
        assert time.monotonic() - started < 10
        await until(lambda: wire.gone == len(wire.seen))
        await one.close()


async def test_a_guarded_agent_does_not_reach_loopback(url: str) -> None:
    spec = AgentSpec(name="a", type="mcp_server", endpoint=url)
    one = mcp.make(spec, AgentServices(Secrets(), Egress(guarded=True)))
    found = (await one.perform(asked("echo", text="x"))).fault
    assert found is not None
    assert (found.kind, found.retriable) == ("refused", False)
    assert "127.0.0.1, which is not a public address" in found.message
    await one.close()


async def test_a_guarded_agent_reaches_what_the_operator_allows(url: str) -> None:
    host = url.removeprefix("http://").partition("/")[0]
    port = host.partition(":")[2]
    spec = AgentSpec(name="a", type="mcp_server", endpoint=f"http://localhost:{port}/mcp")
    allowed = Egress(guarded=True, allow=[f"localhost:{port}"])
    one = mcp.make(spec, AgentServices(Secrets(), allowed))
    assert (await one.execute("echo", {"text": "x"})).result["content"] == "x"
    await one.close()
