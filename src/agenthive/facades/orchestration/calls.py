"""How a run asks a client: an agent kind of the house, so that it is held, limited and journaled.

The hive asks this agent what a call can cost at most before it is made; what it did cost follows
from the tokens that the client reports. Nothing here retries or knows a budget.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

import msgspec

from agenthive.agents.base import AgentResponse, BaseAgent, alone, fault_of, status_fault
from agenthive.agents.llm.base import BYTES_A_TOKEN, count
from agenthive.agents.llm.prices import Prices
from agenthive.agents.llm.token_bounds import most_input
from agenthive.core.model.calls import Call, Headroom, Reply, Usage
from agenthive.core.model.workflow import AgentSpec
from agenthive.core.values import JSONObject, NanoUSD
from agenthive.facades.orchestration.clients import CALL, LLMClient, LLMResponse, NoAnswer
from agenthive.facades.orchestration.costs import ANYWHERE, CostConfig
from agenthive.facades.orchestration.prompts import filled

_DETAILS: Final = ("cache_read_tokens", "cache_write_tokens", "reasoning_tokens")


class Clients:
    """Makes the agents of one client; what a hive has registered for their kind."""

    def __init__(self, client: LLMClient, costs: CostConfig) -> None:
        self.client, self.costs = client, costs
        self._prices = costs.prices()

    def __call__(self, spec: AgentSpec) -> BaseAgent:
        return ClientAgent(spec, self.client, self._prices)

    def same(self, other: object) -> bool:
        """Whether the other asks the same client and counts the same prices."""
        known = isinstance(other, Clients) and other.client is self.client
        return known and other.costs == self.costs  # type: ignore[attr-defined]


class ClientAgent(BaseAgent):
    """Asks a client. The task's parameters are the prompt and what `complete` takes besides."""

    kind: ClassVar[str] = "llm_client"
    priced: ClassVar[bool] = True

    def __init__(self, config: AgentSpec, client: LLMClient, prices: Prices) -> None:
        super().__init__(config)
        self._client, self._prices = client, prices

    async def execute(self, action: str, parameters: dict[str, Any]) -> AgentResponse:
        """Ask outside any run."""
        return await alone(self, action, parameters)

    async def perform(self, call: Call) -> Reply:
        """Ask once."""
        token = CALL.set(call)
        try:
            asked = question(call)
            return self._reply(asked, await self._client.complete(**asked))
        except Exception as error:
            return _told(error)
        finally:
            CALL.reset(token)

    def worst(self, call: Call) -> NanoUSD | None:
        """What a call can cost at most: its input by its bytes, an answer of full length."""
        asked = question(call)
        usage = Usage(
            model=asked["model"],
            input_tokens=most_input(_body(asked)),
            output_tokens=asked["max_tokens"],
        )
        return self._prices.worst(usage, ANYWHERE)

    def tokens(self, call: Call) -> int:
        """The input by a third of its bytes, and a full answer."""
        asked = question(call)
        most: int = asked["max_tokens"]
        return most_input(_body(asked)) // BYTES_A_TOKEN + most

    def _reply(self, asked: JSONObject, response: LLMResponse) -> Reply:
        known = dict(response.metadata or {})
        details, left = known.pop("usage", None), known.pop("headroom", None)
        result = {
            "content": response.content,
            "model": response.model,
            "finish_reason": response.finish_reason,
            **({"tool_calls": response.tool_calls} if response.tool_calls else {}),
            **({"metadata": known} if known else {}),
        }
        return Reply(
            result=msgspec.to_builtins(result, str_keys=True),
            usage=self._usage(str(asked["model"]), response, details),
            headroom=None if left is None else msgspec.convert(left, Headroom),
        )

    def _usage(self, asked: str, response: LLMResponse, details: Any) -> Usage | None:
        """What was used, priced; None if that is not said: then what was held is spent."""
        tokens = (response.input_tokens, response.output_tokens)
        if any(type(one) is not int or one < 0 for one in tokens):
            return None
        model = response.model if self._listed(response.model) else asked
        usage = Usage(model=model, input_tokens=tokens[0], output_tokens=tokens[1])
        if details:
            cached = {key: count(details.get(key)) for key in _DETAILS}
            usage = msgspec.structs.replace(usage, **cached)
        cost, source = self._prices.cost(usage, ANYWHERE), self._prices.source(model, ANYWHERE)
        return msgspec.structs.replace(usage, cost=cost, prices=source)

    def _listed(self, model: str) -> bool:
        """Whether a list has a price of this very model."""
        return self._prices.source(model, ANYWHERE) not in ("", "default")


def question(call: Call) -> dict[str, Any]:
    """What `LLMClient.complete` is asked for a call."""
    given: dict[str, Any] = dict(call.parameters)
    inputs = {**given.pop("shared", {}), **given.pop("inputs", {})}
    return {**given, "prompt": filled(given["prompt"], inputs, call.dependencies)}


def _body(asked: dict[str, Any]) -> dict[str, Any]:
    """About the request that a client will make of it."""
    prompt = {"role": "user", "content": asked["prompt"]}
    form = asked.get("response_format") or asked.get("output_schema")
    return {**asked, "prompt": "", "messages": [prompt], "response_format": form}


def _told(error: Exception) -> Reply:
    """What an exception out of a client means; those of vendors' packages name an HTTP status."""
    if isinstance(error, NoAnswer):
        return error.reply
    status, response = getattr(error, "status_code", None), getattr(error, "response", None)
    if isinstance(status, int) and status >= 400:
        headers = getattr(response, "headers", None) or {}
        lower = {str(name).lower(): str(value) for name, value in dict(headers).items()}
        return Reply(fault=status_fault(status, lower, str(error)))
    return Reply(fault=fault_of(error))
