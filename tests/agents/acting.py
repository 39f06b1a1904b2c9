"""Servers on loopback that act, count it, and then answer in a way that they are told.

A request names its task in its path (``/TASK``) or, over MCP, in the name of its tool.
`ActingServer` counts the requests that reached it whole, by task, and answers as the way says.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from collections import Counter
from collections.abc import Callable
from socket import SO_LINGER, SOL_SOCKET
from typing import Any

#: A response of a way: bytes for the wire, or one of the three below.
RESET, HANG, CLOSE = b"reset", b"hang", b"close"
#: From the number of the request of this task (from 1) and the id of the MCP message to a response.
Way = Callable[[int, Any], bytes]


def http(status: int, body: object = "", **headers: str) -> bytes:
    """A response with a body of text or JSON."""
    text = body if isinstance(body, str) else json.dumps(body)
    kind = "text/plain" if isinstance(body, str) else "application/json"
    fields = {"content-type": kind, "content-length": len(text.encode()), "connection": "close"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} Some\r\n{head}\r\n{text}".encode()


class ActingServer:
    """Acts on each request of a task, and answers in the way of that task."""

    def __init__(self, ways: dict[str, Way]) -> None:
        self._ways = ways
        #: What each task made it do.
        self.acted: Counter[str] = Counter()
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> ActingServer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            self._tasks.discard(task)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.readexactly(1)
        if first == b"\x16":  # The hello of TLS, which is not spoken here.
            writer.write(http(400))
            return
        head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lengths = [line for line in head.lower().split("\r\n") if line.startswith("content-length")]
        size = int(lengths[0].partition(":")[2]) if lengths else 0
        body = await reader.readexactly(size)
        task = head.split(" ")[1].partition("?")[0].strip("/")
        number: Any = None
        if task == "mcp":
            response, task, number = answer_handshake(head, body)
            if response is not None:
                writer.write(response)
                await writer.drain()
                return
        self.acted[task] += 1
        response = self._ways[task](self.acted[task], number)
        if response == HANG:
            await reader.read()
        elif response == RESET:
            # Closing with a time of zero sends a reset in place of the end.
            sock = writer.get_extra_info("socket")
            sock.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        elif response != CLOSE:
            writer.write(response)
            await writer.drain()


def answer_handshake(head: str, body: bytes) -> tuple[bytes | None, str, Any]:
    """The response to a message of MCP that calls no tool; else the tool and the id of the call."""
    if not head.startswith("POST"):
        return http(405), "", None
    message = json.loads(body)
    method, number = message["method"], message.get("id")
    if method == "tools/call":
        return None, message["params"]["name"], number
    if number is None:
        return http(202), "", None
    if method != "initialize":
        return http(200, rpc_error(-32601)(1, number)), "", None
    about = {"name": "acting", "version": "1"}
    result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": about}
    return http(200, {"jsonrpc": "2.0", "id": number, "result": result}), "", None


def rpc_error(code: int) -> Callable[[int, Any], dict[str, Any]]:
    """A JSON-RPC error with this code."""
    return lambda count, number: {
        "jsonrpc": "2.0",
        "id": number,
        "error": {"code": code, "message": "so it is"},
    }


def tool_result(
    text: str, *, failed: bool = False, number: float = 0.0, note: float | None = None
) -> Callable[[int, Any], dict[str, Any]]:
    """The result of a tool, with a number in its structured content and in a note on its text."""
    block: dict[str, Any] = {"type": "text", "text": text}
    if note is not None:
        block["_meta"] = {"note": note}
    structured = {"structuredContent": {"number": number}} if number else {}
    return lambda count, request_id: {
        "jsonrpc": "2.0",
        "id": request_id,
        "result": {"content": [block], "isError": failed, **structured},
    }
