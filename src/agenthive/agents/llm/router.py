"""A language model: OpenAI, Anthropic, anything compatible, offline://extractive.

Chooses the vendor of an ``ai_agent`` by its endpoint: ``offline://`` is the deterministic model, an
address at anthropic.com has Anthropic's API, every other http(s) address has OpenAI's;
``custom_params.provider`` names the API of a compatible server. A parameter
``model: "openai:NAME"`` (or ``anthropic:NAME``) calls that vendor instead, with the key from
OPENAI_API_KEY or ANTHROPIC_API_KEY. Vendors' packages are imported when the first call needs them.
Never changes a call beyond that. To add a vendor: see the docstring of the package.
"""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import urlsplit

import msgspec

from agenthive.agents.base import AgentResponse, AgentServices, AgentType, BaseAgent
from agenthive.agents.faults import fault_of, fault_reply
from agenthive.agents.llm.prices import Prices
from agenthive.core.model.calls import Call, Reply
from agenthive.core.model.workflow import AgentSpec, Effect
from agenthive.core.policies.fault_classes import FaultClass
from agenthive.core.values import JSONObject, NanoUSD
from agenthive.errors import AgentUnavailable, ConfigurationError
from agenthive.infra.extras import require_package
from agenthive.infra.secrets import Secrets

if TYPE_CHECKING:
    from agenthive.infra.egress import Egress

#: Names of the modules beside this one that are vendors.
VENDORS: Final = ("offline", "openai", "anthropic")
#: Vendor -> its own address, for calls whose model names the vendor.
HOMES: Final = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
}
_KEYS: Final = {"openai": "${env:OPENAI_API_KEY}", "anthropic": "${env:ANTHROPIC_API_KEY}"}


class ModelAgent(BaseAgent):
    """An agent that passes each call to the agent of its vendor."""

    kind: ClassVar[str] = AgentType.AI_AGENT

    def __init__(
        self, config: AgentSpec, secrets: Secrets, egress: Egress, prices: Prices | None = None
    ) -> None:
        super().__init__(config)
        self._secrets, self._egress, self._prices = secrets, egress, prices or Prices()
        self._vendors: dict[str, BaseAgent] = {}

    async def execute(self, action: str, parameters: dict[str, Any]) -> AgentResponse:
        """Call the model outside any run."""
        try:
            vendor, spec, vendor_parameters = self._choose_vendor(parameters)
            return await (await self._load_agent(vendor, spec)).execute(action, vendor_parameters)
        except ConfigurationError as error:
            return AgentResponse(success=False, error=fault_of(error).message)

    async def perform(self, call: Call) -> Reply:
        """Call the model. A vendor whose package is missing is a fault, not an error."""
        try:
            vendor, spec, vendor_parameters = self._choose_vendor(call.parameters)
            agent = await self._load_agent(vendor, spec)
        except ConfigurationError as error:
            return Reply(fault=fault_of(error))
        except AgentUnavailable as error:
            message = f"{error.message}. {error.hint}"
            return fault_reply(
                "unregistered", message, FaultClass.NOT_SENT, retriable=False, counts=False
            )
        return await agent.perform(msgspec.structs.replace(call, parameters=vendor_parameters))

    def _choose_vendor(self, parameters: dict[str, Any]) -> tuple[str, AgentSpec, dict[str, Any]]:
        model = str(parameters.get("model") or "")
        vendor, colon, name = model.partition(":")
        if not colon or vendor not in VENDORS:
            return vendor_of(self.config), self.config, parameters
        vendor_parameters = {**parameters, "model": name}
        if vendor == "offline" or vendor == vendor_of(self.config):
            return vendor, self.config, vendor_parameters
        login = {"type": "api_key", "key": _KEYS[vendor]}
        spec = msgspec.structs.replace(self.config, endpoint=HOMES[vendor], authentication=login)
        return vendor, spec, vendor_parameters

    async def _load_agent(self, vendor: str, spec: AgentSpec) -> BaseAgent:
        require_vendor(vendor, spec.name)
        if vendor not in self._vendors:
            # A vendor's package takes seconds to import, which would block the event loop.
            await asyncio.to_thread(importlib.import_module, _module_name(vendor))
        return self._vendor_agent(vendor, spec)

    def _vendor_agent(self, vendor: str, spec: AgentSpec) -> BaseAgent:
        agent = self._vendors.get(vendor)
        if agent is None:
            require_vendor(vendor, spec.name)
            module = importlib.import_module(_module_name(vendor))
            new_agent = module.make(spec, self._secrets, self._egress, self._prices)
            assert isinstance(new_agent, BaseAgent)
            agent = self._vendors[vendor] = new_agent
        return agent

    def estimate_max_cost(self, call: Call) -> NanoUSD | None:
        """The bound of the vendor's agent, in nano-dollars; None if the price is unknown."""
        try:
            vendor, spec, vendor_parameters = self._choose_vendor(call.parameters)
            return self._vendor_agent(vendor, spec).estimate_max_cost(
                msgspec.structs.replace(call, parameters=vendor_parameters)
            )
        except (AgentUnavailable, ConfigurationError):
            return 0  # The call will be refused, which costs nothing.

    def explain_unpriced(self, call: Call) -> str:
        """Why the cost of a call cannot be bounded, and what to do; empty if it can."""
        try:
            vendor, spec, vendor_parameters = self._choose_vendor(call.parameters)
            return self._vendor_agent(vendor, spec).explain_unpriced(
                msgspec.structs.replace(call, parameters=vendor_parameters)
            )
        except (AgentUnavailable, ConfigurationError):
            return ""  # The call will be refused, which costs nothing.

    def estimate_tokens(self, call: Call) -> int:
        """The estimate of the vendor's agent, in tokens."""
        try:
            vendor, spec, vendor_parameters = self._choose_vendor(call.parameters)
            return self._vendor_agent(vendor, spec).estimate_tokens(
                msgspec.structs.replace(call, parameters=vendor_parameters)
            )
        except (AgentUnavailable, ConfigurationError):
            return 0  # The call will be refused.

    def fit_max_tokens(self, call: Call, max_cost: NanoUSD) -> tuple[int, NanoUSD] | None:
        """The longest reply (tokens) within ``max_cost`` nano-dollars, and its cost."""
        vendor, spec, vendor_parameters = self._choose_vendor(call.parameters)
        return self._vendor_agent(vendor, spec).fit_max_tokens(
            msgspec.structs.replace(call, parameters=vendor_parameters), max_cost
        )

    async def close(self) -> None:
        """Close the agent of every vendor that was called."""
        vendors, self._vendors = list(self._vendors.values()), {}
        for agent in vendors:
            await agent.close()


