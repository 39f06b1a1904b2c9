"""The MCP servers that people use: list and call tools, kill one in a call, find no orphan.

Two from PyPI and three from npm. With ``-s`` each test prints a line on what happened.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agenthive.agents.mcp import agent as mcp
from agenthive.core.model.workflow import AgentSpec, TaskSpec, WorkflowSpec
from agenthive.core.policies.retry import RetryPolicy
from agenthive.hive import Hive
from tests.agents.peers import agent, alive, asked, group, until
from tests.requires import NODE_BIN, require

pytestmark = pytest.mark.slow
"""Most of its tests take more than a second."""


@dataclass
class Server:
    """A server of others: how to start it, which tools it must have, what to ask it."""

    name: str
    command: str
    tools: set[str]
    tool: str
    parameters: Callable[[Path], dict[str, Any]]
    says: str
    args: Callable[[Path], list[str]] = field(default=lambda folder: [])

    def spec(self, folder: Path) -> AgentSpec:
        if str(NODE_BIN) in self.command:
            require("node")
        custom = {"args": self.args(folder), "cwd": str(folder)}
        if self.name == "memory":
            custom["env"] = {"MEMORY_FILE_PATH": str(folder / "memory.json")}
        return AgentSpec(
            name=self.name,
            type="mcp_server",
            endpoint=f"stdio:{self.command}",
            custom_params=custom,
        )

    def make(self, folder: Path) -> mcp.McpAgent:
        """An agent for it; where a node server is missing, the test ends here."""
        spec = self.spec(folder)
        return agent(spec.endpoint, **spec.custom_params)


def node(name: str) -> str:
    return f"'{NODE_BIN / f'mcp-server-{name}'}'"


SERVERS = [
    Server(
        "time",
        "mcp-server-time",
        {"get_current_time", "convert_time"},
        "convert_time",
        lambda folder: {
            "source_timezone": "Europe/Berlin",
            "time": "12:30",
            "target_timezone": "Asia/Tokyo",
        },
        "Asia/Tokyo",
    ),
    Server(
        "git",
        "mcp-server-git",
        {"git_log", "git_status", "git_diff"},
        "git_log",
        lambda folder: {"repo_path": str(folder), "max_count": 1},
        "The first commit",
    ),
    Server(
        "everything",
        node("everything"),
        {"echo", "get-sum", "trigger-long-running-operation"},
        "get-sum",
        lambda folder: {"a": 19, "b": 23},
        "42",
    ),
    Server(
        "filesystem",
        node("filesystem"),
        {"read_text_file", "write_file", "list_directory"},
        "read_text_file",
        lambda folder: {"path": str(folder / "note.txt")},
        "bees dance",
        args=lambda folder: [str(folder)],
    ),
    Server(
        "memory",
        node("memory"),
        {"create_entities", "read_graph", "search_nodes"},
        "create_entities",
        lambda folder: {
            "entities": [{"name": "bee", "entityType": "insect", "observations": ["dances"]}],
        },
        "dances",
    ),
]
PARAMETERS = [pytest.param(server, id=server.name) for server in SERVERS]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a note, which is a git repository of one commit."""
    (tmp_path / "note.txt").write_text("bees dance\n")
    who = ["-c", "user.name=A Tester", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "The first commit"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def process_of(one: mcp.McpAgent) -> int:
    """The process that serves the agent now."""
    assert one._session is not None
    assert isinstance(one._session.peer, mcp.StdioServer)
    assert one._session.peer._process is not None
    return one._session.peer._process.pid


@pytest.mark.parametrize("server", PARAMETERS)
async def test_list_and_call(server: Server, folder: Path) -> None:
    one = server.make(folder)
    started = time.monotonic()
    listed = (await one.execute("list_tools", {})).result["tools"]
    ready = time.monotonic() - started
    names = {tool["name"] for tool in listed}
    answer = await one.execute(server.tool, server.parameters(folder))
    pid = process_of(one)
    await one.close()
    assert server.tools <= names
    assert answer.success, answer.error
    assert server.says in answer.result["content"]
    assert group(pid) == []
    said = " ".join(answer.result["content"].split())[:60]
    print(f"\n{server.name}: {len(names)} tools in {ready:.2f} s; {server.tool} -> {said}")


@pytest.mark.parametrize("server", PARAMETERS)
async def test_killed_in_the_middle_of_a_call(server: Server, folder: Path) -> None:
    """The server is stopped first, so that the call is surely under way when the kill comes."""
    one = server.make(folder)
    assert (await one.execute("list_tools", {})).success
    pid = process_of(one)
    os.kill(pid, signal.SIGSTOP)
    call = asyncio.ensure_future(one.perform(asked(server.tool, **server.parameters(folder))))
    await asyncio.sleep(0.2)
    assert not call.done()
    started = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    found = (await call).fault
    after = time.monotonic() - started
    assert found is not None
    assert (found.kind, found.retriable) == ("connection", True)
    assert "the server was ended by signal 9" in found.message
    await until(lambda: group(pid) == [])
    again = await one.execute(server.tool, server.parameters(folder))
    assert again.success
    await one.close()
    print(f"\n{server.name}: killed in a call; told in {after * 1000:.0f} ms: {found.message}")


@pytest.mark.parametrize("server", PARAMETERS)
async def test_a_run_tries_again_by_its_policy(server: Server, folder: Path) -> None:
    """The server of a real run is killed in a call; the retry gets a new one and an answer."""
    retry = RetryPolicy(max_attempts=3, initial_delay=0.05)
    given = server.parameters(folder)
    task = TaskSpec(name="t", agent=server.name, action=server.tool, parameters=given, retry=retry)
    workflow = WorkflowSpec(name="w", agents=(server.spec(folder),), tasks=(task,))
    pids = []
    async with Hive.open() as hive:
        one = hive.agents.find_agent(server.spec(folder))
        assert isinstance(one, mcp.McpAgent)
        assert (await one.execute("list_tools", {})).success
        pids.append(process_of(one))
        os.kill(pids[0], signal.SIGSTOP)
        run = asyncio.ensure_future(hive.run(workflow))
        await asyncio.sleep(0.3)
        os.kill(pids[0], signal.SIGKILL)
        report = await run
        pids.append(process_of(one))
    task_report = report.tasks["t"]
    assert report.status == "completed"
    assert task_report.attempts == 2
    assert server.says in task_report.result["content"]  # type: ignore[operator,index,call-overload]
    assert pids[0] != pids[1]
    assert not any(alive(pid) or group(pid) for pid in pids)
    print(f"\n{server.name}: run {report.status} after {task_report.attempts} attempts, no orphan")
