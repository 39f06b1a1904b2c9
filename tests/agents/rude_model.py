"""A model server of our own for what aimock does not do: hang, boast, garble, drop, echo the key.

It speaks just enough HTTP to do it wrongly. What it answers is what `script` says for a request's
body: bytes for the wire, or None to hang until the other side goes away. Bytes that are no whole
answer are followed by the end of the connection.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from agenthive.agents.base import AgentServices, BaseAgent
from agenthive.agents.llm.router import make
from agenthive.core.model.calls import Call
from agenthive.core.model.workflow import AgentSpec
from agenthive.infra.egress import Egress
from agenthive.infra.secrets import Secrets

Script = Callable[[dict[str, Any]], bytes | None]


def http(status: int, body: object, headers: Mapping[str, str] | None = None) -> bytes:
    """An HTTP answer: a string or bytes as they are, anything else as JSON."""
    if isinstance(body, str):
        content = body.encode()
    else:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
    phrase = HTTPStatus(status).phrase if status in iter(HTTPStatus) else "Overloaded"
    lines = [f"HTTP/1.1 {status} {phrase}", f"content-length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "content-type: application/json", "", ""]).encode() + content


def answer(vendor: str, content: str = "fine", **more: Any) -> dict[str, Any]:
    """A good answer of a vendor; ``more`` replaces its parts."""
    if vendor == "anthropic":
        blocks = [{"type": "text", "text": content}]
        return {"model": "m-1", "content": blocks, "stop_reason": "end_turn", **more}
    choice = {"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    return {"model": "m-1", "choices": [choice], **more}


def told(body: dict[str, Any]) -> str:
    """What the last message says."""
    return str(body["messages"][-1]["content"])


class RudeModel:
    """The server. ``heads`` holds the headers of each request, ``bodies`` the bodies."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.heads: list[dict[str, str]] = []
        self.lines: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.hanging = 0
        self.host = ""
        self._served: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> RudeModel:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.host = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *why: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._served.values():
            writer.close()
        await asyncio.gather(*(task for task in self._served if task is not None))

    @property
    def keys(self) -> list[str]:
        return [head.get("idempotency-key", "") for head in self.heads]

    def agent(
        self,
        vendor: str,
        secrets: Secrets | None = None,
        egress: Egress | None = None,
        authentication: dict[str, Any] | None = None,
        **custom: Any,
    ) -> BaseAgent:
        """An agent that asks this server."""
        spec = AgentSpec(
            name="model",
            type="ai_agent",
            endpoint=f"http://{self.host}",
            authentication=authentication,
            custom_params={"provider": vendor, "model": "m-1", **custom},
        )
        return make(spec, AgentServices(secrets or Secrets(), egress or Egress()))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._served[asyncio.current_task()] = writer
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                if not await self._answer(head.decode(), reader, writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(
        self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        line, *rest = head.strip().split("\r\n")
        headers = {one.partition(":")[0].lower(): one.partition(":")[2].strip() for one in rest}
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        self.lines.append(line)
        self.heads.append(headers)
        self.bodies.append(body)
        said = self.script(body)
        if said is None:
            self.hanging += 1
            await reader.read()
            self.hanging -= 1
            return False
        writer.write(said)
        await writer.drain()
        return said.startswith(b"HTTP/1.1 ") and not said.endswith(b"{")


def asked(says: str = "hello", *, key: str = "k", **parameters: Any) -> Call:
    given = {"messages": [{"role": "user", "content": says}], **parameters}
    return Call(
        run="r",
        task="t",
        attempt=1,
        key=key,
        agent="model",
        action="chat_completion",
        parameters=given,
    )
