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
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple, Protocol
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
from agenthive.agents.llm.cost_risks import (
    describe_unknown_price,
    find_cost_risk,
    list_price_contexts,
)
from agenthive.agents.llm.endings import (
    CUT_OFF,
    EMPTY_ANSWER,
    LENGTH,
    PAUSE,
    Ending,
    describe_cut_call,
    find_bad_end,
    paused_fault,
)
from agenthive.agents.llm.prices import Prices
from agenthive.agents.llm.prompts import Prompt, build_prompt
from agenthive.agents.llm.rate_limit_headers import headroom
from agenthive.agents.llm.token_bounds import max_input_tokens
from agenthive.agents.llm.usage import ReportedUsage, read_count, read_usage
from agenthive.core.machine.guards.outcome import INVALID_OUTPUT
from agenthive.core.model.calls import (
    MOST_TOKENS,
    Call,
    Fault,
    Headroom,
    Reply,
    ToolCall,
    Usage,
)
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
#: Requests of one call to a model that pauses, the first one included; as many as a task with
#: tools has turns by default.
MOST_REQUESTS: Final = 10
#: Models of one agent whose prices are remembered.
MOST_KNOWN_PRICES: Final = 1000
#: The fields of `Usage` that are counts.
_COUNTED: Final = (
    *("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"),
    "reasoning_tokens",
)
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


class UnusableAnswer(Exception):
    """A response that cannot be read, although its usage perhaps can."""

    def __init__(self, cause: Exception, response: httpx2.Response, payload: object) -> None:
        super().__init__(str(cause))
        #: Why it cannot be read.
        self.cause = cause
        #: The response, for its headers.
        self.response = response
        #: What it holds, for its usage; None if it is no JSON at all.
        self.payload = payload


