"""What the tests of MCP share: the servers, the agents for them, and who of them is still alive."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import Any

import psutil

from agenthive.agents.base import AgentServices
from agenthive.agents.mcp import agent as mcp
from agenthive.core.model.calls import Call, Reply
from agenthive.core.model.workflow import AgentSpec
from agenthive.infra.egress import Egress
from agenthive.infra.secrets import Secrets

HERE = Path(__file__).parent
PEER = f"stdio:'{sys.executable}' '{HERE / 'mcp_peer.py'}'"
RUDE = f"stdio:'{sys.executable}' '{HERE / 'rude_peer.py'}'"


def agent(endpoint: str = PEER, secrets: Secrets | None = None, **custom: Any) -> mcp.McpAgent:
    spec = AgentSpec(name="peer", type="mcp_server", endpoint=endpoint, custom_params=custom)
    made = mcp.make(spec, AgentServices(secrets or Secrets(), Egress()))
    assert isinstance(made, mcp.McpAgent)
    return made


def asked(action: str, *, key: str = "key-1", attempt: int = 1, **parameters: Any) -> Call:
    return Call(
        run="r",
        task="t",
        attempt=attempt,
        key=key,
        agent="peer",
        action=action,
        parameters=parameters,
    )


async def told(one: mcp.McpAgent, action: str, **parameters: Any) -> Reply:
    return await one.perform(asked(action, **parameters))


async def fault(one: mcp.McpAgent, action: str, **parameters: Any) -> tuple[str, str, bool]:
    found = (await told(one, action, **parameters)).fault
    assert found is not None
    return found.kind, found.message, found.retriable


class Log:
    """What a peer notes in the file that PEER_LOG names."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def lines(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def of(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == event]

    @property
    def keys(self) -> list[str]:
        return [line["key"] for line in self.of("call")]

    @property
    def pids(self) -> list[int]:
        return [line["pid"] for line in self.lines if "pid" in line]

    async def until(self, event: str, count: int = 1) -> list[dict[str, Any]]:
        await until(lambda: len(self.of(event)) >= count)
        return self.of(event)


async def until(holds: Callable[[], bool], seconds: float = 15.0) -> None:
    """Wait until it holds, or fail."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come true"
        await asyncio.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def group(leader: int) -> list[int]:
    """The processes of a group that run."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == leader and alive(process.pid):
                found.append(process.pid)
        except ProcessLookupError:
            continue
    return found


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def serving(log: Path, port: int, *options: str) -> Iterator[Popen[bytes]]:
    """The peer over HTTP on loopback, in a process of its own."""
    command = [sys.executable, str(HERE / "mcp_peer.py"), str(port), *options]
    env = {**os.environ, "PEER_LOG": str(log)}
    process = Popen(command, env=env, stdout=DEVNULL, stderr=DEVNULL)
    try:
        end = time.monotonic() + 15
        while not _listens(port):
            assert time.monotonic() < end, "the peer did not start"
            assert process.poll() is None, "the peer ended"
            time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
