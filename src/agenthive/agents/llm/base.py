"""What the agents of all model vendors share: from a call to a request, from a response to a reply.

A vendor's file opens the client of its package, writes the request body and reads the response.
Everything else is here: the model, the login, the idempotency key, streaming, faults, tool calls,
structured output, usage and cost. The action ``chat_completion`` sends its messages as they are;
any other action becomes a prompt (see `prompts`). Nothing here knows a vendor, and nothing retries.
"""

from __future__ import annotations

import asyncio
import json
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
    get_option,
    login_headers,
    parse_strict_json,
)
from agenthive.agents.faults import (
    TOO_MANY_REQUESTS,
    CallFailed,
    build_fault,
    fault_of,
    fault_reply,
    status_fault,
)
from agenthive.agents.llm.prices import Prices
from agenthive.agents.llm.prompts import Prompt, build_prompt
from agenthive.agents.llm.rate_limit_headers import headroom
from agenthive.agents.llm.token_bounds import max_input_tokens
from agenthive.agents.llm.usage import ReportedUsage, read_count, read_usage
from agenthive.core.machine.guards.outcome import INVALID_OUTPUT
from agenthive.core.model.calls import Call, Fault, Headroom, Reply, ToolCall, Usage
from agenthive.core.model.workflow import AgentSpec
from agenthive.core.policies.fault_classes import FaultClass
from agenthive.core.values import NanoUSD
from agenthive.errors import AgentHiveError, APIError, ConfigurationError
from agenthive.infra.egress import MAX_BODY
from agenthive.infra.heartbeat import emit_text, heartbeat
from agenthive.infra.retry_after import LONGEST, parse_seconds
from agenthive.infra.secrets import Secrets

if TYPE_CHECKING:
    from agenthive.infra.egress import Egress

#: Characters of a fault's message; a server's error page would fill the journal.
LONGEST_MESSAGE: Final = 500
#: Bytes of a request body for one token, for estimates: about 4 in English prose, 3 with JSON.
BYTES_A_TOKEN: Final = 3
#: Tokens. A budget never shortens a reply below this: a shorter one is of no use, and is paid for.
SHORTEST_CUT: Final = 16
#: Statuses that mean "not carried out" in the protocols of OpenAI and Anthropic. Servers that
#: implement one of them use 429 in the same way.
REFUSED_STATUSES: Final = frozenset({TOO_MANY_REQUESTS})
#: Codes and types of errors that no waiting cures: the account has no more quota or credit.
_EXHAUSTED: Final = frozenset(
    {
        *("insufficient_quota", "billing_hard_limit_reached", "billing_not_active"),
        *("billing_error", "account_deactivated", "access_terminated"),
    }
)


class Client(Protocol):
    """The part of a vendor's client that one request needs."""

    @property
    def post(self) -> Callable[..., Awaitable[Any]]: ...

    async def close(self) -> None: ...


class UnreadableAnswer(ValueError):
    """A response whose JSON is not valid."""

    def __init__(self, message: str, response: httpx2.Response) -> None:
        super().__init__(message)
        #: The response, for its headers.
        self.response = response
        #: What a lenient reader makes of it, for its usage; None if it is no JSON at all.
        self.payload = _parse_leniently(response.text)


class StreamedReply(Protocol):
    """A response that arrives in chunks and is assembled from them."""

    def add_chunk(self, chunk: Any) -> str:
        """Add a chunk, and return the text in it that a user may see. Raises APIError."""
        ...

    def assemble(self) -> dict[str, Any]:
        """The response as it would be without streaming. Raises ConnectionError if cut off."""
        ...

    @property
    def has_output(self) -> bool:
        """Whether a part of the model's answer has arrived."""
        ...


class ModelReply(msgspec.Struct, kw_only=True):
    """A model's response in a form of no vendor's."""

    #: The model that responded, as the server names it.
    model: str
    content: str | None
    #: In OpenAI's words: ``stop``, ``length``, ``tool_calls``, ``content_filter`` ...
    finish_reason: str
    #: Maps with id, name and arguments; the arguments may still be JSON text.
    tool_calls: list[dict[str, Any]] = []
    #: Why the model refused to respond; None if it did not refuse.
    refusal: str | None = None
    #: What else the price depends on, such as the service tier.
    context: dict[str, str] = {}
    #: What is charged for and is no token: name in price lists -> how often.
    fees: dict[str, int] = {}
    #: Reasoning blocks, which must be sent back unchanged together with the tool results.
    thinking: list[dict[str, Any]] = []


