"""An MCP server: stdio:COMMAND or http(s)://...

It is called through the official SDK. Actions: a tool by its name, ``call_tool`` (name, arguments),
``list_tools``, ``list_resources``, ``read_resource``, ``list_prompts``, ``get_prompt``. One session
serves all calls; when it has ended, the next call opens another one, and a call that was in flight
gets a fault of the kind ``connection``. What a server declares about itself is never trusted: tools
outside the allow-list (``custom_params.tools``) are refused here. The SDK is imported when the
first call needs it.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import json
import logging
import math
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
    AgentServices,
    AgentType,
    BaseAgent,
    execute_via_perform,
    get_option,
    login_headers,
    parse_strict_json,
)
from agenthive.agents.faults import (
    REFUSED_STATUSES,
    CallFailed,
    build_fault,
    fault_of,
    find_refused_statuses,
    status_fault,
    summarise_error,
)
from agenthive.agents.mcp.process_group import ProcessGroup, find_program
from agenthive.agents.mcp.session_owner import ConnectionLost, Peer, SessionOwner
from agenthive.agents.mcp.transport import REFUSED_CODES, HttpRefusal, SafeTransport
from agenthive.agents.results import check_size
from agenthive.core.model.calls import Call, Fault, Reply
from agenthive.core.model.workflow import AgentSpec, Effect
from agenthive.core.policies.fault_classes import FaultClass
from agenthive.core.values import JSONObject
from agenthive.errors import APIError, ConfigurationError
from agenthive.infra.egress import MAX_BODY, Egress, GuardedTransport
from agenthive.infra.extras import require_package
from agenthive.infra.secrets import Secrets

if TYPE_CHECKING:
    from mcp import Client
    from mcp.client import Transport
    from mcp.client._transport import TransportStreams


def _object(**types: str) -> JSONObject:
    """The schema of an object with these properties; all but ``arguments`` are required."""
    return {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in types.items()},
        "required": [name for name in types if name != "arguments"],
        "additionalProperties": False,
    }


STDIO: Final = "stdio:"
LISTS: Final = {f"list_{what}": what for what in ("tools", "resources", "prompts")}
READS: Final = frozenset({*LISTS, "read_resource", "get_prompt"})
ACTIONS: Final = READS | {"call_tool"}
#: Action of the protocol -> JSON Schema of its parameters.
PARAMETERS: Final[dict[str, JSONObject]] = {
    **{name: {"type": "object", "additionalProperties": False} for name in LISTS},
    "read_resource": _object(uri="string"),
    "get_prompt": _object(name="string", arguments="object"),
    "call_tool": _object(name="string", arguments="object"),
}
#: The key in ``_meta`` for the idempotency key, unless ``custom_params.idempotency_meta`` names
#: another one.
KEY: Final = "agenthive/idempotency-key"
#: Seconds that a server has to end by itself after its stdin was closed.
GRACE: Final = 2.0
#: Pages of a listing that are read; a server could send a next page for ever.
PAGES: Final = 100
#: Precedes a fault that our transport encodes in an error message, and that comes back through the
#: SDK. It is random, so that no server can forge such a fault.
_MARK: Final = dice.token_hex(16)
#: The code and the message of the SDK's error when a pipe was closed. Servers use the same code
#: for errors of their own, so the message is compared too.
CONNECTION_CLOSED: Final = -32000
CLOSED: Final = "Connection closed"
#: Code of a JSON-RPC error -> kind of the fault. Any other code is an error of the tool's.
_KINDS: Final = {
    -32700: "invalid_reply",  # a parse error: of the response, see `_parse_message`
    -32001: "timeout",
    **dict.fromkeys(REFUSED_CODES, "refused"),
}
#: Name in ``custom_params`` -> whether a value is acceptable.
_SHAPES: Final[dict[str, Callable[[Any], bool]]] = {
    "args": lambda value: isinstance(value, list) and _all_strings(value),
    "cwd": lambda value: isinstance(value, str),
    "env": lambda value: isinstance(value, dict) and _all_strings(value.values()),
    "tools": lambda value: isinstance(value, list) and _all_strings(value),
    "max_result": lambda value: isinstance(value, int) and value > 0,
    "start_timeout": lambda value: isinstance(value, int | float) and value > 0,
    "idle_timeout": lambda value: isinstance(value, int | float) and value > 0,
    REFUSED_STATUSES: lambda value: _are_statuses(value),
}
#: Name in ``custom_params`` -> what a value must be, as part of an error message.
_EXPECTED: Final = {
    "args": "a list of texts",
    "cwd": "a text, the path of a folder",
    "env": "a map from names to texts",
    "tools": "a list of texts, the names of tools",
    "max_result": "a whole number of bytes above 0",
    "start_timeout": "a number of seconds above 0",
    "idle_timeout": "a number of seconds above 0",
    REFUSED_STATUSES: "a list of HTTP statuses between 400 and 599",
}


class McpAgent(BaseAgent):
    """An agent that calls one MCP server. Nothing is started before the first call."""

    kind: ClassVar[str] = AgentType.MCP_SERVER
    pure_actions: ClassVar[frozenset[str]] = READS

    def __init__(self, config: AgentSpec, secrets: Secrets, egress: Egress) -> None:
        super().__init__(config)
        self._secrets, self._egress = secrets, egress
        self._max_bytes = int(get_option(config, "max_result", MAX_BODY))
        self._meta_key = str(get_option(config, "idempotency_meta", KEY))
        start_timeout, idle_timeout = (
            get_option(config, "start_timeout", 30.0),
            get_option(config, "idle_timeout", 600.0),
        )
        self._timeouts = float(start_timeout), float(idle_timeout)
        #: The session that takes calls, if there is one.
        self._session: SessionOwner[Client] | None = None
        #: All sessions that have not ended, also retired ones with calls in flight.
        self._sessions: set[SessionOwner[Client]] = set()

    async def execute(self, action: str, parameters: dict[str, Any]) -> AgentResponse:
        """Call the server outside any run."""
        return await execute_via_perform(self, action, parameters)

    async def perform(self, call: Call) -> Reply:
        """Call the server, with the call's idempotency key in ``_meta``."""
        session: SessionOwner[Client] | None = None
        is_open = False
        try:
            parameters = self._resolve_parameters(call)
            session = self._current_session()
            client = await session.wait_ready()
            is_open = True
            meta = {self._meta_key: call.key} if call.key else {}
            request = McpRequest(client, parameters, meta, allow_list(self.config), self._max_bytes)
            result = await session.run(request.send(call.action))
        except Exception as error:
            return self._fault_reply(error, session, is_open=is_open)
        return self._build_reply(result)

    def _build_reply(self, result: dict[str, Any]) -> Reply:
        try:
            scrubbed_result = self._secrets.scrub_value(result)
            check_size(scrubbed_result, self._max_bytes)
        except Exception as error:
            reason = error.message if isinstance(error, APIError) else summarise_error(error)
            message = f"it ran, and its result cannot be kept: {reason}"
            fault = build_fault("invalid_reply", message, FaultClass.BAD_END)
            return Reply(fault=self._name_server(fault))
        return Reply(result=scrubbed_result)

    def _resolve_parameters(self, call: Call) -> dict[str, Any]:
        """The parameters with the secret references of the definition resolved.

        Raises ConfigurationError for a tool that is not on the allow-list.
        """
        tool = call.parameters.get("name") if call.action == "call_tool" else None
        problem = tool_problem(self.config, tool) if isinstance(tool, str) else None
        if problem := problem or action_problem(self.config, call.action):
            raise ConfigurationError(problem)
        return self._secrets.resolve_value(
            dict(call.parameters), call.references, server_label(self.config)
        )

    def _current_session(self) -> SessionOwner[Client]:
        """The session that takes calls, opened if there is none."""
        if self._session is None or self._session.retired:
            self._session = session = self._open_session()
            self._sessions.add(session)
            session.owner.add_done_callback(lambda _: self._sessions.discard(session))
        return self._session

    def _open_session(self) -> SessionOwner[Client]:
        if self.config.endpoint.startswith(STDIO):
            command = StdioServer(self.config, self._secrets, self._max_bytes)
            return SessionOwner(command, *self._timeouts, ping=lambda client: client.list_tools())
        return SessionOwner(
            RemoteServer(self.config, self._secrets, self._egress, self._max_bytes), *self._timeouts
        )

    def _fault_reply(
        self, error: Exception, session: SessionOwner[Client] | None, *, is_open: bool
    ) -> Reply:
        """The fault for an error; ``is_open``: the server had greeted, so a request may be sent."""
        fault = _session_fault(error, None if session is None else session.peer)
        if not is_open:
            fault = msgspec.structs.replace(fault, class_=FaultClass.NOT_SENT)
        if fault.kind == "connection" and session is not None and session.ping is None:
            # Over HTTP only a failing request shows that a connection is lost; a session on a
            # pipe notices it by itself.
            session.retire()
        return Reply(fault=self._name_server(fault))

    def _name_server(self, fault: Fault) -> Fault:
        message = self._secrets.scrub(f"{server_label(self.config)}: {fault.message[:1000]}")
        return msgspec.structs.replace(fault, message=message)

    async def close(self) -> None:
        """End all sessions and their processes."""
        self._session = None
        await asyncio.gather(*(session.close() for session in self._sessions))


