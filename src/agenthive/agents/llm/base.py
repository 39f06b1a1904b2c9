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
    alone,
    credentials,
    failed,
    fault_of,
    option,
    sendable,
    status_fault,
    strict_json,
)
from agenthive.agents.llm.prices import Prices
from agenthive.agents.llm.prompts import Question, question_of
from agenthive.agents.llm.rate_limit_headers import headroom
from agenthive.agents.llm.token_bounds import most_input
from agenthive.core.machine.guards.outcome import INVALID
from agenthive.core.model.calls import Asked, Call, Fault, Headroom, Reply, Usage
from agenthive.core.model.workflow import AgentSpec
from agenthive.core.values import NanoUSD
from agenthive.errors import AgentHiveError, APIError, ConfigurationError
from agenthive.infra.egress import MAX_BODY
from agenthive.infra.heartbeat import heartbeat, say
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


class Pieces(Protocol):
    """An answer that comes in pieces: each may bring some text, at the end they are an answer."""

    def add(self, piece: Any) -> str:
        """Take in a piece; the text in it that people may see. Raises APIError for what is none."""
        ...

    def whole(self) -> dict[str, Any]:
        """The answer as it would have come at once. Raises ConnectionError if there is more."""
        ...


class Said(msgspec.Struct, kw_only=True):
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
    home: ClassVar[str]
    """The vendor's own domain, which answers nobody without a key."""
    key_name: ClassVar[str]
    """The environment variable that people keep the vendor's key in."""
    omit: ClassVar[Any]
    """What the vendor's package takes for "not this header"."""
    stream: ClassVar[Any]
    """The vendor's package's class for an answer in pieces."""
    streaming: ClassVar[dict[str, Any]] = {"stream": True}
    """What a question says besides to be answered in pieces."""

    def __init__(
        self, config: AgentSpec, secrets: Secrets, egress: Egress, prices: Prices | None = None
    ) -> None:
        super().__init__(config)
        self._secrets, self._egress, self._prices = secrets, egress, prices or Prices()
        self._host = urlsplit(config.endpoint).netloc
        self._key_header = str(option(config, "idempotency_header", "Idempotency-Key"))
        self._max_body = int(option(config, "max_body", MAX_BODY))
        self._opened: Client | None = None
        self._opening = asyncio.Lock()

    @abstractmethod
    def open(self, http: httpx2.AsyncClient) -> Client:
        """The vendor's client: no retries, no time-out, no login of its own."""

    @abstractmethod
    def body(self, question: Question) -> dict[str, Any]:
        """The question as the vendor spells it."""

    @abstractmethod
    def pieces(self) -> Pieces:
        """An answer that is about to come in pieces."""

    @abstractmethod
    def read(self, answer: Mapping[str, Any]) -> Said:
        """The vendor's answer. Raises APIError, LookupError, TypeError for what is none."""

    async def execute(self, action: str, parameters: dict[str, Any]) -> AgentResponse:
        """Ask the model outside any run."""
        return await alone(self, action, parameters)

    async def perform(self, call: Call) -> Reply:
        """Ask the model once."""
        try:
            filled = self._secrets.resolve_within(call.parameters, call.references, self._host)
            question = question_of(msgspec.structs.replace(call, parameters=filled), self.config)
            ask = self._streamed if question.stream else self._at_once
            answer, response = await ask(call, question)
            said = self._read(answer, question.model)
        except Exception as error:
            return Reply(fault=self._fault(error), headroom=_left(error))
        return msgspec.structs.replace(self._reply(question, said), headroom=_left(response))

    async def _at_once(self, call: Call, question: Question) -> tuple[Any, httpx2.Response]:
        client = await self._client()
        response: httpx2.Response = await client.post(
            self.path,
            cast_to=httpx2.Response,
            body=self.body(question),
            options=self._options(call),
        )
        return strict_json(response.text), response

    async def _streamed(self, call: Call, question: Question) -> tuple[Any, httpx2.Response]:
        """The answer as it comes in; each piece is a sign of life."""
        client, pieces = await self._client(), self.pieces()
        stream = await client.post(
            self.path,
            cast_to=object,
            body=self.body(question) | self.streaming,
            options=self._options(call),
            stream=True,
            stream_cls=self.stream,
        )
        held = self._secrets.in_pieces()
        try:
            async for piece in stream:
                heartbeat()
                say(held.scrubbed(pieces.add(piece)))
        finally:
            await stream.close()
        say(held.rest())
        return pieces.whole(), stream.response

    def _options(self, call: Call) -> dict[str, Any]:
        return {"headers": {"Authorization": self.omit, **self._key(call)}}

    def worst(self, call: Call) -> NanoUSD | None:
        """What a question can cost at most: its input by its bytes, an answer of full length."""
        question = question_of(call, self.config)
        return self._worst(call, question, question.max_tokens)

    def tokens(self, call: Call) -> int:
        """The input by a third of its bytes, which is about right, and a full answer."""
        question = question_of(call, self.config)
        return most_input(self.body(question)) // BYTES_A_TOKEN + question.max_tokens

    def _worst(self, call: Call, question: Question, output: int) -> NanoUSD | None:
        size = most_input(self.body(question), len(call.references))
        asked = Usage(model=question.model, input_tokens=size, output_tokens=output)
        given = {key: question.rest.get(key) for key in ("service_tier", "speed")}
        context = {key: value for key, value in given.items() if isinstance(value, str)}
        return self._prices.worst(asked, self._where, context=context)

    def cut(self, call: Call, most: NanoUSD) -> tuple[int, NanoUSD] | None:
        """The longest answer that fits, by halves; one of a few tokens is no use."""
        question = question_of(call, self.config)
        low, high = SHORTEST_CUT - 1, question.max_tokens
        found: tuple[int, NanoUSD] | None = None
        while low < high:
            middle = (low + high + 1) // 2
            cost = self._worst(call, question, middle)
            if cost is not None and cost <= most:
                low, found = middle, (middle, cost)
            else:
                high = middle - 1
        return found

    async def close(self) -> None:
        """Close the vendor's client and its connections."""
        client, self._opened = self._opened, None
        if client is not None:
            await client.close()

    async def _client(self) -> Client:
        async with self._opening:
            if self._opened is None:
                # Certificates, a package's lazy parts, tables of prices: not on the event loop.
                self._opened = await asyncio.to_thread(self._open)
            return self._opened

    def _open(self) -> Client:
        self._prices.load()
        http = self._egress.client(self._max_body)
        http.event_hooks = {"request": [self._sign]}
        return self.open(http)

    async def _sign(self, request: httpx2.Request) -> None:
        """Log in below the vendor's package: what it is given it may log."""
        request.headers.update(self._headers())

    def login(self) -> Mapping[str, Any]:
        """The login as `credentials` takes it."""
        return self.config.authentication or {}

    def _key(self, call: Call) -> dict[str, str]:
        return sendable({self._key_header: call.key}) if call.key else {}

    def _headers(self) -> dict[str, str]:
        spec = msgspec.structs.replace(self.config, authentication=dict(self.login()) or None)
        login, _ = credentials(spec, self._secrets, self._host)
        name = urlsplit(self.config.endpoint).hostname or ""
        if not login and at_home(name, self.home):
            raise ConfigurationError(
                f"agent '{self.name}' has no key for {name}: under its authentication write "
                f"type: api_key and key: ${{env:{self.key_name}}}, and set {self.key_name}"
            )
        given: Any = option(self.config, "headers", None) or {}
        own = {
            str(header): self._secrets.resolve(str(value), self._host).reveal()
            for header, value in dict(given).items()
        }
        return sendable({**own, **login})

    def _read(self, answer: Any, model: str) -> Said:
        if not isinstance(answer, dict):
            raise APIError("the answer is no JSON object")
        # Some servers do not say which model answered: then it is the one that was asked.
        named = {**answer, "model": answer.get("model") or model}
        try:
            return self.read(named)
        except (LookupError, TypeError, AttributeError) as error:
            raise APIError(f"the answer is not what it should be: {_problem(answer)}") from error

    def _reply(self, question: Question, said: Said) -> Reply:
        """The result, or what is wrong with it; both with what it used."""
        usage = said.usage
        if usage is not None:
            source = self._prices.source(usage.model, self._where)
            usage = msgspec.structs.replace(usage, cost=self._price(usage, said), prices=source)
        result: dict[str, Any] = {
            "content": said.content,
            "model": said.model,
            "finish_reason": said.finish_reason,
        }
        asks: tuple[Asked, ...] = ()
        if said.thinking:
            result["thinking"] = said.thinking
        try:
            if said.tool_calls and question.asks:
                asks = tuple([self._asked(one) for one in said.tool_calls])
            elif said.tool_calls:
                result["tool_calls"] = [_decoded(one) for one in said.tool_calls]
            elif question.wants_json and said.refusal is None:
                result["parsed"] = _parsed(said)
        except ValueError as error:
            words = self._words(str(error))
            # What was cut off at max_tokens is cut off, and paid for, again.
            again = said.finish_reason != "length"
            kind = INVALID if question.alone else "invalid_reply"
            reply = failed(kind, words, retriable=again, counts=False)
            return msgspec.structs.replace(reply, usage=usage)
        if said.refusal is not None:
            result["refusal"] = said.refusal
        whole = result["parsed"] if question.alone and "parsed" in result else result
        return Reply(result=self._secrets.scrub_all(whole), usage=usage, asks=asks)

    def _asked(self, call: Mapping[str, Any]) -> Asked:
        """What the model wants done; what it garbled it is told."""
        name, ident = words(call.get("name")), words(call.get("id"))
        try:
            arguments = self._secrets.scrub_all(_decoded(call)["arguments"])
        except ValueError as error:
            return Asked(id=ident, name=name, problem=self._words(str(error)))
        return Asked(id=ident, name=name, arguments=arguments)

    def _price(self, usage: Usage, said: Said) -> NanoUSD | None:
        return self._prices.cost(
            usage, self._where, context=said.context, hour_writes=said.hour_writes
        )

    @property
    def _where(self) -> str:
        """Whose prices count: those of a provider that is named, or found by the address."""
        provider = option(self.config, "prices", None)
        return str(provider) if provider else self.config.endpoint

    def _fault(self, error: Exception) -> Fault:
        response = getattr(error, "response", None)
        body = getattr(error, "body", None)
        if isinstance(response, httpx2.Response) and response.status_code >= 300:
            fault = _status(response)
        elif isinstance(body, Mapping):
            fault = _told(body)
        else:
            fault = fault_of(_cause(error))
        message = self._words(fault.message)
        if fault.kind in ("connection", "timeout"):
            message = f"{self._host}: {message}"
        return msgspec.structs.replace(fault, message=message)

    def _words(self, text: str) -> str:
        text = self._secrets.scrub(text)[:LONGEST_MESSAGE]
        return "".join(sign if sign.isprintable() else " " for sign in text)


