"""What the agents of language models share: one call from a task to the vendor's package and back.

A vendor's file says how its client is opened, how a question is spelled and how an answer is read.
Everything else is here: which model, which prompt, the login, the idempotency key, the faults, what
a call used. `chat_completion` sends its messages as they are; any other action is a prompt made of
the task's description (or the action's name), its parameters and the results it depends on.
Nothing here knows a vendor or tries again.
"""

from __future__ import annotations

import asyncio
import os
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol
from urllib.parse import urlsplit

import httpx2
import msgspec

from agenthive.agents.base import (
    AgentResponse,
    AgentType,
    BaseAgent,
    check_headers,
    execute_via_perform,
    fault_of,
    fault_reply,
    get_option,
    login_headers,
    parse_strict_json,
    status_fault,
)
from agenthive.agents.llm.prices import Prices
from agenthive.agents.llm.prompts import Prompt, build_prompt
from agenthive.agents.llm.rate_limit_headers import headroom
from agenthive.agents.llm.token_bounds import max_input_tokens
from agenthive.core.machine.guards.outcome import INVALID_OUTPUT
from agenthive.core.model.calls import Call, Fault, Headroom, Reply, ToolCall, Usage
from agenthive.core.model.workflow import AgentSpec
from agenthive.core.values import NanoUSD
from agenthive.errors import AgentHiveError, APIError, ConfigurationError
from agenthive.infra.egress import MAX_BODY
from agenthive.infra.heartbeat import emit_text, heartbeat
from agenthive.infra.secrets import Secrets

if TYPE_CHECKING:
    from agenthive.infra.egress import Egress

LONGEST_MESSAGE: Final = 500
"""Characters of a fault's message."""
MOST_TOKENS: Final = 2**53
BYTES_A_TOKEN: Final = 3
SHORTEST_CUT: Final = 16
"""Tokens below which an answer is not cut."""


class Client(Protocol):
    """What a vendor's package gives: enough of it to make one request."""

    @property
    def post(self) -> Callable[..., Awaitable[Any]]: ...

    async def close(self) -> None: ...


class StreamedReply(Protocol):
    """An answer that comes in pieces: each may bring some text, at the end they are an answer."""

    def add_chunk(self, chunk: Any) -> str:
        """Take in a piece; the text in it that people may see. Raises APIError for what is none."""
        ...

    def assemble(self) -> dict[str, Any]:
        """The answer as it would have come at once. Raises ConnectionError if there is more."""
        ...


class ModelReply(msgspec.Struct, kw_only=True):
    """What a model answered, in nobody's dialect.

    ``context`` and ``hour_writes`` (tokens cached for an hour) are what a price depends on besides.
    ``thinking`` must be given back with what it asked for, as it came.
    """

    model: str
    content: str | None
    finish_reason: str
    tool_calls: list[dict[str, Any]] = []
    refusal: str | None = None
    usage: Usage | None = None
    context: dict[str, str] = {}
    hour_writes: int = 0
    thinking: list[dict[str, Any]] = []