class ChatAgent(BaseAgent):
    """A language model behind a vendor's package, whose client is opened at the first call."""

    kind: ClassVar[str] = AgentType.AI_AGENT
    #: Whether the reported input leaves out the tokens that were read from or written to a cache.
    cached_apart: ClassVar[bool] = False
    #: The path of requests below the base address.
    path: ClassVar[str]
    #: The vendor's own domain, where every request needs a key.
    vendor_domain: ClassVar[str]
    #: The environment variable that usually holds the vendor's key; hints name it.
    key_name: ClassVar[str]
    #: The value by which the vendor's package leaves a default header out.
    omit: ClassVar[Any]
    #: The class of the vendor's package for a streamed response.
    stream_class: ClassVar[Any]
    #: Fields of the request body that request a streamed response.
    stream_parameters: ClassVar[dict[str, Any]] = {"stream": True}

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
        """The vendor's client on top of ``http``: no retries, no time-out, no login of its own."""

    @abstractmethod
    def build_body(self, prompt: Prompt) -> dict[str, Any]:
        """The body of the vendor's request for a prompt. Raises ConfigurationError."""

    @abstractmethod
    def start_reply(self) -> StreamedReply:
        """An empty reply for a response that will arrive in chunks."""

    @abstractmethod
    def parse_reply(self, payload: Mapping[str, Any]) -> ModelReply:
        """Read the vendor's response. Raises APIError, LookupError or TypeError if malformed."""

    async def execute(self, action: str, parameters: dict[str, Any]) -> AgentResponse:
        """Call the model outside any run."""
        return await execute_via_perform(self, action, parameters)

    async def perform(self, call: Call) -> Reply:
        """Call the model once. Every failure becomes a fault."""
        try:
            parameters = self._secrets.resolve_value(call.parameters, call.references, self._host)
            prompt = build_prompt(msgspec.structs.replace(call, parameters=parameters), self.config)
            send = self._request_streamed if prompt.stream else self._request_whole
            payload, response = await send(call, prompt)
        except UnreadableAnswer as error:
            usage = self._salvage_usage(error.payload, prompt)
            return Reply(
                fault=self._build_fault(error), usage=usage, headroom=_read_headroom(error)
            )
        except Exception as error:
            return Reply(fault=self._build_fault(error), headroom=_read_headroom(error))
        headroom = _read_headroom(response)
        try:
            model_reply = self._parse_payload(payload, prompt.model)
        except Exception as error:
            usage = self._salvage_usage(payload, prompt)
            return Reply(fault=self._build_fault(error), usage=usage, headroom=headroom)
        usage = self._read_usage(payload, model_reply)
        return msgspec.structs.replace(
            self._build_reply(prompt, model_reply, usage), headroom=headroom
        )

    async def _request_whole(self, call: Call, prompt: Prompt) -> tuple[Any, httpx2.Response]:
        client = await self._get_client()
        response: httpx2.Response = await client.post(
            self.path,
            cast_to=httpx2.Response,
            body=self.build_body(prompt),
            options=self._request_options(call),
        )
        try:
            return parse_strict_json(response.text), response
        except ValueError as error:
            raise UnreadableAnswer(str(error), response) from error

    async def _request_streamed(self, call: Call, prompt: Prompt) -> tuple[Any, httpx2.Response]:
        """The response, read chunk by chunk. Each chunk counts as a heartbeat of the call."""
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
        except Exception as error:
            if isinstance(body := getattr(error, "body", None), Mapping):
                fault = _payload_fault(body, is_refusal=not streamed_reply.has_output)
                raise CallFailed(fault) from error
            raise
        finally:
            await stream.close()
        emit_text(scrubber.flush())
        return streamed_reply.assemble(), stream.response

    def _request_options(self, call: Call) -> dict[str, Any]:
        return {"headers": {"Authorization": self.omit, **self._idempotency_header(call)}}

    def estimate_max_cost(self, call: Call) -> NanoUSD | None:
        """The most that a call can cost: a token for each byte of input, and a full reply."""
        prompt = build_prompt(call, self.config)
        return self._worst_cost(call, prompt, prompt.max_tokens)

    def estimate_tokens(self, call: Call) -> int:
        """About how many tokens a call uses: a third of the input's bytes, and a full reply."""
        prompt = build_prompt(call, self.config)
        return max_input_tokens(self.build_body(prompt)) // BYTES_A_TOKEN + prompt.max_tokens

    def _worst_cost(self, call: Call, prompt: Prompt, output: int) -> NanoUSD | None:
        size = max_input_tokens(self.build_body(prompt), len(call.references))
        usage = Usage(model=prompt.model, input_tokens=size, output_tokens=output)
        options = {key: prompt.extra.get(key) for key in ("service_tier", "speed")}
        context = {key: value for key, value in options.items() if isinstance(value, str)}
        return self._prices.worst_cost(usage, self._price_provider, context=context)

    def fit_max_tokens(self, call: Call, max_cost: NanoUSD) -> tuple[int, NanoUSD] | None:
        """The longest reply whose worst case fits, by binary search, and that worst case."""
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
                # Loading certificates, lazy parts of packages and price tables takes up to a
                # second, which would block every other call on the event loop.
                self._opened_client = await asyncio.to_thread(self._open_client)
            return self._opened_client

    def _open_client(self) -> Client:
        self._prices.load_tables()
        http = self._egress.make_client(self._max_body)
        http.event_hooks = {"request": [self._add_login]}
        return self.create_client(http)

    async def _add_login(self, request: httpx2.Request) -> None:
        """Add the login below the vendor's package, which might log headers that it knows."""
        request.headers.update(self._build_headers())

    def login(self) -> Mapping[str, Any]:
        """The login in the form that `login_headers` expects."""
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
            raise APIError("the response is not a JSON object")
        _raise_error_within(payload)
        # Some servers do not name the model that responded: then it is the requested one.
        named_payload = {**payload, "model": payload.get("model") or model}
        try:
            return self.parse_reply(named_payload)
        except (LookupError, TypeError, AttributeError) as error:
            raise APIError(
                f"the response holds no message of a model: {_describe_problem(payload)}"
            ) from error

    def _build_reply(self, prompt: Prompt, model_reply: ModelReply, usage: Usage | None) -> Reply:
        """The result, or the fault if its JSON is invalid; either with the usage of the call."""
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
            # A reply that was cut at max_tokens would be cut, and paid for, again.
            retriable = model_reply.finish_reason != "length"
            kind = INVALID_OUTPUT if prompt.json_result else "invalid_reply"
            reply = fault_reply(kind, message, FaultClass.BAD_END, retriable=retriable)
            return msgspec.structs.replace(reply, usage=usage)
        if model_reply.refusal is not None:
            result["refusal"] = model_reply.refusal
        final_result = result["parsed"] if prompt.json_result and "parsed" in result else result
        return Reply(result=self._secrets.scrub_value(final_result), usage=usage, asks=tool_calls)

    def _build_tool_call(self, call: Mapping[str, Any]) -> ToolCall:
        """A tool call of the model. Malformed arguments are reported back to the model."""
        name, call_id = text_or_empty(call.get("name")), text_or_empty(call.get("id"))
        try:
            arguments = self._secrets.scrub_value(_decode_call(call)["arguments"])
        except ValueError as error:
            return ToolCall(id=call_id, name=name, problem=self._clean_message(str(error)))
        return ToolCall(id=call_id, name=name, arguments=arguments)

    def _read_usage(self, payload: Mapping[str, Any], model_reply: ModelReply) -> Usage | None:
        """The usage of a call with its cost; None if the server reports none."""
        reported = read_usage(
            _find_usage(payload),
            model_reply.model,
            answer_length=_measure_answer(model_reply),
            cached_apart=self.cached_apart,
        )
        if reported is None:
            return None
        fees = {**reported.fees, **model_reply.fees}
        return self._price_usage(reported, model_reply.context, fees)

    def _salvage_usage(self, payload: object, prompt: Prompt) -> Usage | None:
        """The usage beside an answer that cannot be read: it is paid for all the same."""
        if not isinstance(payload, Mapping):
            return None
        name = payload.get("model")
        model = name if isinstance(name, str) and name else prompt.model
        reported = read_usage(_find_usage(payload), model, cached_apart=self.cached_apart)
        if reported is None or reported.usage.is_unknown:
            return None
        return self._price_usage(reported, {}, reported.fees)

    def _price_usage(
        self, reported: ReportedUsage, context: Mapping[str, str], fees: Mapping[str, int]
    ) -> Usage:
        """The usage with its cost, and the list that it is from; the cost may be unknown."""
        usage = reported.usage
        if usage.is_unknown:
            return usage
        cost = self._prices.compute_cost(
            usage,
            self._price_provider,
            context=context,
            hour_writes=reported.hour_writes,
            fees=fees,
        )
        problem = usage.problem
        if fees and cost is None:
            unpriced = ", ".join(f"{count} {name}" for name, count in fees.items())
            problem = f"{problem}; " * bool(problem) + f"no price list has a price for {unpriced}"
        return msgspec.structs.replace(
            usage,
            cost=cost,
            prices=self._prices.price_source(usage.model, self._price_provider),
            problem=self._clean_message(problem),
        )

    @property
    def _price_provider(self) -> str:
        """The provider for prices: ``custom_params.prices``, else found by the address."""
        provider = get_option(self.config, "prices", None)
        return str(provider) if provider else self.config.endpoint

    def _build_fault(self, error: Exception) -> Fault:
        response = getattr(error, "response", None)
        if isinstance(response, httpx2.Response) and response.status_code >= 300:
            fault = _response_fault(response)
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
    """The names of the headers that a vendor's package would take from the environment.

    They are left out: an address that a workflow names receives only what the workflow sends.
    """
    lines = os.environ.get(variable, "").split("\n")
    return [line.partition(":")[0].strip() for line in lines if ":" in line]