def at_home(host: str, domain: str) -> bool:
    """Whether a host belongs to a domain."""
    return host == domain or host.endswith(f".{domain}")


def ambient(variable: str) -> list[str]:
    """The headers that a vendor's package would take from the environment, by name.

    What is sent to an address that a workflow names is what the workflow says, nothing else.
    """
    lines = os.environ.get(variable, "").split("\n")
    return [line.partition(":")[0].strip() for line in lines if ":" in line]


def count(value: object) -> int:
    """A number of tokens as it was reported; 0 for what is none."""
    number = value if isinstance(value, int) and not isinstance(value, bool) else 0
    return min(max(number, 0), MOST_TOKENS)


def part(value: Any, name: str) -> Mapping[str, Any]:
    """A map inside a map, empty if it is not there."""
    inner = value.get(name) if isinstance(value, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}


def words(value: object) -> str:
    """A text of an answer, empty if there is none. Raises TypeError."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    raise TypeError(f"a text is {type(value).__name__}")


def _cause(error: BaseException) -> BaseException:
    """What happened underneath: vendors' packages wrap what our client and the wire raise."""
    known = (AgentHiveError, httpx2.HTTPError, httpx2.InvalidURL)
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, known):
            return found
        found = found.__cause__
    return error


def _status(response: httpx2.Response) -> Fault:
    """The fault that an answer of 300 or more means."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    try:
        answer = strict_json(response.text)
    except ValueError:
        answer = None
    said = part(answer, "error")
    text = str(said.get("message") or response.text.strip())
    fault = status_fault(response.status_code, headers, text)
    if said.get("type") == "overloaded_error":
        return msgspec.structs.replace(fault, kind="overloaded", retriable=True, counts=False)
    if said.get("code") == "insufficient_quota":
        # Sent with 429, but nobody's quota comes back by waiting for it.
        return Fault(kind="refused", message=fault.message, retriable=False, counts=False)
    return fault


def _told(body: Mapping[str, Any]) -> Fault:
    """The fault that is told in the middle of an answer."""
    said = part(body, "error") or body
    kind = str(said.get("type") or said.get("code") or "")
    message = str(said.get("message") or "the answer broke off")
    if "overloaded" in kind:
        return Fault(kind="overloaded", message=message, counts=False)
    if "rate_limit" in kind:
        return Fault(kind="rate_limited", message=message, counts=False)
    return Fault(kind="unavailable", message=message)


def _left(answer: object) -> Headroom | None:
    """What the other side says is left of its rate limit, with an answer or an error."""
    response = getattr(answer, "response", answer)
    if not isinstance(response, httpx2.Response):
        return None
    found = headroom({name.lower(): value for name, value in response.headers.items()})
    if found is None:
        return None
    return Headroom(requests=found.requests, tokens=found.tokens, within=found.within)


def _problem(answer: Mapping[str, Any]) -> str:
    """What an answer that holds no message says instead."""
    said = part(answer, "error").get("message")
    return str(said) if said else f"it has the keys {', '.join(sorted(answer)) or '-'}"


def _decoded(call: Mapping[str, Any]) -> dict[str, Any]:
    """A tool call with its arguments as JSON. Raises ValueError for what a model garbled."""
    arguments = call["arguments"]
    if isinstance(arguments, str):
        try:
            arguments = strict_json(arguments) if arguments.strip() else {}
        except ValueError as error:
            raise ValueError(f"the arguments for '{call['name']}' are not JSON: {error}") from error
    if not isinstance(arguments, dict):
        raise ValueError(f"the arguments for '{call['name']}' are no JSON object")
    return {"id": call["id"], "name": call["name"], "arguments": arguments}


def _parsed(said: Said) -> Any:
    try:
        return strict_json(said.content or "")
    except ValueError as error:
        cut = ", cut at max_tokens" if said.finish_reason == "length" else ""
        raise ValueError(
            f"the model was asked for JSON and answered other{cut}: {error}"
        ) from error
