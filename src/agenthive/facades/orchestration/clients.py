"""Models as this design calls them: `LLMClient`, and one client each for OpenAI and Anthropic.

Our clients call the agents of agenthive, so that the key is a secret, nothing is retried here, and
responses of a server are parsed in one place. They work inside an engine and alone. To add a
client: a subclass of `LLMClient` with `complete`; a vendor that agenthive supports takes three
lines like those below.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import msgspec

from agenthive.agents.faults import fault_reply
from agenthive.agents.llm.prompts import CHAT
from agenthive.agents.llm.router import HOMES, ModelAgent
from agenthive.core.model.calls import Call, Reply
from agenthive.core.model.workflow import AgentSpec
from agenthive.core.policies.fault_classes import FaultClass
from agenthive.errors import AgentError, AgentUnavailable, APIError
from agenthive.infra.egress import Egress
from agenthive.infra.secrets import Secrets

#: The call of a run that a client is serving; None outside runs.
CALL: ContextVar[Call | None] = ContextVar("agenthive-llm-call", default=None)


_SILENT: Final = ("connection", "timeout")


@dataclass
class LLMResponse:
    """The response of a model. ``tool_calls`` are maps of id, name and arguments."""

    content: str
    model: str
    input_tokens: int
    output_tokens: int
    finish_reason: str = "stop"
    tool_calls: list[dict[str, Any]] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


class NoAnswer(AgentError):
    """A model gave no response; ``reply`` is the fault as a run receives it."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.fault.message if reply.fault is not None else "")
        self.reply = reply


class Refusal(NoAnswer, APIError):
    """The server of a model refused the call or failed."""


class Silence(NoAnswer, AgentUnavailable):
    """The server of a model did not respond."""


class LLMClient(ABC):
    """A language model of any provider. Calls must be safe to make concurrently."""

    @abstractmethod
    async def complete(
        self,
        prompt: str,
        model: str,
        temperature: float | None = 0.7,
        max_tokens: int = 1000,
        tools: list[dict[str, Any]] | None = None,
        **kwargs: Any,
    ) -> LLMResponse:
        """Respond to a prompt in at most ``max_tokens`` tokens. Every failure is raised."""

    async def complete_with_tools(
        self,
        messages: list[dict[str, Any]],
        model: str,
        tools: list[dict[str, Any]],
        temperature: float | None = 0.7,
        max_tokens: int = 1000,
        **kwargs: Any,
    ) -> LLMResponse:
        """Respond to a conversation, with calls of these tools if the model requests some."""
        raise NotImplementedError(f"{type(self).__name__} has no complete_with_tools")

    async def close(self) -> None:  # noqa: B027 - most clients have nothing to close
        """Close connections. The client may be called again afterwards."""


class _VendorClient(LLMClient):
    """Shared code of the vendor clients. ``timeout`` (seconds) applies outside runs."""

    vendor: ClassVar[str]
    login: ClassVar[dict[str, Any]]

    def __init__(
        self, api_key: str, *, base_url: str | None = None, timeout: float | None = 120.0
    ) -> None:
        secrets = Secrets()
        key = secrets.hold_in_memory(self.vendor, api_key)
        login = {name: value or key for name, value in self.login.items()}
        spec = AgentSpec(
            name=self.vendor,
            type=ModelAgent.kind,
            endpoint=base_url or HOMES[self.vendor],
            authentication=login if api_key else None,
            custom_params={"provider": self.vendor, "prices": self.vendor},
        )
        self._agent = ModelAgent(spec, secrets, Egress())
        self._timeout = timeout

    async def complete(
        self,
        prompt: str,
        model: str,
        temperature: float | None = 0.7,
        max_tokens: int = 1000,
        tools: list[dict[str, Any]] | None = None,
        **kwargs: Any,
    ) -> LLMResponse:
        """Respond to a prompt. Raises APIError, or AgentUnavailable without a response."""
        messages = [{"role": "user", "content": prompt}]
        return await self.complete_with_tools(
            messages, model, tools or [], temperature, max_tokens, **kwargs
        )

    async def complete_with_tools(
        self,
        messages: list[dict[str, Any]],
        model: str,
        tools: list[dict[str, Any]],
        temperature: float | None = 0.7,
        max_tokens: int = 1000,
        **kwargs: Any,
    ) -> LLMResponse:
        """Respond to a conversation. ``kwargs`` go to the vendor. Raises as `complete` does."""
        request = {
            **kwargs,
            "messages": messages,
            "model": model,
            "tools": tools or None,
            "temperature": temperature,
            "max_tokens": max_tokens,
        }
        reply = await self._perform_call(
            {key: value for key, value in request.items() if value is not None}
        )
        # An answer that was cut off or refused is a response; ``finish_reason`` says how it ended.
        if reply.fault is not None and reply.result is None:
            raise Silence(reply) if reply.fault.kind in _SILENT else Refusal(reply)
        return _build_response(reply, model)

    async def close(self) -> None:
        """Close the connections."""
        await self._agent.close()

    async def _perform_call(self, parameters: dict[str, Any]) -> Reply:
        run_call = CALL.get()
        call = Call(
            run="",
            task="",
            attempt=1,
            key=run_call.key if run_call else "",
            agent=self.vendor,
            action=CHAT,
            parameters=parameters,
        )
        try:
            async with asyncio.timeout(None if run_call else self._timeout):
                return await self._agent.perform(call)
        except TimeoutError:
            message = f"{self.vendor}: no response in {self._timeout} s"
            return fault_reply("timeout", message, FaultClass.UNKNOWN)


class OpenAIClient(_VendorClient):
    """OpenAI, or at ``base_url`` any server with its chat completions API."""

    vendor: ClassVar[str] = "openai"
    login: ClassVar[dict[str, Any]] = {"type": "bearer", "token": ""}


class AnthropicClient(_VendorClient):
    """Anthropic, or at ``base_url`` any server with its messages API."""

    vendor: ClassVar[str] = "anthropic"
    login: ClassVar[dict[str, Any]] = {"type": "api_key", "header": "X-API-Key", "key": ""}


def _build_response(reply: Reply, model: str) -> LLMResponse:
    result: Any = reply.result
    usage = reply.usage
    metadata = {key: result[key] for key in ("parsed", "refusal") if key in result}
    for key, value in (("usage", usage), ("headroom", reply.headroom)):
        if value is not None:
            metadata[key] = msgspec.to_builtins(value)
    return LLMResponse(
        content=result["content"] or "",
        model=result["model"] or model,
        input_tokens=usage.input_tokens if usage else 0,
        output_tokens=usage.output_tokens if usage else 0,
        finish_reason=result["finish_reason"],
        tool_calls=result.get("tool_calls"),
        metadata=metadata,
    )