class ChatAgent(BaseAgent):
    """A language model behind a vendor's package, which is opened at the first call."""

    kind: ClassVar[str] = AgentType.AI_AGENT
    path: ClassVar[str]
    """Where questions go, below the base address."""
    vendor_domain: ClassVar[str]
    """The vendor's own domain, which answers nobody without a key."""
    key_name: ClassVar[str]
    """The environment variable that people keep the vendor's key in."""
    omit: ClassVar[Any]
    """What the vendor's package takes for "not this header"."""
    stream_class: ClassVar[Any]
    """The vendor's package's class for an answer in pieces."""
    stream_parameters: ClassVar[dict[str, Any]] = {"stream": True}
    """What a question says besides to be answered in pieces."""

    def __init__(
        self, config: AgentSpec, secrets: Secrets, egress: Egress, prices: Prices | None = None
    ) -> None:
        super().__init__(config)
        self._secrets, self._egress, self._prices = secrets, egress, prices or Prices()
        self._host = urlsplit(config.endpoint).netloc
        self._key_header = str(get_option(config, "idempotency_header", "Idempotency-Key"))
        self._max_body = int(get_option(config, "max_body", MAX_BODY))
        self._opened_client: Client | None = None
        self._client_lock = asyncio.Lock()

    @abstractmethod
    def create_client(self, http: httpx2.AsyncClient) -> Client:
        """The vendor's client: no retries, no time-out, no login of its own."""

    @abstractmethod
    def build_body(self, prompt: Prompt) -> dict[str, Any]:
        """The question as the vendor spells it."""

    @abstractmethod
    def start_reply(self) -> StreamedReply:
        """An answer that is about to come in pieces."""

    @abstractmethod
    def parse_reply(self, payload: Mapping[str, Any]) -> ModelReply:
        """The vendor's answer. Raises APIError, LookupError, TypeError for what is none."""

    async def execute(self, action: str, parameters: dict[str, Any]) -> AgentResponse:
        """Ask the model outside any run."""
        return await execute_via_perform(self, action, parameters)

    async def perform(self, call: Call) -> Reply:
        """Ask the model once."""
        try:
            parameters = self._secrets.resolve_value(call.parameters, call.references, self._host)
            prompt = build_prompt(msgspec.structs.replace(call, parameters=parameters), self.config)
            send = self._request_streamed if prompt.stream else self._request_whole
            payload, response = await send(call, prompt)
            model_reply = self._parse_payload(payload, prompt.model)
        except Exception as error:
            return Reply(fault=self._build_fault(error), headroom=_read_headroom(error))
        return msgspec.structs.replace(
            self._build_reply(prompt, model_reply), headroom=_read_headroom(response)
        )

    async def _request_whole(self, call: Call, prompt: Prompt) -> tuple[Any, httpx2.Response]:
        client = await self._get_client()
        response: httpx2.Response = await client.post(
            self.path,
            cast_to=httpx2.Response,
            body=self.build_body(prompt),
            options=self._request_options(call),
        )
        return parse_strict_json(response.text), response

    async def _request_streamed(self, call: Call, prompt: Prompt) -> tuple[Any, httpx2.Response]:
        """The answer as it comes in; each piece is a sign of life."""
        client, streamed_reply = await self._get_client(), self.start_reply()
        stream = await client.post(
            self.path,
            cast_to=object,
            body=self.build_body(prompt) | self.stream_parameters,
            options=self._request_options(call),
            stream=True,
            stream_cls=self.stream_class,
        )
        scrubber = self._secrets.stream_scrubber()
        try:
            async for chunk in stream:
                heartbeat()
                emit_text(scrubber.feed(streamed_reply.add_chunk(chunk)))
        finally:
            await stream.close()
        emit_text(scrubber.flush())
        return streamed_reply.assemble(), stream.response

    def _request_options(self, call: Call) -> dict[str, Any]:
        return {"headers": {"Authorization": self.omit, **self._idempotency_header(call)}}

    def estimate_max_cost(self, call: Call) -> NanoUSD | None:
        """What a question can cost at most: its input by its bytes, an answer of full length."""
        prompt = build_prompt(call, self.config)
        return self._worst_cost(call, prompt, prompt.max_tokens)

    def estimate_tokens(self, call: Call) -> int:
        """The input by a third of its bytes, which is about right, and a full answer."""
        prompt = build_prompt(call, self.config)
        return max_input_tokens(self.build_body(prompt)) // BYTES_A_TOKEN + prompt.max_tokens

    def _worst_cost(self, call: Call, prompt: Prompt, output: int) -> NanoUSD | None:
        size = max_input_tokens(self.build_body(prompt), len(call.references))
        usage = Usage(model=prompt.model, input_tokens=size, output_tokens=output)
        options = {key: prompt.extra.get(key) for key in ("service_tier", "speed")}
        context = {key: value for key, value in options.items() if isinstance(value, str)}
        return self._prices.worst_cost(usage, self._price_provider, context=context)

    def fit_max_tokens(self, call: Call, max_cost: NanoUSD) -> tuple[int, NanoUSD] | None:
        """The longest answer that fits, by halves; one of a few tokens is no use."""
        prompt = build_prompt(call, self.config)
        low, high = SHORTEST_CUT - 1, prompt.max_tokens
        best: tuple[int, NanoUSD] | None = None
        while low < high:
            middle = (low + high + 1) // 2
            cost = self._worst_cost(call, prompt, middle)
            if cost is not None and cost <= max_cost:
                low, best = middle, (middle, cost)
            else:
                high = middle - 1
        return best

    async def close(self) -> None:
        """Close the vendor's client and its connections."""
        client, self._opened_client = self._opened_client, None
        if client is not None:
            await client.close()

    async def _get_client(self) -> Client:
        async with self._client_lock:
            if self._opened_client is None:
                # Certificates, a package's lazy parts, tables of prices: not on the event loop.
                self._opened_client = await asyncio.to_thread(self._open_client)
            return self._opened_client

    def _open_client(self) -> Client:
        self._prices.load_tables()
        http = self._egress.make_client(self._max_body)
        http.event_hooks = {"request": [self._add_login]}
        return self.create_client(http)

    async def _add_login(self, request: httpx2.Request) -> None:
        """Log in below the vendor's package: what it is given it may log."""
        request.headers.update(self._build_headers())

    def login(self) -> Mapping[str, Any]:
        """The login as `credentials` takes it."""
        return self.config.authentication or {}

    def _idempotency_header(self, call: Call) -> dict[str, str]:
        return check_headers({self._key_header: call.key}) if call.key else {}

    def _build_headers(self) -> dict[str, str]:
        spec = msgspec.structs.replace(self.config, authentication=dict(self.login()) or None)
        login, _ = login_headers(spec, self._secrets, self._host)
        name = urlsplit(self.config.endpoint).hostname or ""
        if not login and is_in_domain(name, self.vendor_domain):
            raise ConfigurationError(
                f"agent '{self.name}' has no key for {name}: under its authentication write "
                f"type: api_key and key: ${{env:{self.key_name}}}, and set {self.key_name}"
            )
        configured: Any = get_option(self.config, "headers", None) or {}
        headers = {
            str(header): self._secrets.resolve(str(value), self._host).reveal()
            for header, value in dict(configured).items()
        }
        return check_headers({**headers, **login})

    def _parse_payload(self, payload: Any, model: str) -> ModelReply:
        if not isinstance(payload, dict):
            raise APIError("the answer is no JSON object")
        # Some servers do not say which model answered: then it is the one that was asked.
        named_payload = {**payload, "model": payload.get("model") or model}
        try:
            return self.parse_reply(named_payload)
        except (LookupError, TypeError, AttributeError) as error:
            raise APIError(
                f"the answer is not what it should be: {_describe_problem(payload)}"
            ) from error

    def _build_reply(self, prompt: Prompt, model_reply: ModelReply) -> Reply:
        """The result, or what is wrong with it; both with what it used."""
        usage = model_reply.usage
        if usage is not None:
            source = self._prices.price_source(usage.model, self._price_provider)
            usage = msgspec.structs.replace(
                usage, cost=self._compute_cost(usage, model_reply), prices=source
            )
        result: dict[str, Any] = {
            "content": model_reply.content,
            "model": model_reply.model,
            "finish_reason": model_reply.finish_reason,
        }
        tool_calls: tuple[ToolCall, ...] = ()
        if model_reply.thinking:
            result["thinking"] = model_reply.thinking
        try:
            if model_reply.tool_calls and prompt.calls_tools:
                tool_calls = tuple([self._build_tool_call(call) for call in model_reply.tool_calls])
            elif model_reply.tool_calls:
                result["tool_calls"] = [_decode_call(call) for call in model_reply.tool_calls]
            elif prompt.wants_json and model_reply.refusal is None:
                result["parsed"] = _parse_content(model_reply)
        except ValueError as error:
            message = self._clean_message(str(error))
            # What was cut off at max_tokens is cut off, and paid for, again.
            retriable = model_reply.finish_reason != "length"
            kind = INVALID_OUTPUT if prompt.json_result else "invalid_reply"
            reply = fault_reply(kind, message, retriable=retriable, counts=False)
            return msgspec.structs.replace(reply, usage=usage)
        if model_reply.refusal is not None:
            result["refusal"] = model_reply.refusal
        final_result = result["parsed"] if prompt.json_result and "parsed" in result else result
        return Reply(result=self._secrets.scrub_value(final_result), usage=usage, asks=tool_calls)

    def _build_tool_call(self, call: Mapping[str, Any]) -> ToolCall:
        """What the model wants done; what it garbled it is told."""
        name, call_id = text_or_empty(call.get("name")), text_or_empty(call.get("id"))
        try:
            arguments = self._secrets.scrub_value(_decode_call(call)["arguments"])
        except ValueError as error:
            return ToolCall(id=call_id, name=name, problem=self._clean_message(str(error)))
        return ToolCall(id=call_id, name=name, arguments=arguments)

    def _compute_cost(self, usage: Usage, model_reply: ModelReply) -> NanoUSD | None:
        return self._prices.compute_cost(
            usage,
            self._price_provider,
            context=model_reply.context,
            hour_writes=model_reply.hour_writes,
        )

    @property
    def _price_provider(self) -> str:
        """Whose prices count: those of a provider that is named, or found by the address."""
        provider = get_option(self.config, "prices", None)
        return str(provider) if provider else self.config.endpoint

    def _build_fault(self, error: Exception) -> Fault:
        response = getattr(error, "response", None)
        body = getattr(error, "body", None)
        if isinstance(response, httpx2.Response) and response.status_code >= 300:
            fault = _response_fault(response)
        elif isinstance(body, Mapping):
            fault = _stream_fault(body)
        else:
            fault = fault_of(_find_cause(error))
        message = self._clean_message(fault.message)
        if fault.kind in ("connection", "timeout"):
            message = f"{self._host}: {message}"
        return msgspec.structs.replace(fault, message=message)

    def _clean_message(self, text: str) -> str:
        text = self._secrets.scrub(text)[:LONGEST_MESSAGE]
        return "".join(char if char.isprintable() else " " for char in text)