def _module_name(vendor: str) -> str:
    return f"agenthive.agents.llm.{vendor}"


def make(spec: AgentSpec, services: AgentServices) -> BaseAgent:
    """The agent for a spec. Raises AgentUnavailable if its vendor's package is not installed."""
    require_vendor(vendor_of(spec), spec.name)
    return ModelAgent(spec, services.secrets, services.egress, services.prices)


def require_vendor(vendor: str, agent: str) -> None:
    """Raise AgentUnavailable if the vendor's package is not installed."""
    if vendor != "offline":
        require_package(vendor, vendor, agent)


def vendor_of(spec: AgentSpec) -> str:
    """The vendor of an agent. Raises ConfigurationError if its endpoint is not an address."""
    scheme, host = urlsplit(spec.endpoint).scheme, urlsplit(spec.endpoint).hostname or ""
    provider = spec.custom_params.get("provider")
    if scheme == "offline":
        return "offline"
    if scheme not in ("http", "https"):
        raise ConfigurationError(
            f"agent '{spec.name}': '{spec.endpoint}' is not an address of a model",
            hint="Use https://... or offline://extractive.",
        )
    if provider in VENDORS:
        return str(provider)
    return "anthropic" if f".{host}".endswith(".anthropic.com") else "openai"


def action_problem(spec: AgentSpec, action: str) -> str | None:
    """A model performs any action: one that is not ``chat_completion`` becomes a prompt."""
    return None


def effect_of(spec: AgentSpec, action: str) -> Effect | None:
    """Unknown: a call costs money and may use tools. The offline model does neither."""
    return Effect.NONE if vendor_of(spec) == "offline" else None


def parameters(spec: AgentSpec, action: str) -> JSONObject | None:
    """Any: a parameter that is not an option of the model is part of its prompt."""
    return None