class AnsweredRequest(NamedTuple):
    """One request of a call, and its response; a model that pauses needs several."""

    reply: ModelReply
    #: With its cost; None if the server reports none.
    usage: Usage | None


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
    #: The same in the vendor's own words; empty if the vendor gave none.
    end_word: str = ""
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
    #: The content of a reply that paused, to be sent back unchanged; empty for any other reply.
    blocks: list[dict[str, Any]] = []
    #: Characters of what else the model wrote and no other field has, such as its reasoning.
    other_length: int = 0


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
        #: Model -> whether a price list has it; price lists do not change while a hive is open.
        self._known_prices: dict[str, bool] = {}
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
        """Call the model once, and again while it pauses. Every failure becomes a fault."""
        parts: list[AnsweredRequest] = []
        try:
            parameters = self._secrets.resolve_value(call.parameters, call.references, self._host)
            prompt = build_prompt(msgspec.structs.replace(call, parameters=parameters), self.config)
            headroom = await self._request_part(call, prompt, parts)
            while self._may_continue(call, prompt, parts):
                prompt = _continue_prompt(prompt, parts[-1].reply)
                headroom = await self._request_part(call, prompt, parts)
        except UnusableAnswer as error:
            usage = self._salvage_usage(error.payload, prompt)
            return self._build_failure(error.cause, parts, usage, _read_headroom(error))
        except Exception as error:
            return self._build_failure(error, parts, None, _read_headroom(error))
        return msgspec.structs.replace(self._build_reply(call, prompt, parts), headroom=headroom)

    async def _request_part(
        self, call: Call, prompt: Prompt, parts: list[AnsweredRequest]
    ) -> Headroom | None:
        """Send one request, and add its reply to ``parts``. Raises any exception if it fails."""
        # The request that continues a reply is another one, so it has a key of its own.
        key = f"{call.key}~{len(parts)}" if parts and call.key else call.key
        send = self._request_streamed if prompt.stream else self._request_whole
        payload, response = await send(msgspec.structs.replace(call, key=key), prompt)
        try:
            model_reply = self._parse_payload(payload, prompt.model)
        except Exception as error:
            raise UnusableAnswer(error, response, payload) from error
        usage = self._read_usage(payload, model_reply, _measure_prompt(prompt))
        parts.append(AnsweredRequest(model_reply, usage))
        return _read_headroom(response)

    def _may_continue(self, call: Call, prompt: Prompt, parts: list[AnsweredRequest]) -> bool:
        """Whether a reply that paused is continued within this call.

        In a task with tools the next turn continues it, with a hold of its own. Any other call has
        one hold. If its worst case is known, the hold covers one request; if not, because of the
        vendor's own tools for example, which a model pauses for, nothing is held without a limit,
        and under one what the user declared for the whole call (``max_cost``).
        """
        last_reply = parts[-1].reply
        paused = last_reply.finish_reason == PAUSE and last_reply.blocks
        if not paused or prompt.calls_tools or len(parts) >= MOST_REQUESTS:
            return False
        return self.estimate_max_cost(call) is None

    def _build_failure(
        self,
        error: Exception,
        parts: list[AnsweredRequest],
        usage: Usage | None,
        headroom: Headroom | None,
    ) -> Reply:
        """The fault for a request that failed, perhaps after others of the same call.

        ``usage`` is that of the request; None if it is not known.
        """
        fault = self._build_fault(error)
        if not parts:
            return Reply(fault=fault, usage=usage, headroom=headroom)
        # The requests before it were answered: the call was sent, and has acted. The cost of a
        # request of unknown outcome is unknown, so the whole hold stays.
        former_class = fault.known_class
        class_ = FaultClass.UNKNOWN
        if former_class in (FaultClass.REFUSED, FaultClass.BAD_END):
            class_ = FaultClass.BAD_END
        usages = [part.usage for part in parts]
        if usage is not None or former_class is FaultClass.UNKNOWN:
            usages.append(usage)
        fault = msgspec.structs.replace(fault, class_=class_)
        return Reply(fault=fault, usage=_add_usages(usages), headroom=headroom)

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
            payload = _parse_leniently(response.text)
            raise UnusableAnswer(error, response, payload) from error

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
        """The most that a call can cost: a token for each byte of input, and a full reply.

        None if the price of the model is unknown, or if a part of the call can cost more.
        """
        prompt = build_prompt(call, self.config)
        if find_cost_risk(prompt):
            return None
        return self._worst_cost(call, prompt, prompt.max_tokens)

    def explain_unpriced(self, call: Call) -> str:
        """Why `estimate_max_cost` is None, and what to do about it; empty if it is not."""
        prompt = build_prompt(call, self.config)
        risk = find_cost_risk(prompt)
        if risk:
            return risk
        if self._has_price(prompt.model):
            return ""
        return describe_unknown_price(prompt.model, self.config.endpoint, self._price_provider)

    def _has_price(self, model: str) -> bool:
        known = self._known_prices.get(model)
        if known is None:
            source = self._prices.price_source(model, self._price_provider)
            if len(self._known_prices) < MOST_KNOWN_PRICES:
                self._known_prices[model] = bool(source)
            return bool(source)
        return known

    def estimate_tokens(self, call: Call) -> int:
        """About how many tokens a call uses: a third of the input's bytes, and a full reply."""
        prompt = build_prompt(call, self.config)
        return max_input_tokens(self.build_body(prompt)) // BYTES_A_TOKEN + prompt.max_tokens

    def _worst_cost(self, call: Call, prompt: Prompt, output: int) -> NanoUSD | None:
        size = max_input_tokens(self.build_body(prompt), len(call.references))
        usage = Usage(model=prompt.model, input_tokens=size, output_tokens=output)
        costs = [
            self._prices.worst_cost(usage, self._price_provider, context=context)
            for context in list_price_contexts(prompt)
        ]
        return None if None in costs else max(cost for cost in costs if cost is not None)

    def fit_max_tokens(self, call: Call, max_cost: NanoUSD) -> tuple[int, NanoUSD] | None:
        """The longest reply whose worst case fits, by binary search, and that worst case."""
        prompt = build_prompt(call, self.config)
        if find_cost_risk(prompt):
            return None
        low, high = SHORTEST_CUT - 1, prompt.max_tokens
        best: tuple[int, NanoUSD] | None = None
        while low < high:
            middle = (low + high + 1) // 2
            cost = self._worst_cost(call, prompt, middle)
            if cost is not None and cost <= max_cost:
                low, best = middle, (middle, cost)
            else:
                high = middle - 1
        if best is not None and find_cost_risk(msgspec.structs.replace(prompt, max_tokens=best[0])):
            # What was a part of the longest reply is more than the shorter one.
            return None
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

    def _build_reply(self, call: Call, prompt: Prompt, parts: list[AnsweredRequest]) -> Reply:
        """The result, or the fault if the reply ended badly or its JSON is invalid.

        Either has the usage of the call. A fault of class ``bad_end`` also has the result as it
        would have been, for callers outside runs; a run does not keep it.
        """
        usages, replies = [part.usage for part in parts], [part.reply for part in parts]
        usage, model_reply = _add_usages(usages), _join_replies(replies)
        result: dict[str, Any] = {
            "content": model_reply.content,
            "model": model_reply.model,
            "finish_reason": model_reply.finish_reason,
        }
        if model_reply.thinking:
            result["thinking"] = model_reply.thinking
        if model_reply.refusal is not None:
            result["refusal"] = model_reply.refusal
        ending = _read_ending(prompt, usages[-1], model_reply)
        told_reply = self._tell_model(call, prompt, model_reply, ending, result)
        if told_reply is not None:
            return msgspec.structs.replace(told_reply, usage=usage)
        fault = self._find_bad_end(prompt, model_reply, ending, len(parts))
        if fault is not None:
            fault = msgspec.structs.replace(fault, message=self._clean_message(fault.message))
            is_bad_end = fault.known_class is FaultClass.BAD_END
            kept_result = self._secrets.scrub_value(result) if is_bad_end else None
            return Reply(fault=fault, usage=usage, result=kept_result)
        tool_calls: tuple[ToolCall, ...] = ()
        try:
            if model_reply.tool_calls and prompt.calls_tools:
                tool_calls = tuple(map(self._build_tool_call, model_reply.tool_calls))
            elif model_reply.tool_calls:
                result["tool_calls"] = list(map(_decode_call, model_reply.tool_calls))
            elif prompt.wants_json:
                result["parsed"] = _parse_content(model_reply)
        except ValueError as error:
            message = self._clean_message(str(error))
            kind = INVALID_OUTPUT if prompt.json_result else "invalid_reply"
            reply = fault_reply(kind, message, FaultClass.BAD_END)
            return msgspec.structs.replace(reply, usage=usage)
        final_result = result["parsed"] if prompt.json_result and "parsed" in result else result
        return Reply(result=self._secrets.scrub_value(final_result), usage=usage, asks=tool_calls)

    def _find_bad_end(
        self, prompt: Prompt, model_reply: ModelReply, ending: Ending, request_count: int
    ) -> Fault | None:
        """The fault for a reply that is no plain success; None for one that is."""
        source = self._describe_source(prompt.model)
        if ending.reason == PAUSE:
            return paused_fault(source, _explain_pause(model_reply, request_count))
        fault = find_bad_end(ending, source)
        if fault is None:
            return None
        is_text = ending.has_text and not ending.tool_calls and not prompt.wants_json
        if fault.kind == CUT_OFF and prompt.accepts_cut and is_text:
            return None
        # A model whose answer does not fit its schema is called again with the reason.
        return None if fault.kind == EMPTY_ANSWER and prompt.wants_json else fault

    def _tell_model(
        self,
        call: Call,
        prompt: Prompt,
        model_reply: ModelReply,
        ending: Ending,
        result: dict[str, Any],
    ) -> Reply | None:
        """A turn after which the model continues although no tool is called; None for any other.

        The tool calls of a cut reply may lack arguments, so none is made and the model hears why.
        A reply that paused continues in the next turn. Both count as turns of the task.
        """
        if not prompt.calls_tools:
            return None
        if ending.reason == PAUSE and model_reply.blocks:
            result["blocks"] = model_reply.blocks
            # Numbered: the guards against loops compare what turns request.
            number = len(call.turns) + 1
            request = ToolCall(
                id="", name=PAUSE, arguments={"turn": number}, problem="the model paused its turn"
            )
            return Reply(result=self._secrets.scrub_value(result), asks=(request,))
        if not ending.is_cut or not model_reply.tool_calls or ending.refusal is not None:
            return None
        problem = describe_cut_call(prompt.max_tokens)
        requests = tuple(
            [
                ToolCall(
                    id=text_or_empty(request.get("id")),
                    name=text_or_empty(request.get("name")),
                    problem=problem,
                )
                for request in model_reply.tool_calls
            ]
        )
        return Reply(result=self._secrets.scrub_value(result), asks=requests)

    def _describe_source(self, model: str) -> str:
        return f"model '{model}' at {self._host}"

    def _build_tool_call(self, call: Mapping[str, Any]) -> ToolCall:
        """A tool call of the model. Malformed arguments are reported back to the model."""
        name, call_id = text_or_empty(call.get("name")), text_or_empty(call.get("id"))
        try:
            arguments = self._secrets.scrub_value(_decode_call(call)["arguments"])
        except ValueError as error:
            return ToolCall(id=call_id, name=name, problem=self._clean_message(str(error)))
        return ToolCall(id=call_id, name=name, arguments=arguments)

    def _read_usage(
        self, payload: Mapping[str, Any], model_reply: ModelReply, prompt_length: int
    ) -> Usage | None:
        """The usage of a call with its cost; None if the server reports none."""
        reported = read_usage(
            _find_usage(payload),
            model_reply.model,
            answer_length=_measure_answer(model_reply),
            prompt_length=prompt_length,
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


def _continue_prompt(prompt: Prompt, paused: ModelReply) -> Prompt:
    """The prompt that continues a reply which paused: the reply is its last message."""
    message = {"role": "assistant", "content": paused.blocks}
    return msgspec.structs.replace(prompt, messages=[*prompt.messages, message])


def _join_replies(replies: list[ModelReply]) -> ModelReply:
    """The replies to all requests of a call as one: the last one, with the text of all."""
    if len(replies) == 1:
        return replies[0]
    texts = [reply.content for reply in replies if reply.content]
    return msgspec.structs.replace(replies[-1], content="".join(texts) if texts else None)


def _add_usages(usages: list[Usage | None]) -> Usage | None:
    """The usage of all requests of a call; None if that of one of them is not known.

    Its cost is unknown if one of the costs is.
    """
    first, *others = usages
    if first is None or not others:
        return first
    total = msgspec.structs.asdict(first)
    for usage in others:
        if usage is None:
            return None
        for name in _COUNTED:
            total[name] = min(total[name] + getattr(usage, name), MOST_TOKENS)
        costs = (total["cost"], usage.cost)
        total["cost"] = None if None in costs else sum(costs)
        total["problem"] = total["problem"] or usage.problem
        total["at_least"] = total["at_least"] or usage.at_least
    return Usage(**total)


def _read_ending(prompt: Prompt, usage: Usage | None, model_reply: ModelReply) -> Ending:
    """What the end of a reply is judged by.

    ``usage`` is that of the last request, because the bound of its length holds for each.
    """
    return Ending(
        word=model_reply.end_word,
        content=model_reply.content,
        tool_calls=len(model_reply.tool_calls),
        refusal=model_reply.refusal,
        output_tokens=None if usage is None else usage.output_tokens,
        reasoning_tokens=0 if usage is None else usage.reasoning_tokens,
        max_tokens=prompt.max_tokens,
    )


def _explain_pause(model_reply: ModelReply, request_count: int) -> str:
    """Why a reply that paused was not continued, and what to do; follows "which"."""
    if not model_reply.blocks:
        return "cannot be continued, because it holds nothing that could be sent back"
    if request_count >= MOST_REQUESTS:
        return f"had no end after {request_count} requests. Ask for less in one task"
    return (
        "was not continued: what is reserved for the call covers one request, and it offers no "
        "tool of the vendor's for which a model pauses. Check the server"
    )


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
    """Characters of what a model wrote, as far as they are easily counted; 0 for nothing.

    An answer that was cut off at its bound has a token at least, also if none of it is shown.
    """
    length = len(model_reply.content or "") + len(model_reply.refusal or "")
    length += sum([len(str(call.get("name"))) for call in model_reply.tool_calls])
    length += model_reply.other_length
    return length or int(model_reply.finish_reason == LENGTH)


def _measure_prompt(prompt: Prompt) -> int:
    """Characters of the texts of a prompt, as far as they are easily counted."""
    contents = [message.get("content") for message in prompt.messages]
    return len(prompt.system) + sum([len(text) for text in contents if isinstance(text, str)])


def measure_texts(value: Mapping[str, Any], names: Iterable[str]) -> int:
    """Characters of the texts under some names of a map."""
    texts = [value.get(name) for name in names]
    return sum([len(text) for text in texts if isinstance(text, str)])


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
    if "overloaded" in kind or str(code) == "529":
        return build_fault("overloaded", message, class_)
    if "rate_limit" in kind or str(code) == str(TOO_MANY_REQUESTS):
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
        raise ValueError(
            f"the model was to return JSON, and its reply is not JSON: {error}"
        ) from error