def is_in_domain(host: str, domain: str) -> bool:
    """Whether a host belongs to a domain."""
    return host == domain or host.endswith(f".{domain}")


def environment_headers(variable: str) -> list[str]:
    """The headers that a vendor's package would take from the environment, by name.

    What is sent to an address that a workflow names is what the workflow says, nothing else.
    """
    lines = os.environ.get(variable, "").split("\n")
    return [line.partition(":")[0].strip() for line in lines if ":" in line]


def token_count(value: object) -> int:
    """A number of tokens as it was reported; 0 for what is none."""
    number = value if isinstance(value, int) and not isinstance(value, bool) else 0
    return min(max(number, 0), MOST_TOKENS)


def get_map(value: Any, name: str) -> Mapping[str, Any]:
    """A map inside a map, empty if it is not there."""
    inner = value.get(name) if isinstance(value, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}


def text_or_empty(value: object) -> str:
    """A text of an answer, empty if there is none. Raises TypeError."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    raise TypeError(f"a text is {type(value).__name__}")


def _find_cause(error: BaseException) -> BaseException:
    """What happened underneath: vendors' packages wrap what our client and the wire raise."""
    own_errors = (AgentHiveError, httpx2.HTTPError, httpx2.InvalidURL)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, own_errors):
            return cause
        cause = cause.__cause__
    return error