def read_index(value: object) -> int:
    """The place of a part in a streamed response; 0 if it is not a number."""
    return read_count(value) or 0


def get_map(value: Any, name: str) -> Mapping[str, Any]:
    """The map under a key of a map; empty if there is none."""
    inner = value.get(name) if isinstance(value, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}


def text_or_empty(value: object) -> str:
    """A text of a response; empty for null. Raises TypeError for any other type."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    raise TypeError(f"expected a text, not {type(value).__name__}")


def _parse_leniently(text: str) -> object:
    """The JSON in a text, with NaN and keys that occur twice; None if it is none."""
    try:
        payload: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return payload


def _find_usage(payload: Mapping[str, Any]) -> object:
    """The usage object of a response; Groq has it in a field of its own in streams."""
    usage: object = payload.get("usage")
    return get_map(payload, "x_groq").get("usage") if usage is None else usage


def _measure_answer(model_reply: ModelReply) -> int:
    """Characters of what a model wrote, as far as they are easily counted; 0 for nothing."""
    length = len(model_reply.content or "") + len(model_reply.refusal or "")
    return length + sum([len(str(call.get("name"))) for call in model_reply.tool_calls])


def _find_cause(error: BaseException) -> BaseException:
    """The error underneath: vendors' packages wrap what the HTTP client raises."""
    own_errors = (AgentHiveError, httpx2.HTTPError, httpx2.InvalidURL)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, own_errors):
            return cause
        cause = cause.__cause__
    return error


