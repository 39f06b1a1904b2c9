"""MCP servers, through the official SDK: a command over stdio, or an address over HTTP.

Actions: a tool by its name, ``call_tool`` (name, arguments), ``list_tools``, ``list_resources``,
``read_resource``, ``list_prompts``, ``get_prompt``. One session serves all calls and is made anew
when it has ended: a call that was under way gets a ``connection`` fault. What a server says about
itself is never believed: tools outside the allow-list (``custom_params.tools``) are refused here.
The SDK is imported when the first call needs it.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import json
import logging
import secrets as dice
import shlex
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast
from urllib.parse import urlsplit

import httpx2
import msgspec

from agenthive.agents.base import (
    AgentResponse,
    AgentType,
    BaseAgent,
    alone,
    bounded,
    credentials,
    fault_of,
    option,
    status_fault,
    strict_json,
)
from agenthive.agents.mcp.process_group import ProcessGroup, path_of
from agenthive.agents.mcp.session_owner import Held, Lost, Peer
from agenthive.agents.mcp.transport import Contained, Refusal
from agenthive.core.model.calls import Call, Fault, Reply
from agenthive.core.model.workflow import AgentSpec, Effect
from agenthive.errors import AgentError, APIError, ConfigurationError
from agenthive.infra.egress import MAX_BODY, Egress, GuardedTransport
from agenthive.infra.extras import require_package
from agenthive.infra.secrets import Secrets

if TYPE_CHECKING:
    from mcp import Client
    from mcp.client import Transport
    from mcp.client._transport import TransportStreams

STDIO: Final = "stdio:"
LISTS: Final = {f"list_{what}": what for what in ("tools", "resources", "prompts")}
READS: Final = frozenset({*LISTS, "read_resource", "get_prompt"})
ACTIONS: Final = READS | {"call_tool"}
KEY: Final = "agenthive/idempotency-key"
"""Where in ``_meta`` the idempotency key stands, unless ``custom_params.idempotency_meta`` says."""
GRACE: Final = 2.0
"""Seconds a server has to end by itself once its stdin is closed."""
PAGES: Final = 100
"""Of a listing, at most."""
_MARK: Final = dice.token_hex(16)
"""Goes before a fault that our own side made and the SDK hands on; no server can know it."""
CONNECTION_CLOSED: Final = -32000
CLOSED: Final = "Connection closed"
"""What the SDK says when a pipe has closed; servers use its number for anything."""
_CODES: Final = {
    -32700: ("invalid_reply", True),  # what came cannot be read
    -32600: ("refused", False),
    -32601: ("refused", False),
    -32602: ("refused", False),
    -32001: ("timeout", True),
}
"""Code of a JSON-RPC error -> kind of fault, and whether trying again may help."""
_SHAPES: Final[dict[str, Callable[[Any], bool]]] = {
    "args": lambda value: isinstance(value, list) and _all_strings(value),
    "cwd": lambda value: isinstance(value, str),
    "env": lambda value: isinstance(value, dict) and _all_strings(value.values()),
    "tools": lambda value: isinstance(value, list) and _all_strings(value),
    "max_result": lambda value: isinstance(value, int) and value > 0,
    "start_timeout": lambda value: isinstance(value, int | float) and value > 0,
    "idle_timeout": lambda value: isinstance(value, int | float) and value > 0,
}
"""What ``custom_params`` are read, and whether a value will do."""


class McpAgent(BaseAgent):
    """Calls one MCP server. Nothing is started before the first call."""

    kind: ClassVar[str] = AgentType.MCP_SERVER
    pure_actions: ClassVar[frozenset[str]] = READS

    def __init__(self, config: AgentSpec, secrets: Secrets, egress: Egress) -> None:
        super().__init__(config)
        self._secrets, self._egress = secrets, egress
        self._most = int(option(config, "max_result", MAX_BODY))
        self._meta_key = str(option(config, "idempotency_meta", KEY))
        start, idle = option(config, "start_timeout", 30.0), option(config, "idle_timeout", 600.0)
        self._times = float(start), float(idle)
        self._session: Held[Client] | None = None
        self._sessions: set[Held[Client]] = set()

    async def execute(self, action: str, parameters: dict[str, Any]) -> AgentResponse:
        """Ask the server outside any run."""
        return await alone(self, action, parameters)

    async def perform(self, call: Call) -> Reply:
        """Ask the server, with the call's idempotency key in ``_meta``."""
        session: Held[Client] | None = None
        try:
            parameters = self._checked(call)
            session = self._connected()
            client = await session.ready()
            meta = {self._meta_key: call.key} if call.key else {}
            request = Request(client, parameters, meta, allow_list(self.config), self._most)
            result = self._secrets.scrub_all(await session.run(request.send(call.action)))
            bounded(result, self._most)
        except Exception as error:
            return self._failed(error, session)
        return Reply(result=result)

    def _checked(self, call: Call) -> dict[str, Any]:
        """The parameters, with those secret references filled in that the definition holds."""
        tool = call.parameters.get("name") if call.action == "call_tool" else None
        problem = tool_problem(self.config, tool) if isinstance(tool, str) else None
        if problem := problem or action_problem(self.config, call.action):
            raise ConfigurationError(problem)
        return self._secrets.resolve_within(
            dict(call.parameters), call.references, place(self.config)
        )

    def _connected(self) -> Held[Client]:
        """The session that serves calls now, begun if there is none."""
        if self._session is None or self._session.over:
            self._session = session = self._begun()
            self._sessions.add(session)
            session.owner.add_done_callback(lambda _: self._sessions.discard(session))
        return self._session

    def _begun(self) -> Held[Client]:
        if self.config.endpoint.startswith(STDIO):
            command = Command(self.config, self._secrets, self._most)
            return Held(command, *self._times, ping=lambda client: client.list_tools())
        return Held(Address(self.config, self._secrets, self._egress, self._most), *self._times)

    def _failed(self, error: Exception, session: Held[Client] | None) -> Reply:
        fault = _fault(error, None if session is None else session.peer)
        if fault.kind == "connection" and session is not None and session.ping is None:
            session.retire()  # what holds a pipe knows for itself when that is lost
        message = self._secrets.scrub(f"{place(self.config)}: {fault.message[:1000]}")
        return Reply(fault=msgspec.structs.replace(fault, message=message))

    async def close(self) -> None:
        """End the session and every process of it."""
        self._session = None
        await asyncio.gather(*(session.close() for session in self._sessions))


