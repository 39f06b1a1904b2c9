"""One prompt of a workflow, as the hive calls it: the kind of agent that asks a client.

Its worst case and its size are known before it is made, so that budgets and rate limits hold for
any client. A client's answer is priced by the engine's own list.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Final

import msgspec

from agenthive.agents.base import AgentResponse, BaseAgent, alone, fault_of
from agenthive.agents.prices import Prices
from agenthive.agents.questions import is_answer, text_of
from agenthive.agents.worst import most_input
from agenthive.core.ports import Call, Reply, Usage
from agenthive.core.spec import AgentSpec
from agenthive.core.values import NanoUSD
from agenthive.facades.orchestration.clients import LLMClient, LLMResponse, VendorClient

KIND: Final = "llm_client"
BYTES_A_TOKEN: Final = 3
_HOLE: Final = re.compile(r"\{([A-Za-z_][\w-]*)\}")


class ClientAgent(BaseAgent):
    """Asks an `LLMClient`. ``prices`` say what that costs."""

    kind: ClassVar[str] = KIND
    priced: ClassVar[bool] = True

    def __init__(self, config: AgentSpec, client: LLMClient, prices: Prices) -> None:
        super().__init__(config)
        self._client, self._prices = client, prices
        self._where = getattr(client, "vendor", "openai")

    async def execute(self, action: str, parameters: dict[str, Any]) -> AgentResponse:
        """Ask outside any run."""
        return await alone(self, action, parameters)

    async def perform(self, call: Call) -> Reply:
        """Ask once."""
        asked = asked_of(call)
        if isinstance(self._client, VendorClient):
            messages = [{"role": "user", "content": asked.pop("prompt")}]
            reply = await self._client.reply({**asked, "messages": messages}, call.key)
            return msgspec.structs.replace(reply, usage=self._priced(reply.usage, asked["model"]))
        try:
            answer = await self._client.complete(**asked)
            return Reply(result=_result(answer), usage=self._used(answer))
        except Exception as error:
            return Reply(fault=fault_of(error))

    def worst(self, call: Call) -> NanoUSD | None:
        """The prompt by its bytes, and an answer of full length."""
        asked = asked_of(call)
        body = {"messages": [{"content": asked["prompt"]}], "tools": asked["tools"]}
        usage = Usage(
            model=asked["model"], input_tokens=most_input(body), output_tokens=asked["max_tokens"]
        )
        return self._prices.worst(usage, self._where)

    def tokens(self, call: Call) -> int:
        """The prompt by a third of its bytes, and a full answer."""
        asked = asked_of(call)
        return len(asked["prompt"].encode()) // BYTES_A_TOKEN + int(asked["max_tokens"])

    def _used(self, answer: LLMResponse) -> Usage | None:
        counts = (answer.input_tokens, answer.output_tokens)
        if any(isinstance(one, bool) or not isinstance(one, int) or one < 0 for one in counts):
            return None
        usage = Usage(model=answer.model, input_tokens=counts[0], output_tokens=counts[1])
        return self._priced(usage, answer.model)

    def _priced(self, usage: Usage | None, model: str) -> Usage | None:
        if usage is None:
            return None
        named = msgspec.structs.replace(usage, model=usage.model or model)
        cost = self._prices.cost(named, self._where)
        source = self._prices.source(named.model, self._where)
        return msgspec.structs.replace(named, cost=cost, prices=source)


def asked_of(call: Call) -> dict[str, Any]:
    """The arguments of `LLMClient.complete`."""
    given = dict(call.parameters)
    template, inputs = str(given.pop("prompt_template")), given.pop("inputs")
    known = {**(inputs if isinstance(inputs, dict) else {}), **_said(call.dependencies)}
    return {**given, "prompt": filled(template, known, call.dependencies)}


def _said(dependencies: dict[str, Any]) -> dict[str, Any]:
    """What agents said, by their names; and what is in it, if it is a map, by its keys."""
    found: dict[str, Any] = {}
    for result in dependencies.values():
        if isinstance(result, dict) and not is_answer(result):
            found |= result
    return found | dependencies


def filled(template: str, known: dict[str, Any], dependencies: dict[str, Any]) -> str:
    """The prompt: ``{name}`` stands for what is known by that name; the rest stays as it is.

    Results of dependencies that the template does not name come after it.
    """
    named = set(_HOLE.findall(template))
    prompt = _HOLE.sub(
        lambda hole: text_of(known[hole[1]]) if hole[1] in known else hole[0], template
    )
    more = [f"# {name}\n{text_of(said)}" for name, said in dependencies.items()
            if name not in named and said is not None]  # fmt: skip
    return "\n\n".join([prompt, *more])


def _result(answer: LLMResponse) -> dict[str, Any]:
    found = {"content": answer.content, "model": answer.model,
             "finish_reason": answer.finish_reason}  # fmt: skip
    return found | ({"tool_calls": answer.tool_calls} if answer.tool_calls else {})