def _response_fault(response: httpx2.Response) -> Fault:
    """The fault for a response with a status of 300 or more."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    try:
        payload = parse_strict_json(response.text)
    except ValueError:
        payload = None
    # Google's servers wrap the error in a list.
    details = get_map(payload[0] if isinstance(payload, list) and payload else payload, "error")
    text = str(details.get("message") or response.text.strip())
    fault = status_fault(response.status_code, headers, text, REFUSED_STATUSES)
    if fault.retry_after is None and fault.kind in ("rate_limited", "overloaded"):
        fault = msgspec.structs.replace(fault, retry_after=_read_retry_delay(details))
    if _is_exhausted(details):
        # OpenAI sends this with status 429, but an exhausted quota does not return by waiting.
        return build_fault("refused", fault.message, FaultClass.REFUSED, retriable=False)
    if details.get("type") == "overloaded_error":
        return msgspec.structs.replace(fault, kind="overloaded", retriable=True)
    return fault


def _read_retry_delay(details: Mapping[str, Any]) -> float | None:
    """Seconds that Google's RetryInfo in an error asks to wait; None if there is none."""
    entries = details.get("details")
    for entry in entries if isinstance(entries, list) else ():
        delay = entry.get("retryDelay") if isinstance(entry, Mapping) else None
        seconds = parse_seconds(delay) if isinstance(delay, str) else None
        if seconds is not None:
            return min(seconds, LONGEST)
    return None