@dataclass
class Request:
    """One thing asked of a server. ``most`` bounds the bytes of its answer."""

    client: Client
    parameters: dict[str, Any]
    meta: Any
    allowed: frozenset[str] | None
    most: int

    async def send(self, action: str) -> dict[str, Any]:
        """The result of an action as plain JSON."""
        if action in LISTS:
            return await self._listed(action, LISTS[action])
        if action == "read_resource":
            read = await self.client.read_resource(self._text("uri"), meta=self.meta)
            contents = [_plain(part) for part in read.contents]
            return {"contents": contents, **_texts(contents)}
        if action == "get_prompt":
            return await self._prompt()
        if action == "call_tool":
            return await self._tool(self._text("name"), self._arguments())
        return await self._tool(action, self.parameters)

    async def _tool(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        import mcp_types

        params = {"name": name, "arguments": arguments, "_meta": self.meta}
        request = mcp_types.CallToolRequest(
            params=mcp_types.CallToolRequestParams.model_validate(params, by_alias=True)
        )
        # Not `call_tool`: it checks the answer against a schema of the server's own, whose patterns
        # could keep this process busy for ever.
        answer = await self.client.session.send_request(request, _tool_answer())
        if not isinstance(answer, mcp_types.CallToolResult):
            raise ConfigurationError(f"the tool '{name}' asks for input, which nobody can give")
        content = [_plain(block) for block in answer.content]
        result: dict[str, Any] = _texts(content)
        if answer.is_error:
            raise AgentError(result["content"] or f"the tool '{name}' gave no reason")
        if answer.structured_content is not None:
            result["structured_content"] = answer.structured_content
        if others := [block for block in content if block.get("type") != "text"]:
            result["parts"] = others
        return result

    async def _prompt(self) -> dict[str, Any]:
        given = self._arguments()
        texts = {name: v if isinstance(v, str) else json.dumps(v) for name, v in given.items()}
        prompt = await self.client.get_prompt(self._text("name"), texts, meta=self.meta)
        messages = _plain(prompt).get("messages", [])
        return {"messages": messages, **_texts([message["content"] for message in messages])}

    async def _listed(self, action: str, field: str) -> dict[str, Any]:
        ask = getattr(self.client, action)
        found: list[dict[str, Any]] = []
        cursor, size = None, 0
        for _ in range(PAGES):
            page = await ask(cursor=cursor, meta=self.meta)
            items = [_plain(item) for item in getattr(page, field)]
            size += bounded(items, self.most - size)
            found += items
            if (cursor := page.next_cursor) is None:
                break
        else:
            raise APIError(f"the listing has more than {PAGES} pages")
        if action == "list_tools" and self.allowed is not None:
            found = [item for item in found if item["name"] in self.allowed]
        return {field: found}

    def _text(self, name: str) -> str:
        value = self.parameters.get(name)
        if not isinstance(value, str):
            raise ConfigurationError(f"the parameter '{name}' must be a string")
        return value

    def _arguments(self) -> dict[str, Any]:
        value = self.parameters.get("arguments") or {}
        if not isinstance(value, dict):
            raise ConfigurationError("the parameter 'arguments' must be an object")
        return value


class Command:
    """A server that we run: stdin and stdout carry the messages, one a line."""

    def __init__(self, config: AgentSpec, secrets: Secrets, most: int) -> None:
        self._config, self._secrets = config, secrets
        # The wire carries text and structured content, which may be the same thing twice.
        self._longest = 2 * most + 64 * 1024
        self._process: ProcessGroup | None = None
        self.complaint = ""

    async def open(self, stack: AsyncExitStack) -> Client:
        """Start it, and let the SDK greet it."""
        words = shlex.split(self._config.endpoint.removeprefix(STDIO))
        program = path_of(words[0])
        if program is None:
            raise ConfigurationError(f"there is no command '{words[0]}'")
        given, where = option(self._config, "env", {}), place(self._config)
        env = {name: self._secrets.resolve(v, where).reveal() for name, v in given.items()}
        arguments = [*words[1:], *option(self._config, "args", [])]
        cwd, longest = option(self._config, "cwd", None), self._longest
        try:
            self._process = await ProcessGroup.start(
                [program, *arguments], env=env, cwd=cwd, longest=longest
            )
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise ConfigurationError(f"the command cannot be started: {why}") from None
        stack.push_async_callback(self._process.end, GRACE)
        return await _greet(stack, functools.partial(self._streams, self._process))

    async def lost(self) -> None:
        """Ends when it has ended or closed its stdout."""
        assert self._process is not None
        await self._process.finished()

    def story(self) -> str:
        """How it ended, and what it said last."""
        if self._process is None:
            return "the server was not started"
        return self.complaint or f"the server {self._process.story}"

    def kill(self) -> None:
        """Kill its whole group."""
        assert self._process is not None
        self._process.kill()

    @asynccontextmanager
    async def _streams(self, process: ProcessGroup) -> AsyncIterator[TransportStreams]:
        import anyio
        from mcp.shared.message import SessionMessage

        heard, hear = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        say, said = anyio.create_memory_object_stream[SessionMessage](0)

        async def listen() -> None:
            async with heard:
                try:
                    async for line in process.lines():
                        message = _message(line)
                        if message is not None:
                            await heard.send(SessionMessage(message))
                except APIError as error:
                    self.complaint = error.message
                    process.kill()
                await process.finished()

        async def speak() -> None:
            async with said:
                async for item in said:
                    text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
                    try:
                        await process.write(f"{text}\n".encode())
                    except OSError:
                        return

        async with heard, hear, say, said, anyio.create_task_group() as group:
            group.start_soon(listen)
            group.start_soon(speak)
            yield hear, say
            group.cancel_scope.cancel()


class Address:
    """A server at an address: every message is a request of its own."""

    def __init__(self, config: AgentSpec, secrets: Secrets, egress: Egress, most: int) -> None:
        self._config, self._secrets = config, secrets
        inner = GuardedTransport(egress, 2 * most + 64 * 1024, plain=True)
        self._client = httpx2.AsyncClient(
            transport=Contained(inner, _explain), trust_env=False, timeout=None,
            headers={"accept-encoding": "identity", "user-agent": "agenthive"},
        )  # fmt: skip

    async def open(self, stack: AsyncExitStack) -> Client:
        """Log in and greet it."""
        await stack.enter_async_context(self._client)
        login, _ = credentials(self._config, self._secrets, place(self._config))
        self._client.headers.update(login)
        return await _greet(stack, self._messages)

    async def lost(self) -> None:
        """Never known: each request shows it for itself."""
        await asyncio.Event().wait()

    def story(self) -> str:
        """What is known of how it ended."""
        return "the server closed the connection"

    def kill(self) -> None:
        """Nothing to kill: the session's end closes every connection."""

    def _messages(self) -> Transport:
        from mcp.client.streamable_http import streamable_http_client

        # No bound on an event: there is one on the whole answer.
        return streamable_http_client(
            self._config.endpoint, http_client=self._client, max_sse_event_size=None
        )


def make(spec: AgentSpec, secrets: Secrets, egress: Egress, prices: object = None) -> BaseAgent:
    """The agent for a spec. Raises AgentUnavailable if the package `mcp` is not installed."""
    require_package("mcp", "mcp", spec.name)
    if problem := _problem(spec, egress):
        raise ConfigurationError(f"agent '{spec.name}': {problem}")
    return McpAgent(spec, secrets, egress)


def action_problem(spec: AgentSpec, action: str) -> str | None:
    """Why an action cannot be asked of such a server: a tool that is not on the allow-list."""
    return None if action in ACTIONS else tool_problem(spec, action)


def effect_of(spec: AgentSpec, action: str) -> Effect | None:
    """Listing and reading change nothing; of a tool nothing is known, whatever its server says."""
    return Effect.NONE if action in READS else None


def tool_problem(spec: AgentSpec, tool: str) -> str | None:
    """Why a tool may not be called; None if it may."""
    allowed = allow_list(spec)
    if allowed is None or tool in allowed:
        return None
    return f"the tool '{tool}' is not on the allow-list of agent '{spec.name}'"


def allow_list(spec: AgentSpec) -> frozenset[str] | None:
    """The tools that may be called; None if all may."""
    tools = option(spec, "tools", None)
    if tools is None:
        return None
    return frozenset(tools) if _SHAPES["tools"](tools) else frozenset()


def place(spec: AgentSpec) -> str:
    """Where a server is, in a few words: secrets are bound to it, and messages begin with it."""
    if spec.endpoint.startswith(STDIO):
        return STDIO + spec.endpoint.removeprefix(STDIO).strip().partition(" ")[0]
    return urlsplit(spec.endpoint).netloc.rpartition("@")[2]


def _problem(spec: AgentSpec, egress: Egress) -> str | None:
    for name, fits in _SHAPES.items():
        if name in spec.custom_params and not fits(spec.custom_params[name]):
            return f"custom_params.{name} is not what it should be"
    if not spec.endpoint.startswith(STDIO):
        http = urlsplit(spec.endpoint).scheme in ("http", "https")
        return None if http else f"'{spec.endpoint}' is neither stdio:COMMAND nor an http address"
    if egress.guarded:
        return "a server does not run commands that a workflow names"
    try:
        words = shlex.split(spec.endpoint.removeprefix(STDIO))
    except ValueError as error:
        return f"'{spec.endpoint}' cannot be read: {error}"
    return None if words else "the endpoint stdio: needs a command"


def _fault(error: BaseException, peer: Peer[Client] | None) -> Fault:
    """What an exception of a call means; ``peer`` knows how the session came to its end."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    story = "" if peer is None else peer.story()
    code = getattr(error, "code", None)  # only what comes through the protocol has one
    if isinstance(code, int) and (ours := str(error).partition(_MARK)[2]):
        return msgspec.json.decode(ours, type=Fault)
    at_once = isinstance(peer, Address) or str(error) == CLOSED
    if isinstance(error, Lost) or (code == CONNECTION_CLOSED and at_once):
        complaint = getattr(peer, "complaint", "")
        kind = "invalid_reply" if complaint else "connection"
        told = story if str(error) in ("", CLOSED) else f"{story} ({error})"
        return Fault(kind=kind, message=told)
    if isinstance(error, TimeoutError):
        return Fault(kind="timeout", message=f"it did not answer in time; {story}")
    if not isinstance(code, int):
        return fault_of(error)
    kind, retriable = _CODES.get(code, ("agent_error", True))
    return Fault(kind=kind, message=str(error), retriable=retriable, counts=False)


def _explain(error: Exception | Refusal) -> str:
    """A fault of the HTTP connection in a form that comes back through the SDK unchanged."""
    if not isinstance(error, Refusal):
        fault = fault_of(error)
    elif error.status == 404 and error.in_session:
        fault = Fault(kind="connection", message="the server has forgotten the session")
    else:
        fault = status_fault(error.status, error.headers, error.text)
    return _MARK + msgspec.json.encode(fault).decode()


async def _greet(stack: AsyncExitStack, transport: Callable[[], Transport]) -> Client:
    # The SDK takes a second to import: not on the event loop.
    sdk = await asyncio.to_thread(importlib.import_module, "mcp")
    # What it logs may hold anything that a server says.
    logging.getLogger("mcp.client").setLevel(logging.CRITICAL + 1)
    return cast("Client", await stack.enter_async_context(sdk.Client(transport(), cache=None)))


@functools.cache
def _tool_answer() -> Any:
    import mcp_types
    from pydantic import TypeAdapter

    return TypeAdapter(mcp_types.CallToolResult | mcp_types.InputRequiredResult)


def _all_strings(values: Iterable[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _message(line: bytes) -> Any:
    """A line as a message of the protocol; None if it is noise. What is malformed is an error."""
    import mcp_types

    try:
        loose = json.loads(line)
        number = loose["id"] if isinstance(loose, dict) and "method" not in loose else None
    except RecursionError:
        raise APIError("it sent a line that is nested too deep") from None
    except (ValueError, KeyError):
        return None
    try:
        value = strict_json(line.decode())
        return mcp_types.jsonrpc_message_adapter.validate_python(value, by_name=False)
    except ValueError as error:
        if not isinstance(number, int | str):
            return None
        what = f"the answer is malformed: {error}"
        problem = mcp_types.ErrorData(code=mcp_types.PARSE_ERROR, message=what)
        return mcp_types.JSONRPCError(jsonrpc="2.0", id=number, error=problem)


def _plain(value: Any) -> dict[str, Any]:
    return dict(value.model_dump(mode="json", by_alias=True, exclude_none=True))


def _texts(parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {"content": "\n".join(str(part["text"]) for part in parts if "text" in part)}