def _response_fault(response: httpx2.Response) -> Fault:
    """The fault that an answer of 300 or more means."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    try:
        payload = parse_strict_json(response.text)
    except ValueError:
        payload = None
    details = get_map(payload, "error")
    text = str(details.get("message") or response.text.strip())
    fault = status_fault(response.status_code, headers, text)
    if details.get("type") == "overloaded_error":
        return msgspec.structs.replace(fault, kind="overloaded", retriable=True, counts=False)
    if details.get("code") == "insufficient_quota":
        # Sent with 429, but nobody's quota comes back by waiting for it.
        return Fault(kind="refused", message=fault.message, retriable=False, counts=False)
    return fault


def _stream_fault(body: Mapping[str, Any]) -> Fault:
    """The fault that is told in the middle of an answer."""
    details = get_map(body, "error") or body
    kind = str(details.get("type") or details.get("code") or "")
    message = str(details.get("message") or "the answer broke off")
    if "overloaded" in kind:
        return Fault(kind="overloaded", message=message, counts=False)
    if "rate_limit" in kind:
        return Fault(kind="rate_limited", message=message, counts=False)
    return Fault(kind="unavailable", message=message)


def _read_headroom(source: object) -> Headroom | None:
    """What the other side says is left of its rate limit, with an answer or an error."""
    response = getattr(source, "response", source)
    if not isinstance(response, httpx2.Response):
        return None
    remaining = headroom({name.lower(): value for name, value in response.headers.items()})
    if remaining is None:
        return None
    return Headroom(requests=remaining.requests, tokens=remaining.tokens, within=remaining.within)


def _describe_problem(payload: Mapping[str, Any]) -> str:
    """What an answer that holds no message says instead."""
    message = get_map(payload, "error").get("message")
    return str(message) if message else f"it has the keys {', '.join(sorted(payload)) or '-'}"


def _decode_call(call: Mapping[str, Any]) -> dict[str, Any]:
    """A tool call with its arguments as JSON. Raises ValueError for what a model garbled."""
    arguments = call["arguments"]
    if isinstance(arguments, str):
        try:
            arguments = parse_strict_json(arguments) if arguments.strip() else {}
        except ValueError as error:
            raise ValueError(f"the arguments for '{call['name']}' are not JSON: {error}") from error
    if not isinstance(arguments, dict):
        raise ValueError(f"the arguments for '{call['name']}' are no JSON object")
    return {"id": call["id"], "name": call["name"], "arguments": arguments}


def _parse_content(model_reply: ModelReply) -> Any:
    try:
        return parse_strict_json(model_reply.content or "")
    except ValueError as error:
        note = ", cut at max_tokens" if model_reply.finish_reason == "length" else ""
        raise ValueError(
            f"the model was asked for JSON and answered other{note}: {error}"
        ) from error
