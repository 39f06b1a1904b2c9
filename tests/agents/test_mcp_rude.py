"""MCP servers that do not keep to the protocol: every call has an answer, and nothing hangs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from agenthive.agents.mcp import agent as mcp
from agenthive.agents.mcp import session_owner
from tests.agents.peers import RUDE, agent, fault, told


@pytest.fixture
async def rude() -> AsyncIterator[mcp.McpAgent]:
    one = agent(RUDE, max_result=100_000)
    yield one
    await one.close()


@pytest.mark.parametrize(
    ("action", "kind", "words"),
    [
        ("nan", "invalid_reply", "NaN is not JSON"),
        ("doubles", "invalid_reply", "a key occurs twice"),
        ("digits", "invalid_reply", "a number of 5,001 digits"),
        ("shapeless", "invalid_reply", "the response is not valid"),
        ("deep", "invalid_reply", "nested too deep"),
        ("long", "invalid_reply", "a line of more than 265536 bytes"),
        ("codes", "refused", "no such argument"),
        ("closed", "agent_error", "I call everything -32000"),
        ("silent", "connection", "the server still runs"),
        ("list_tools", "invalid_reply", "more than 100 pages"),
        ("list_prompts", "refused", "Method not found"),
    ],
)
async def test_rude_answers(rude: mcp.McpAgent, action: str, kind: str, words: str) -> None:
    found_kind, message, _ = await fault(rude, action)
    assert found_kind == kind
    assert words in message
    assert len(message) < 1200
    assert (await told(rude, "fine")).result == {"content": "fine"}


async def test_a_tool_that_asks_back() -> None:
    one = agent(RUDE + " modern")
    kind, message, retriable = await fault(one, "asks")
    await one.close()
    assert (kind, retriable) == ("refused", False)
    assert "the tool 'asks' requested input from a user" in message


async def test_noise_on_stdout_is_passed_over(
    rude: mcp.McpAgent, capfd: pytest.CaptureFixture[str]
) -> None:
    assert (await told(rude, "noise")).result == {"content": "after the noise"}
    await rude.close()
    assert capfd.readouterr() == ("", "")


async def test_stray_messages_are_passed_over(
    rude: mcp.McpAgent, capfd: pytest.CaptureFixture[str]
) -> None:
    assert (await told(rude, "strays")).result == {"content": "after the strays"}
    assert (await told(rude, "fine")).result == {"content": "fine"}
    await rude.close()
    assert capfd.readouterr() == ("", "")


async def test_cancelling_a_call_that_a_deaf_server_does_not_even_read(
    rude: mcp.McpAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_owner, "GIVE_UP", 0.2)
    deaf = asyncio.ensure_future(told(rude, "deaf"))
    await asyncio.sleep(0.5)
    # Its pipe takes 64 kB, and this is more: the call hangs before it is sent.
    call = asyncio.ensure_future(told(rude, "fine", text="x" * 2_000_000))
    await asyncio.sleep(0.3)
    started = time.monotonic()
    call.cancel()
    await asyncio.wait({call})
    assert time.monotonic() - started < 4
    found = (await deaf).fault
    assert found is not None
    assert found.kind == "connection"
    assert (await told(rude, "fine")).fault is None


async def test_a_server_that_never_answers_is_not_waited_for() -> None:
    one = agent(RUDE + " mute", start_timeout=0.4)
    kind, message, retriable = await fault(one, "fine")
    assert (kind, retriable) == ("timeout", True)
    assert "did not respond in time" in message
    assert one._sessions == set()


async def test_a_server_that_does_not_start_says_why() -> None:
    kind, message, retriable = await fault(agent(RUDE + " broken"), "fine")
    assert (kind, retriable) == ("connection", True)
    assert "ended with exit code 2; its last line on stderr: no such option: --broken" in message