@dataclass
class McpRequest:
    """One request to a server."""

    client: Client
    parameters: dict[str, Any]
    #: ``_meta`` of the request: the idempotency key.
    meta: Any
    #: The allow-list of tools; None if all are allowed.
    allowed: frozenset[str] | None
    #: The largest listing, in bytes of JSON.
    max_bytes: int

    async def send(self, action: str) -> dict[str, Any]:
        """Perform an action, and return its result as plain JSON."""
        if action in LISTS:
            return await self._list_pages(action, LISTS[action])
        if action == "read_resource":
            resource = await self.client.read_resource(self._get_text("uri"), meta=self.meta)
            contents = [_to_plain(part) for part in resource.contents]
            return {"contents": contents, **_join_texts(contents)}
        if action == "get_prompt":
            return await self._get_prompt()
        if action == "call_tool":
            return await self._call_tool(self._get_text("name"), self._get_arguments())
        return await self._call_tool(action, self.parameters)

    async def _call_tool(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        import mcp_types

        params = {"name": name, "arguments": arguments, "_meta": self.meta}
        request = mcp_types.CallToolRequest(
            params=mcp_types.CallToolRequestParams.model_validate(params, by_alias=True)
        )
        # Not the SDK's `call_tool`: it validates the result against a schema that the server sends,
        # and a regular expression in it could keep this process busy for ever.
        response = await self.client.session.send_request(request, _tool_result_type())
        if not isinstance(response, mcp_types.CallToolResult):
            message = (
                f"the tool '{name}' requested input from a user, which agenthive does not support; "
                "pass everything that the tool needs as arguments"
            )
            raise CallFailed(build_fault("refused", message, FaultClass.BAD_END, retriable=False))
        content = [_to_plain(block) for block in response.content]
        result: dict[str, Any] = _join_texts(content)
        if response.is_error:
            message = result["content"] or f"the tool '{name}' gave no reason"
            raise CallFailed(build_fault("agent_error", message, FaultClass.BAD_END))
        if response.structured_content is not None:
            result["structured_content"] = response.structured_content
        if other_blocks := [block for block in content if block.get("type") != "text"]:
            result["parts"] = other_blocks
        return result

    async def _get_prompt(self) -> dict[str, Any]:
        arguments = self._get_arguments()
        texts = {
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in arguments.items()
        }
        prompt = await self.client.get_prompt(self._get_text("name"), texts, meta=self.meta)
        messages = _to_plain(prompt).get("messages", [])
        return {"messages": messages, **_join_texts([message["content"] for message in messages])}

    async def _list_pages(self, action: str, field: str) -> dict[str, Any]:
        fetch_page = getattr(self.client, action)
        entries: list[dict[str, Any]] = []
        cursor, size = None, 0
        for _ in range(PAGES):
            page = await fetch_page(cursor=cursor, meta=self.meta)
            items = [_to_plain(item) for item in getattr(page, field)]
            size += check_size(items, self.max_bytes - size)
            entries += items
            if (cursor := page.next_cursor) is None:
                break
        else:
            raise APIError(f"the server's {action} has more than {PAGES} pages")
        if action == "list_tools" and self.allowed is not None:
            entries = [item for item in entries if item["name"] in self.allowed]
        return {field: entries}

    def _get_text(self, name: str) -> str:
        value = self.parameters.get(name)
        if not isinstance(value, str):
            raise ConfigurationError(f"the parameter '{name}' must be a string")
        return value

    def _get_arguments(self) -> dict[str, Any]:
        value = self.parameters.get("arguments") or {}
        if not isinstance(value, dict):
            raise ConfigurationError("the parameter 'arguments' must be an object")
        return value


class StdioServer:
    """A server that runs as a local command: stdin and stdout carry one message per line."""

    def __init__(self, config: AgentSpec, secrets: Secrets, max_bytes: int) -> None:
        self._config, self._secrets = config, secrets
        # A message holds text and structured content, which may be the same value twice.
        self._max_line = 2 * max_bytes + 64 * 1024
        self._process: ProcessGroup | None = None
        #: Why the process was killed, if its output was not acceptable.
        self.complaint = ""

    async def open(self, stack: AsyncExitStack) -> Client:
        """Start the command, and initialize a session. Raises ConfigurationError."""
        words = shlex.split(self._config.endpoint.removeprefix(STDIO))
        program = find_program(words[0])
        if program is None:
            raise ConfigurationError(
                f"there is no command '{words[0]}' on the PATH of agenthive; install it, or write "
                "its absolute path"
            )
        env_references, label = get_option(self._config, "env", {}), server_label(self._config)
        env = {
            name: self._secrets.resolve(reference, label).reveal()
            for name, reference in env_references.items()
        }
        arguments = [*words[1:], *get_option(self._config, "args", [])]
        cwd, max_line = get_option(self._config, "cwd", None), self._max_line
        try:
            self._process = await ProcessGroup.start(
                [program, *arguments], env=env, cwd=cwd, max_line=max_line
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigurationError(
                f"the command '{program}' cannot be started: {reason}"
            ) from None
        stack.push_async_callback(self._process.end, GRACE)
        return await _connect_client(stack, functools.partial(self._message_streams, self._process))

    async def wait_lost(self) -> None:
        """Return when the process has ended or has closed its stdout."""
        assert self._process is not None
        await self._process.wait_finished()

    def describe_end(self) -> str:
        """How the process ended, and the last line of its stderr."""
        if self._process is None:
            return "the server was not started"
        return self.complaint or f"the server {self._process.exit_story}"

    def kill(self) -> None:
        """Kill the whole process group."""
        assert self._process is not None
        self._process.kill()

    @asynccontextmanager
    async def _message_streams(self, process: ProcessGroup) -> AsyncIterator[TransportStreams]:
        import anyio
        from mcp.shared.message import SessionMessage

        incoming_send, incoming_receive = anyio.create_memory_object_stream[
            SessionMessage | Exception
        ](0)
        outgoing_send, outgoing_receive = anyio.create_memory_object_stream[SessionMessage](0)

        async def read_messages() -> None:
            async with incoming_send:
                try:
                    async for line in process.read_lines():
                        message = _parse_message(line)
                        if message is not None:
                            await incoming_send.send(SessionMessage(message))
                except APIError as error:
                    self.complaint = error.message
                    process.kill()
                await process.wait_finished()

        async def write_messages() -> None:
            async with outgoing_receive:
                async for item in outgoing_receive:
                    text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
                    try:
                        await process.write(f"{text}\n".encode())
                    except OSError:
                        return

        async with (
            incoming_send,
            incoming_receive,
            outgoing_send,
            outgoing_receive,
            anyio.create_task_group() as group,
        ):
            group.start_soon(read_messages)
            group.start_soon(write_messages)
            yield incoming_receive, outgoing_send
            group.cancel_scope.cancel()


class RemoteServer:
    """A server at an HTTP address. Every message is a request of its own."""

    def __init__(self, config: AgentSpec, secrets: Secrets, egress: Egress, max_bytes: int) -> None:
        self._config, self._secrets = config, secrets
        inner = GuardedTransport(egress, 2 * max_bytes + 64 * 1024, plain=True)
        host = urlsplit(config.endpoint).hostname or ""
        refused = find_refused_statuses(config.custom_params, host)
        self._client = httpx2.AsyncClient(
            transport=SafeTransport(inner, functools.partial(_encode_fault, refused=refused)),
            trust_env=False,
            timeout=None,
            headers={"accept-encoding": "identity", "user-agent": "agenthive"},
        )

    async def open(self, stack: AsyncExitStack) -> Client:
        """Add the login to the client, and initialize a session."""
        await stack.enter_async_context(self._client)
        login, _ = login_headers(self._config, self._secrets, server_label(self._config))
        self._client.headers.update(login)
        return await _connect_client(stack, self._http_transport)

    async def wait_lost(self) -> None:
        """Wait for ever: over HTTP only a failing request shows that the server is lost."""
        await asyncio.Event().wait()

    def describe_end(self) -> str:
        """How the session ended."""
        return "the server closed the connection"

    def kill(self) -> None:
        """Do nothing: the end of the session closes every connection."""

    def _http_transport(self) -> Transport:
        from mcp.client.streamable_http import streamable_http_client

        # No bound on a single event: `GuardedTransport` bounds the whole response.
        return streamable_http_client(
            self._config.endpoint, http_client=self._client, max_sse_event_size=None
        )


def make(spec: AgentSpec, services: AgentServices) -> BaseAgent:
    """The agent for a spec. Raises AgentUnavailable if the package `mcp` is not installed."""
    require_package("mcp", "mcp", spec.name)
    if problem := _spec_problem(spec, services.egress):
        raise ConfigurationError(f"agent '{spec.name}': {problem}")
    return McpAgent(spec, services.secrets, services.egress)


def action_problem(spec: AgentSpec, action: str) -> str | None:
    """Why a server cannot perform an action: a tool that is not on the allow-list."""
    return None if action in ACTIONS else tool_problem(spec, action)


def effect_of(spec: AgentSpec, action: str) -> Effect | None:
    """Listing and reading only read. The effect of a tool is unknown; its server is not trusted."""
    return Effect.NONE if action in READS else None


def parameters(spec: AgentSpec, action: str) -> JSONObject | None:
    """The parameters of the protocol's own actions; only its server knows those of a tool."""
    return PARAMETERS.get(action)


def tool_problem(spec: AgentSpec, tool: str) -> str | None:
    """Why a tool may not be called; None if it may."""
    allowed = allow_list(spec)
    if allowed is None or tool in allowed:
        return None
    return (
        f"the tool '{tool}' is not on the allow-list of agent '{spec.name}' (custom_params.tools)"
    )


def allow_list(spec: AgentSpec) -> frozenset[str] | None:
    """The tools that may be called; None if all may."""
    tools = get_option(spec, "tools", None)
    if tools is None:
        return None
    return frozenset(tools) if _SHAPES["tools"](tools) else frozenset()


def server_label(spec: AgentSpec) -> str:
    """The host or the command of a server. Secrets are bound to it, and messages begin with it."""
    if spec.endpoint.startswith(STDIO):
        return STDIO + spec.endpoint.removeprefix(STDIO).strip().partition(" ")[0]
    return urlsplit(spec.endpoint).netloc.rpartition("@")[2]


def _spec_problem(spec: AgentSpec, egress: Egress) -> str | None:
    for name, fits in _SHAPES.items():
        if name in spec.custom_params and not fits(spec.custom_params[name]):
            return f"custom_params.{name} must be {_EXPECTED[name]}"
    if not spec.endpoint.startswith(STDIO):
        is_http = urlsplit(spec.endpoint).scheme in ("http", "https")
        return (
            None
            if is_http
            else f"'{spec.endpoint}' is neither stdio:COMMAND nor an http or https address"
        )
    if egress.guarded:
        return "in server mode agenthive does not run commands that a workflow names"
    try:
        words = shlex.split(spec.endpoint.removeprefix(STDIO))
    except ValueError as error:
        return f"the command in '{spec.endpoint}' cannot be parsed: {error}"
    return None if words else "the endpoint 'stdio:' names no command; write stdio:COMMAND"


def _session_fault(error: BaseException, peer: Peer[Client] | None) -> Fault:
    """The fault for an exception of a call; ``peer`` describes how its session ended."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    ending = "" if peer is None else peer.describe_end()
    code = getattr(error, "code", None)  # Only errors of the protocol have one.
    if isinstance(code, int) and (encoded_fault := str(error).partition(_MARK)[2]):
        return msgspec.json.decode(encoded_fault, type=Fault)
    is_certain = isinstance(peer, RemoteServer) or str(error) == CLOSED
    if isinstance(error, ConnectionLost) or (code == CONNECTION_CLOSED and is_certain):
        complaint = getattr(peer, "complaint", "")
        kind = "invalid_reply" if complaint else "connection"
        message = ending if str(error) in ("", CLOSED) else f"{ending} ({error})"
        return build_fault(kind, message, FaultClass.UNKNOWN)
    if isinstance(error, TimeoutError):
        message = f"the server did not respond in time; {ending}"
        return build_fault("timeout", message, FaultClass.UNKNOWN)
    if not isinstance(code, int):
        return fault_of(error)
    class_ = FaultClass.REFUSED if code in REFUSED_CODES else FaultClass.UNKNOWN
    return build_fault(
        _KINDS.get(code, "agent_error"),
        str(error),
        class_,
        retriable=class_ is not FaultClass.REFUSED,
    )


def _encode_fault(
    error: Exception | HttpRefusal, *, is_sent: bool, refused: frozenset[int] = frozenset()
) -> str:
    """A fault of an HTTP request as an error message, which the SDK returns to `_session_fault`.

    ``is_sent``: an earlier request of the same call was sent. ``refused`` holds the statuses that
    the server documents as "not carried out".
    """
    if not isinstance(error, HttpRefusal):
        fault = fault_of(error)
    elif error.status == 404 and error.in_session:
        # Retried in a new session, but not by a task with `effect: once`: it may have acted.
        message = "the server does not know the session any more"
        fault = build_fault("connection", message, FaultClass.UNKNOWN)
    elif error.status < 300:
        message = f"HTTP {error.status} is no response of the protocol: {error.text}"
        fault = build_fault("invalid_reply", message, FaultClass.UNKNOWN)
    else:
        fault = status_fault(error.status, error.headers, error.text, refused)
    if is_sent:
        fault = msgspec.structs.replace(fault, class_=FaultClass.UNKNOWN)
    return _MARK + msgspec.json.encode(fault).decode()


async def _connect_client(stack: AsyncExitStack, transport: Callable[[], Transport]) -> Client:
    # The SDK takes a second to import, which would block the event loop.
    sdk = await asyncio.to_thread(importlib.import_module, "mcp")
    # Its log lines may contain anything that a server sends, secrets included.
    logging.getLogger("mcp.client").setLevel(logging.CRITICAL + 1)
    # The SDK's sessions log to "client", a name that a program may use too.
    logging.getLogger("client").addFilter(_is_of_others)
    return cast("Client", await stack.enter_async_context(sdk.Client(transport(), cache=None)))


def _is_of_others(record: logging.LogRecord) -> bool:
    """Whether a line in the log ``client`` does not come from the SDK."""
    return "/mcp/client/" not in record.pathname.replace("\\", "/")


@functools.cache
def _tool_result_type() -> Any:
    import mcp_types
    from pydantic import TypeAdapter

    return TypeAdapter(mcp_types.CallToolResult | mcp_types.InputRequiredResult)


def _are_statuses(value: Any) -> bool:
    return isinstance(value, list) and all(
        type(status) is int and 400 <= status < 600 for status in value
    )


def _all_strings(values: Iterable[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _parse_message(line: bytes) -> Any:
    """A line of stdout as a message of the protocol; None if it is not one.

    Servers print other text too, which is ignored. A malformed response with a readable id becomes
    an error response, so that its request fails at once. Raises APIError for a line that is nested
    too deeply.
    """
    import mcp_types

    try:
        # Any number is read here, so that a response with one that is refused below is answered.
        lenient = json.loads(line, parse_int=_parse_id)
        request_id = (
            lenient["id"] if isinstance(lenient, dict) and "method" not in lenient else None
        )
    except RecursionError:
        raise APIError("the server sent a line that is nested too deeply") from None
    except (ValueError, KeyError):
        return None
    try:
        value = parse_strict_json(line.decode())
        return mcp_types.jsonrpc_message_adapter.validate_python(value, by_name=False)
    except ValueError as error:
        if type(request_id) not in (int, str):  # True is an int.
            return None
        reason = f"the response is malformed: {error}"
        error_data = mcp_types.ErrorData(code=mcp_types.PARSE_ERROR, message=reason)
        return mcp_types.JSONRPCError(jsonrpc="2.0", id=request_id, error=error_data)


def _parse_id(text: str) -> int:
    """A whole number; 0, which is the id of no request of ours, if it is too long for an id."""
    return int(text) if len(text) <= 20 else 0


def find_odd_number(value: Any) -> str:
    """The first number in a value that JSON does not have, such as ``nan``; empty if none."""
    remaining = [value]
    while remaining:
        part = remaining.pop()
        if isinstance(part, dict):
            remaining += part.values()
        elif isinstance(part, list | tuple):
            remaining += part
        elif isinstance(part, float) and not math.isfinite(part):
            return str(part)
    return ""


def _to_plain(value: Any) -> dict[str, Any]:
    """A part of a response as plain JSON. Raises CallFailed for a number that is not JSON."""
    # Over HTTP, the SDK reads NaN and 1e400, and its dump would turn both into null.
    if number := find_odd_number(value.model_dump(by_alias=True)):
        message = f"it ran, and its result cannot be kept: {number} is not JSON"
        raise CallFailed(build_fault("invalid_reply", message, FaultClass.BAD_END))
    return dict(value.model_dump(mode="json", by_alias=True, exclude_none=True))


def _join_texts(parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {"content": "\n".join(str(part["text"]) for part in parts if "text" in part)}
