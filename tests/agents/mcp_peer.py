"""A real MCP server for tests, made with the SDK. It does what it is told, also what is bad.

    python mcp_peer.py                      over stdio
    python mcp_peer.py PORT [json]          streamable HTTP on loopback (json: no streams)

PEER_LOG names a file to which it appends a JSON line for each thing that happens to it.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver import Context, Image
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import BaseModel

server = MCPServer("peer")


class Answer(BaseModel):
    """What a user would say."""

    sure: bool


def note(**what: Any) -> None:
    """Append a line to the log."""
    with Path(os.environ.get("PEER_LOG", os.devnull)).open("a") as log:
        log.write(json.dumps(what) + "\n")


def key_of(context: Context[Any, Any]) -> str:
    meta = dict(context.request_context.meta or {})
    return str(meta.get("agenthive/idempotency-key", meta.get("my-key", "")))


@server.tool()
async def echo(text: str, ctx: Context[Any, Any]) -> str:
    """Give the text back."""
    note(event="call", tool="echo", key=key_of(ctx))
    return text


@server.tool()
async def table(rows: int) -> dict[str, list[int]]:
    """Structured content."""
    return {"rows": list(range(rows))}


@server.tool()
async def failing(text: str = "it did not work") -> str:
    """Always fails."""
    raise ToolError(text)


@server.tool()
async def leaky() -> str:
    """Tells its secret while it fails."""
    raise ToolError(f"my token is {os.environ.get('PEER_TOKEN')}")


@server.tool()
async def hang(seconds: float = 3600.0) -> str:
    """Wait, and note when the wait is given up."""
    note(event="hanging", pid=os.getpid())
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        note(event="given up")
        raise
    return "rested"


@server.tool()
async def block(seconds: float = 3600.0) -> str:
    """Keep the whole server busy."""
    note(event="blocking", pid=os.getpid())
    time.sleep(seconds)  # noqa: ASYNC251 - that is the point
    return "awake"


@server.tool()
async def ask(ctx: Context[Any, Any]) -> str:
    """Ask the user."""
    return str(await ctx.elicit("Are you sure?", Answer))


@server.tool()
def crash(once: str = "") -> str:
    """End in the middle of the call; with ``once`` (a file) only the first time."""
    if once and Path(once).exists():
        return "recovered"
    if once:
        Path(once).touch()
    note(event="crash", pid=os.getpid())
    print(f"Traceback: the peer gave up, token {os.environ.get('PEER_TOKEN')}", file=sys.stderr)
    sys.stderr.flush()
    os._exit(3)


@server.tool()
def breed(own_session: bool = False, then_die: bool = False, hold: bool = True) -> str:
    """Start a grandchild that stays; it holds our stdout unless ``hold`` is false."""
    pipe = None if hold else subprocess.DEVNULL
    child = subprocess.Popen(
        ["sleep", "3600"],
        stdout=pipe,
        stderr=pipe,
        stdin=subprocess.DEVNULL,
        start_new_session=own_session,
    )
    note(event="bred", pid=child.pid, server=os.getpid())
    if then_die:
        os._exit(4)
    return str(child.pid)


@server.tool()
async def much(size: int) -> str:
    """A long text."""
    return "x" * size


@server.tool()
async def environment() -> dict[str, str]:
    """What the server sees of the environment, and where it runs."""
    return {**os.environ, "(cwd)": str(Path.cwd()), "(args)": json.dumps(sys.argv[1:])}


@server.tool(structured_output=False)
async def picture() -> list[Any]:
    """More than text."""
    return ["a dot", Image(data=b"dot", format="png")]


@server.resource("peer://greeting")
def greeting() -> str:
    """A resource."""
    return "hello"


@server.prompt()
def poem(about: str) -> list[UserMessage]:
    """A prompt."""
    return [UserMessage(f"Write a poem about {about}.")]


def main() -> None:
    note(event="start", pid=os.getpid())
    if len(sys.argv) < 2 or not sys.argv[1].isdigit():
        server.run("stdio")
        return
    port = int(sys.argv[1])
    safe = TransportSecuritySettings(allowed_hosts=[f"127.0.0.1:{port}", f"localhost:{port}"])
    server.run(
        "streamable-http",
        host="127.0.0.1",
        port=port,
        json_response="json" in sys.argv,
        transport_security=safe,
    )


if __name__ == "__main__":
    main()
