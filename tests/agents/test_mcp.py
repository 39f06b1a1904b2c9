"""MCP over stdio, against real servers of our own, in order and out of it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agenthive.agents.base import AgentServices
from agenthive.agents.mcp import agent as mcp
from agenthive.agents.mcp import session_owner
from agenthive.core.model.calls import Call
from agenthive.core.model.workflow import AgentSpec, Effect, TaskSpec, WorkflowSpec
from agenthive.core.policies.retry import RetryPolicy
from agenthive.errors import ConfigurationError
from agenthive.hive import Hive
from agenthive.infra.egress import Egress
from agenthive.infra.secrets import Secrets
from agenthive.testing import check_agent
from tests.agents.peers import PEER, RUDE, Log, agent, alive, asked, fault, group, told, until

pytestmark = pytest.mark.slow
"""Many of its tests start processes or wait."""

TOKEN = "peer-token-4711"


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "peer.log")


@pytest.fixture
async def peer(log: Log, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[mcp.McpAgent]:
    """An agent of the peer; afterwards nothing of it may be left."""
    monkeypatch.setenv("PEER_TOKEN", TOKEN)
    one = make(log)
    yield one
    await one.close()
    assert [pid for pid in log.pids if alive(pid)] == []


def make(log: Log, **custom: Any) -> mcp.McpAgent:
    env = {"PEER_LOG": str(log.path), "PEER_TOKEN": "${env:PEER_TOKEN}"}
    return agent(PEER, env=env, max_result=100_000, **custom)


@pytest.mark.slow
async def test_the_kit(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEER_TOKEN", TOKEN)
    await check_agent(
        lambda: make(log),
        good=asked("echo", text="hello"),
        bad=asked("leaky"),
        hanging=asked("hang"),
        large=asked("much", size=60_000),
        keys=lambda: log.keys,
        secrets=[TOKEN],
        stopped=lambda: len(log.of("given up")) == len(log.of("hanging")),
    )
    assert [pid for pid in log.pids if alive(pid)] == []


async def test_tools(peer: mcp.McpAgent) -> None:
    assert (await told(peer, "echo", text="a\nb")).result == {
        "content": "a\nb",
        "structured_content": {"result": "a\nb"},
    }
    table = (await told(peer, "call_tool", name="table", arguments={"rows": 2})).result
    assert isinstance(table, dict)
    assert table["structured_content"] == {"rows": [0, 1]}
    assert (await peer.execute("echo", {"text": "x"})).result["content"] == "x"


async def test_what_is_no_text_is_kept_too(peer: mcp.McpAgent) -> None:
    answer = (await told(peer, "picture")).result
    assert isinstance(answer, dict)
    assert answer["content"] == "a dot"
    assert answer["parts"] == [{"type": "image", "data": "ZG90", "mimeType": "image/png"}]


async def test_a_server_nobody_calls_is_ended(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEER_TOKEN", TOKEN)
    one = make(log, idle_timeout=0.1)
    for count in (1, 2):
        assert (await told(one, "echo", text="x")).fault is None
        await until(lambda: not any(alive(pid) for pid in log.pids))
        assert len(log.of("start")) == count
    await one.close()


async def test_resources_and_prompts(peer: mcp.McpAgent) -> None:
    resources = (await peer.execute("list_resources", {})).result["resources"]
    assert [one["uri"] for one in resources] == ["peer://greeting"]
    read = (await peer.execute("read_resource", {"uri": "peer://greeting"})).result
    assert read["content"] == read["contents"][0]["text"] == "hello"
    prompts = (await peer.execute("list_prompts", {})).result["prompts"]
    assert [one["name"] for one in prompts] == ["poem"]
    asking = {"name": "poem", "arguments": {"about": "bees"}}
    poem = (await peer.execute("get_prompt", asking)).result
    assert poem["content"] == "Write a poem about bees."
    assert poem["messages"][0]["role"] == "user"
    nine = (await peer.execute("get_prompt", {"name": "poem", "arguments": {"about": 9}})).result
    assert nine["content"] == "Write a poem about 9."


@pytest.mark.parametrize(
    ("action", "parameters", "kind", "words", "retriable"),
    [
        ("failing", {"text": "no luck"}, "agent_error", "no luck", True),
        ("no_such_tool", {}, "agent_error", "Unknown tool", True),
        ("read_resource", {"uri": "peer://nothing"}, "refused", "peer://nothing", False),
        ("read_resource", {}, "refused", "'uri' must be a string", False),
        ("call_tool", {"name": 7}, "refused", "'name' must be a string", False),
        ("call_tool", {"name": "echo", "arguments": "x"}, "refused", "must be an object", False),
        ("get_prompt", {"name": "poem", "arguments": [1]}, "refused", "must be an object", False),
        ("much", {"size": 60_000}, "invalid_reply", "larger than 100000 bytes", True),
        ("ask", {}, "refused", "elicitation/create", False),
    ],
)
async def test_faults(
    peer: mcp.McpAgent,
    action: str,
    parameters: dict[str, Any],
    kind: str,
    words: str,
    retriable: bool,
) -> None:
    found = (await peer.perform(asked(action, **parameters))).fault
    assert found is not None
    assert (found.kind, found.retriable) == (kind, retriable)
    assert words in found.message
    assert found.message.startswith(f"stdio:'{sys.executable}'")


async def test_the_key_is_in_meta(log: Log, peer: mcp.McpAgent) -> None:
    for attempt in (1, 2):
        await peer.perform(asked("echo", key="same", attempt=attempt, text="x"))
    await peer.execute("echo", {"text": "x"})
    other = make(log, idempotency_meta="my-key")
    await other.perform(asked("echo", key="mine", text="x"))
    await other.close()
    assert log.keys == ["same", "same", "", "mine"]


async def test_one_session_serves_many_calls(log: Log, peer: mcp.McpAgent) -> None:
    slow = asyncio.ensure_future(told(peer, "hang", seconds=0.5))
    replies = await asyncio.gather(*(told(peer, "echo", text=str(n)) for n in range(30)))
    assert not slow.done()
    assert [r.result["content"] for r in replies] == [str(n) for n in range(30)]  # type: ignore[index,call-overload]
    assert (await slow).fault is None
    assert len(log.of("start")) == 1


async def test_the_allow_list(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEER_TOKEN", TOKEN)
    one = make(log, tools=["echo"])
    words = "the tool 'table' is not on the allow-list of agent 'peer' (custom_params.tools)"
    assert mcp.action_problem(one.config, "table") == words
    assert mcp.action_problem(one.config, "echo") is None
    assert mcp.action_problem(one.config, "list_tools") is None
    for refused in (asked("table", rows=1), asked("call_tool", name="table")):
        found = (await one.perform(refused)).fault
        assert found is not None
        assert (found.kind, found.retriable) == ("refused", False)
        assert words in found.message
    # A tool may bear the name of an action; it is a tool all the same.
    assert (
        words.replace("table", "list_tools")
        in (await fault(one, "call_tool", name="list_tools"))[1]
    )
    assert log.lines == []  # nothing was started for any of these
    tools = (await one.execute("list_tools", {})).result["tools"]
    assert [tool["name"] for tool in tools] == ["echo"]
    await one.close()


def test_what_is_known_of_effects() -> None:
    spec = agent().config
    for action in ("list_tools", "list_resources", "list_prompts", "read_resource", "get_prompt"):
        assert mcp.effect_of(spec, action) is Effect.NONE
    for action in ("call_tool", "echo"):
        assert mcp.effect_of(spec, action) is None


async def test_only_named_variables_are_passed_on(
    log: Log, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PEER_TOKEN", TOKEN)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-yours")
    one = make(log, cwd=str(tmp_path), args=["--two words", "$HOME"])
    seen = (await one.execute("environment", {})).result["structured_content"]
    await one.close()
    assert "AWS_SECRET_ACCESS_KEY" not in seen
    assert seen["PATH"] == os.environ["PATH"]
    assert seen["PEER_TOKEN"] == "***"  # it arrived, and was scrubbed from the answer
    assert seen["(cwd)"] == str(tmp_path)
    assert seen["(args)"] == '["--two words", "$HOME"]'


async def test_references_in_parameters(monkeypatch: pytest.MonkeyPatch, log: Log) -> None:
    monkeypatch.setenv("PEER_TOKEN", TOKEN)
    monkeypatch.setenv("LENGTH", "12345")
    one = make(log)
    own, foreign = "${env:LENGTH}", "${env:PEER_TOKEN}"
    call = Call(
        run="r",
        task="t",
        attempt=1,
        key="k",
        agent="a",
        action="echo",
        parameters={"text": f"{own} {foreign}"},
        references=frozenset([own]),
    )
    reply = await one.perform(call)
    assert reply.result["content"] == f"12345 {foreign}"  # type: ignore[index,call-overload]
    await one.close()


async def test_a_missing_secret_is_named(monkeypatch: pytest.MonkeyPatch, log: Log) -> None:
    monkeypatch.delenv("PEER_TOKEN", raising=False)
    kind, message, retriable = await fault(make(log), "echo", text="x")
    assert (kind, retriable) == ("refused", True)
    assert "PEER_TOKEN is not set" in message


# Ends.


async def test_killed_in_the_middle_of_a_call(log: Log, peer: mcp.McpAgent) -> None:
    call = asyncio.ensure_future(told(peer, "hang"))
    pid = (await log.until("hanging"))[0]["pid"]
    assert group(pid) == [pid]
    os.kill(pid, signal.SIGKILL)
    started = time.monotonic()
    found = (await call).fault
    assert found is not None
    assert (found.kind, found.retriable) == ("connection", True)
    assert "was ended by signal 9" in found.message
    assert time.monotonic() - started < 5
    assert (await told(peer, "echo", text="again")).fault is None
    assert group(pid) == []
    assert len(log.of("start")) == 2


async def test_a_crash_tells_what_the_server_said_last(log: Log, peer: mcp.McpAgent) -> None:
    kind, message, retriable = await fault(peer, "crash")
    assert (kind, retriable) == ("connection", True)
    assert "ended with exit code 3; its last line on stderr: Traceback: the peer gave up" in message
    assert TOKEN not in message


async def test_every_call_under_way_hears_of_a_crash(log: Log, peer: mcp.McpAgent) -> None:
    others = [asyncio.ensure_future(told(peer, "hang")) for _ in range(3)]
    await log.until("hanging", 3)
    await told(peer, "crash")
    kinds = [(await other).fault.kind for other in others]  # type: ignore[union-attr]
    assert kinds == ["connection"] * 3


@pytest.mark.parametrize("hold", [True, False])
@pytest.mark.parametrize("own_session", [True, False])
async def test_grandchildren_do_not_survive_a_close(
    log: Log, peer: mcp.McpAgent, hold: bool, own_session: bool
) -> None:
    assert (await told(peer, "breed", hold=hold, own_session=own_session)).fault is None
    bred = log.of("bred")[0]
    assert alive(bred["pid"])
    await peer.close()
    assert not alive(bred["pid"])
    assert not alive(bred["server"])


async def test_a_grandchild_that_holds_the_pipe_hides_no_death(
    log: Log, peer: mcp.McpAgent
) -> None:
    started = time.monotonic()
    kind, message, _ = await fault(peer, "breed", then_die=True)
    assert kind == "connection"
    assert "exit code 4" in message
    assert time.monotonic() - started < 10
    await until(lambda: not alive(log.of("bred")[0]["pid"]))


async def test_a_cancelled_call_is_given_up_and_the_session_stays(
    log: Log, peer: mcp.McpAgent
) -> None:
    call = asyncio.ensure_future(told(peer, "hang"))
    await log.until("hanging")
    started = time.monotonic()
    call.cancel()
    await asyncio.wait({call})
    assert call.cancelled()
    assert time.monotonic() - started < session_owner.GIVE_UP
    await log.until("given up")
    assert (await told(peer, "echo", text="x")).fault is None
    assert len(log.of("start")) == 1


async def test_a_server_that_a_cancelled_call_has_blocked_is_killed(
    log: Log, peer: mcp.McpAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_owner, "PROOF_OF_LIFE", 0.3)
    call = asyncio.ensure_future(told(peer, "block"))
    pid = (await log.until("blocking"))[0]["pid"]
    call.cancel()
    await asyncio.wait({call})
    await until(lambda: not alive(pid))
    assert (await told(peer, "echo", text="x")).fault is None


async def test_a_blocked_server_is_left_to_those_it_still_works_for(
    log: Log, peer: mcp.McpAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_owner, "PROOF_OF_LIFE", 0.1)
    given_up = asyncio.ensure_future(told(peer, "hang"))
    await log.until("hanging")
    working = asyncio.ensure_future(told(peer, "block", seconds=1.0))
    await log.until("blocking")
    given_up.cancel()
    assert (await working).result["content"] == "awake"  # type: ignore[index,call-overload]
    assert len(log.of("start")) == 1


async def test_cancelled_while_the_server_starts(log: Log, peer: mcp.McpAgent) -> None:
    call = asyncio.ensure_future(told(peer, "echo", text="x"))
    await asyncio.sleep(0.05)
    call.cancel()
    await asyncio.wait({call})
    assert (await told(peer, "echo", text="x")).fault is None
    assert len(log.of("start")) == 1


async def test_closed_while_the_server_starts() -> None:
    one = agent(RUDE + " mute")
    call = asyncio.ensure_future(told(one, "fine"))
    await asyncio.sleep(0.3)
    started = time.monotonic()
    await one.close()
    assert time.monotonic() - started < session_owner.CLOSING
    found = (await call).fault
    assert found is not None
    assert found.kind == "connection"


# A real run.


def workflow(log: Log, once: Path) -> WorkflowSpec:
    spec = make(log).config
    retry = RetryPolicy(max_attempts=3, initial_delay=0.01)
    task = TaskSpec(
        name="t", agent="peer", action="crash", parameters={"once": str(once)}, retry=retry
    )
    return WorkflowSpec(name="w", agents=(spec,), tasks=(task,))


@pytest.mark.slow
async def test_a_run_tries_again_after_a_crash(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEER_TOKEN", TOKEN)
    async with Hive.open(tmp_path / "home") as hive:
        report = await hive.run(workflow(log, tmp_path / "once"))
        facts = [bytes(fact.data) async for fact in hive.journal.read_events(report.run_id)]
    assert report.tasks["t"].result == {
        "content": "recovered",
        "structured_content": {"result": "recovered"},
    }
    assert report.tasks["t"].attempts == 2
    assert len(log.of("start")) == 2
    assert [pid for pid in log.pids if alive(pid) or group(pid)] == []
    assert any(b"connection" in fact for fact in facts)
    assert not any(TOKEN.encode() in fact for fact in facts)
    assert TOKEN.encode() not in (tmp_path / "home" / "journal.db").read_bytes()


# What cannot be an agent.


async def test_a_command_that_is_not_there() -> None:
    kind, message, retriable = await fault(agent("stdio:no-such-command-here"), "x")
    assert (kind, retriable) == ("refused", False)
    assert "there is no command 'no-such-command-here'" in message


async def test_a_command_that_cannot_be_started(tmp_path: Path) -> None:
    kind, message, _ = await fault(agent(PEER, cwd=str(tmp_path / "nowhere")), "x")
    assert kind == "refused"
    assert "cannot be started: No such file or directory" in message
    kind, message, _ = await fault(agent(PEER, args=["a\0b"]), "x")
    assert kind == "refused"
    assert "cannot be started: embedded null byte" in message


async def test_a_command_beside_our_python() -> None:
    assert (await agent("stdio:no-such").execute("list_tools", {})).success is False
    one = agent("stdio:mcp-server-time")
    assert (await one.execute("list_tools", {})).success
    await one.close()


@pytest.mark.parametrize(
    ("endpoint", "custom", "words"),
    [
        ("stdio:", {}, "names no command"),
        ("stdio:'", {}, "cannot be parsed"),
        ("ftp://x", {}, "neither stdio:COMMAND nor an http or https address"),
        (PEER, {"args": "--x"}, "custom_params.args"),
        (PEER, {"args": [1]}, "custom_params.args"),
        (PEER, {"env": ["PATH"]}, "custom_params.env"),
        (PEER, {"env": {"A": 1}}, "custom_params.env"),
        (PEER, {"cwd": 1}, "custom_params.cwd"),
        (PEER, {"tools": "git_log"}, "custom_params.tools"),
        (PEER, {"max_result": 0}, "custom_params.max_result"),
        (PEER, {"start_timeout": "soon"}, "custom_params.start_timeout"),
        (PEER, {"idle_timeout": 0}, "custom_params.idle_timeout"),
    ],
)
def test_what_cannot_be_an_agent(endpoint: str, custom: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match="agent 'peer': ") as caught:
        agent(endpoint, **custom)
    assert words in caught.value.message


def test_a_malformed_allow_list_allows_nothing() -> None:
    spec = AgentSpec(name="a", type="mcp_server", endpoint=PEER, custom_params={"tools": "echo"})
    assert mcp.action_problem(spec, "echo") is not None


def test_a_guarded_server_runs_no_commands() -> None:
    spec = AgentSpec(name="a", type="mcp_server", endpoint=PEER)
    with pytest.raises(ConfigurationError, match="does not run commands"):
        mcp.make(spec, AgentServices(Secrets(), Egress(guarded=True)))
