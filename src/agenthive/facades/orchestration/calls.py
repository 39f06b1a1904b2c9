"""How a run calls a client: an agent kind of agenthive, so calls are held, limited and journaled.

The hive asks this agent for the worst-case cost of a call before it is made; the actual cost
follows from the tokens that the client reports. Nothing here retries or knows a budget.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

import msgspec

from agenthive.agents.base import (
    AgentResponse,
    BaseAgent,
    execute_via_perform,
)
from agenthive.agents.faults import (
    arguments_fault,
    doubt,
    fault_of,
    fault_reply,
    status_fault,
    summarise_error,
)
from agenthive.agents.llm.base import BYTES_A_TOKEN, REFUSED_STATUSES
from agenthive.agents.llm.cost_risks import find_cost_risk
from agenthive.agents.llm.endings import CUT_OFF, Ending, find_bad_end
from agenthive.agents.llm.prices import Prices
from agenthive.agents.llm.prompts import MOST_TOKENS, NAMED, Prompt
from agenthive.agents.llm.token_bounds import max_input_tokens
from agenthive.agents.llm.usage import read_count
from agenthive.agents.results import encode_result
from agenthive.core.model.calls import Call, Fault, Headroom, Reply, Usage
from agenthive.core.model.workflow import AgentSpec
from agenthive.core.policies.fault_classes import FaultClass
from agenthive.core.values import JSONObject, NanoUSD
from agenthive.errors import AgentHiveError
from agenthive.facades.orchestration.clients import CALL, LLMClient, LLMResponse, NoAnswer
from agenthive.facades.orchestration.costs import ANYWHERE, CostConfig
from agenthive.facades.orchestration.prompts import fill_prompt

#: Options of a request that are no risk to its cost, beside those that `cost_risks` lists.
_NAMED: Final = NAMED | {"prompt", "metadata"}
_DETAILS: Final = ("cache_read_tokens", "cache_write_tokens", "reasoning_tokens")


class ClientAgentFactory:
    """Makes the agents of one client; a hive registers it for their kind."""

    def __init__(self, client: LLMClient, costs: CostConfig) -> None:
        self.client, self.costs = client, costs
        self._prices = costs.prices()

    def __call__(self, spec: AgentSpec) -> BaseAgent:
        return ClientAgent(spec, self.client, self._prices)

    def is_same(self, other: object) -> bool:
        """Whether the other factory uses the same client and the same prices."""
        same_client = isinstance(other, ClientAgentFactory) and other.client is self.client
        return same_client and other.costs == self.costs  # type: ignore[attr-defined]


class ClientAgent(BaseAgent):
    """Calls a client. The parameters of the task are the prompt and the options of `complete`."""

    kind: ClassVar[str] = "llm_client"
    is_priced: ClassVar[bool] = True

    def __init__(self, config: AgentSpec, client: LLMClient, prices: Prices) -> None:
        super().__init__(config)
        self._client, self._prices = client, prices

    async def execute(self, action: str, parameters: dict[str, Any]) -> AgentResponse:
        """Call the client outside any run."""
        return await execute_via_perform(self, action, parameters)

    async def perform(self, call: Call) -> Reply:
        """Call the client once."""
        token = CALL.set(call)
        request: dict[str, Any] = {}
        try:
            request = build_request(call)
            response = await self._client.complete(**request)
        except Exception as error:
            fault = None
            if isinstance(error, TypeError):
                fault = arguments_fault(error, self._client.complete, **request)
            return _client_fault_reply(error) if fault is None else Reply(fault=fault)
        finally:
            CALL.reset(token)
        try:
            return self._build_reply(request, response)
        except Exception as error:
            # The model has answered; its client returned something else than an `LLMResponse`.
            message = f"it ran, and its response cannot be kept: {summarise_error(error)}"
            return fault_reply("invalid_reply", message, FaultClass.BAD_END)

    def estimate_max_cost(self, call: Call) -> NanoUSD | None:
        """The worst-case cost of a call: its input by bytes, and a response of full length."""
        request = build_request(call)
        if find_cost_risk(_build_prompt(request)):
            return None
        usage = Usage(
            model=request["model"],
            input_tokens=max_input_tokens(_approximate_body(request)),
            output_tokens=request["max_tokens"],
        )
        return self._prices.worst_cost(usage, ANYWHERE)

    def explain_unpriced(self, call: Call) -> str:
        """Why the cost of a call has no bound: an option, or the price of its model."""
        try:
            request = build_request(call)
        except (LookupError, ValueError, TypeError):
            return ""  # The call will fail, which costs nothing.
        model = str(request["model"])
        risk = find_cost_risk(_build_prompt(request))
        if risk or self._prices.price_source(model, ANYWHERE):
            return risk
        return f"model '{model}' is in no price list: add its price to the engine's CostConfig"

    def estimate_tokens(self, call: Call) -> int:
        """The input, at three bytes a token, and a response of full length."""
        request = build_request(call)
        max_output: int = request["max_tokens"]
        return max_input_tokens(_approximate_body(request)) // BYTES_A_TOKEN + max_output

    def _build_reply(self, request: JSONObject, response: LLMResponse) -> Reply:
        """The result; a fault if the response was cut off, filtered, refused or empty."""
        metadata = dict(response.metadata or {})
        details, headroom = metadata.pop("usage", None), metadata.pop("headroom", None)
        result = {
            "content": response.content,
            "model": response.model,
            "finish_reason": response.finish_reason,
            **({"tool_calls": response.tool_calls} if response.tool_calls else {}),
            **({"metadata": metadata} if metadata else {}),
        }
        usage = self._price_usage(str(request["model"]), response, details)
        fault = _find_bad_end(request, response, usage, metadata.get("refusal"))
        return Reply(
            result=encode_result(result) if fault is None else None,
            fault=fault,
            usage=usage,
            headroom=None if headroom is None else msgspec.convert(headroom, Headroom),
        )

    def _price_usage(
        self, requested_model: str, response: LLMResponse, details: Any
    ) -> Usage | None:
        """The usage with its price; None if it is unknown: then the whole hold is captured."""
        tokens = (read_count(response.input_tokens), read_count(response.output_tokens))
        if tokens[0] is None or tokens[1] is None:
            return None
        model = response.model if self._has_own_price(response.model) else requested_model
        usage = Usage(model=model, input_tokens=tokens[0], output_tokens=tokens[1])
        if details:
            cached = {key: read_count(details.get(key)) or 0 for key in _DETAILS}
            if cached["cache_read_tokens"] + cached["cache_write_tokens"] <= tokens[0]:
                usage = msgspec.structs.replace(usage, **cached)
        cost, source = (
            self._prices.compute_cost(usage, ANYWHERE),
            self._prices.price_source(model, ANYWHERE),
        )
        return msgspec.structs.replace(usage, cost=cost, prices=source)

    def _has_own_price(self, model: str) -> bool:
        """Whether a price list contains exactly this model."""
        return self._prices.price_source(model, ANYWHERE) not in ("", "default")


def build_request(call: Call) -> dict[str, Any]:
    """The arguments of `LLMClient.complete` for a call."""
    parameters: dict[str, Any] = dict(call.parameters)
    inputs = {**parameters.pop("shared", {}), **parameters.pop("inputs", {})}
    return {**parameters, "prompt": fill_prompt(parameters["prompt"], inputs, call.dependencies)}


def _find_bad_end(
    request: JSONObject, response: LLMResponse, usage: Usage | None, refusal: Any
) -> Fault | None:
    """The fault for a response that is no plain success; None for one that is."""
    # Outside runs a request may leave the longest response to the client.
    max_tokens = request.get("max_tokens")
    is_bounded = isinstance(max_tokens, int)
    ending = Ending(
        word=str(response.finish_reason or ""),
        content=str(response.content or ""),
        tool_calls=len(response.tool_calls or ()),
        refusal=refusal if isinstance(refusal, str) and refusal else None,
        output_tokens=usage.output_tokens if usage is not None and is_bounded else None,
        reasoning_tokens=0 if usage is None else usage.reasoning_tokens,
        max_tokens=max_tokens if isinstance(max_tokens, int) else MOST_TOKENS,
    )
    fault = find_bad_end(ending, f"model '{response.model}'")
    accepts_cut = bool(request.get("accept_cut")) and ending.has_text and not ending.tool_calls
    return None if fault is not None and fault.kind == CUT_OFF and accepts_cut else fault


def _build_prompt(request: dict[str, Any]) -> Prompt:
    """The request as far as its cost depends on it."""
    named = {name: request.get(name) for name in ("model", "tools", "max_tokens")}
    extra = {name: value for name, value in request.items() if name not in _NAMED}
    return Prompt(
        model=str(named["model"]),
        messages=[],
        tools=[tool for tool in named["tools"] or () if isinstance(tool, dict)],
        max_tokens=named["max_tokens"] or MOST_TOKENS,
        extra=extra,
    )


def _approximate_body(request: dict[str, Any]) -> dict[str, Any]:
    """Approximately the request that a client will send."""
    prompt = {"role": "user", "content": request["prompt"]}
    form = request.get("response_format") or request.get("output_schema")
    return {**request, "prompt": "", "messages": [prompt], "response_format": form}


def _client_fault_reply(error: Exception) -> Reply:
    """The fault for an exception of a client; those of vendor packages have an HTTP status."""
    if isinstance(error, NoAnswer):
        return error.reply
    status, response = getattr(error, "status_code", None), getattr(error, "response", None)
    if isinstance(status, int) and status >= 400:
        headers = getattr(response, "headers", None) or {}
        lowercase = {str(name).lower(): str(value) for name, value in dict(headers).items()}
        return Reply(fault=status_fault(status, lowercase, str(error), REFUSED_STATUSES))
    fault = fault_of(error)
    # A client may raise our errors for reasons of its own, after a request too.
    return Reply(fault=doubt(fault) if isinstance(error, AgentHiveError) else fault)