def _raise_error_within(payload: Mapping[str, Any]) -> None:
    """Raise CallFailed for an error in a response with the status 200.

    Gateways send it in place of the answer (``choices`` is null), or in a choice that broke off.
    """
    choices = payload.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    details = get_map(payload if choice is None else choice, "error")
    if details and not payload.get("content"):
        raise CallFailed(_payload_fault(details, is_refusal=choice is None))


def _payload_fault(body: Mapping[str, Any], *, is_refusal: bool) -> Fault:
    """The fault for an error in a response that began with the status 200.

    ``is_refusal``: nothing of the answer has arrived, so that a vendor that is too busy did not
    carry the request out. Any other error may have come in the middle of it.
    """
    details = get_map(body, "error") or body
    code = details.get("code")
    kind = f"{details.get('type') or ''} {code or ''}"
    message = str(details.get("message") or "the reply broke off before its end")
    if _is_exhausted(details) and is_refusal:
        return build_fault("refused", message, FaultClass.REFUSED, retriable=False)
    class_ = FaultClass.REFUSED if is_refusal else FaultClass.UNKNOWN
    if "overloaded" in kind or code == 529:
        return build_fault("overloaded", message, class_)
    if "rate_limit" in kind or code == TOO_MANY_REQUESTS:
        return build_fault("rate_limited", message, class_)
    return build_fault("unavailable", message, FaultClass.UNKNOWN)


def _is_exhausted(details: Mapping[str, Any]) -> bool:
    return not _EXHAUSTED.isdisjoint(
        value for value in (details.get("code"), details.get("type")) if isinstance(value, str)
    )


def _read_headroom(source: object) -> Headroom | None:
    """What is left of the vendor's rate limit, by the headers of a response or of an error."""
    response = getattr(source, "response", source)
    if not isinstance(response, httpx2.Response):
        return None
    remaining = headroom({name.lower(): value for name, value in response.headers.items()})
    if remaining is None:
        return None
    return Headroom(requests=remaining.requests, tokens=remaining.tokens, within=remaining.within)


def _describe_problem(payload: Mapping[str, Any]) -> str:
    """The error in a response that holds no message, else the keys that it has."""
    message = get_map(payload, "error").get("message")
    return str(message) if message else f"it has the keys {', '.join(sorted(payload)) or '-'}"


def _decode_call(call: Mapping[str, Any]) -> dict[str, Any]:
    """A tool call with its arguments decoded. Raises ValueError if they are not a JSON object."""
    arguments = call["arguments"]
    if isinstance(arguments, str):
        try:
            arguments = parse_strict_json(arguments) if arguments.strip() else {}
        except ValueError as error:
            raise ValueError(f"the arguments for '{call['name']}' are not JSON: {error}") from error
    if not isinstance(arguments, dict):
        raise ValueError(f"the arguments for '{call['name']}' are not a JSON object")
    return {"id": call["id"], "name": call["name"], "arguments": arguments}


def _parse_content(model_reply: ModelReply) -> Any:
    try:
        return parse_strict_json(model_reply.content or "")
    except ValueError as error:
        note = ", cut at max_tokens" if model_reply.finish_reason == "length" else ""
        raise ValueError(
            f"the model was to return JSON, and its reply is not JSON{note}: {error}"
        ) from error
