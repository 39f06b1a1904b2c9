"""Clients of language models: the house's own agents of both vendors, to be asked directly.

A client works by itself, outside any engine; inside one its calls are journaled, held and paced. A
client of one's own is a subclass of `LLMClient` with the two methods. Keys are secrets: they are
sent to their host and shown nowhere.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from agenthive.agents.models import HOMES, ModelAgent
from agenthive.core.ports import Call, Fault, Reply
from agenthive.core.spec import AgentSpec
from agenthive.errors import AgentError, AgentUnavailable, APIError, RateLimitTimeout
from agenthive.infra.egress import Egress
from agenthive.infra.secrets import Secrets

MAX_TOKENS: Final = 1000
TEMPERATURE: Final = 0.7


@dataclass
class LLMResponse:
    """What a model answered. ``tool_calls``: id, name and arguments of each."""

    content: str
    model: str
    input_tokens: int
    output_tokens: int
    finish_reason: str
    tool_calls: list[dict[str, Any]] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


class LLMClient(ABC):
    """A provider of language models."""

    @abstractmethod
    async def complete(
        self,
        prompt: str,
        model: str,
        temperature: float = TEMPERATURE,
        max_tokens: int = MAX_TOKENS,
        tools: list[dict[str, Any]] | None = None,
        **kwargs: Any,
    ) -> LLMResponse:
        """The completion of a prompt. Raises for whatever goes wrong."""

    @abstractmethod
    async def complete_with_tools(
        self,
        messages: list[dict[str, Any]],
        model: str,
        tools: list[dict[str, Any]],
        temperature: float = TEMPERATURE,
        max_tokens: int = MAX_TOKENS,
        **kwargs: Any,
    ) -> LLMResponse:
        """The next message of a conversation, which may ask for tools."""

    async def close(self) -> None:  # noqa: B027 - most clients have nothing to let go of
        """Let go of connections. May be called twice."""


class _Key(Secrets):
    """One secret, by reference."""

    def __init__(self, value: str) -> None:
        super().__init__()
        self._value = value

    def _look_up(self, kind: str, name: str) -> str:
        return self._value


class VendorClient(LLMClient):
    """A vendor's models over its own package; ``base_url`` for another server that speaks so."""

    vendor: ClassVar[str]

    def __init__(self, api_key: str, *, base_url: str | None = None) -> None:
        login: dict[str, Any] = {"type": "bearer", "token": "${secret:api_key}"}
        if self.vendor == "anthropic":
            login = {"type": "api_key", "key": "${secret:api_key}", "header": "x-api-key"}
        spec = AgentSpec(
            name=self.vendor,
            type="ai_agent",
            endpoint=base_url or HOMES[self.vendor],
            authentication=login,
            timeout=None,
            custom_params={"provider": self.vendor, "prices": self.vendor},
        )
        self._agent = ModelAgent(spec, _Key(api_key), Egress())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._agent.config.endpoint!r})"

    async def complete(
        self,
        prompt: str,
        model: str,
        temperature: float = TEMPERATURE,
        max_tokens: int = MAX_TOKENS,
        tools: list[dict[str, Any]] | None = None,
        **kwargs: Any,
    ) -> LLMResponse:
        """Raises AgentUnavailable, RateLimitTimeout or APIError, by what the vendor says."""
        messages = [{"role": "user", "content": prompt}]
        return await self.complete_with_tools(
            messages, model, tools or [], temperature, max_tokens, **kwargs
        )

    async def complete_with_tools(
        self,
        messages: list[dict[str, Any]],
        model: str,
        tools: list[dict[str, Any]],
        temperature: float = TEMPERATURE,
        max_tokens: int = MAX_TOKENS,
        **kwargs: Any,
    ) -> LLMResponse:
        """Raises AgentUnavailable, RateLimitTimeout or APIError, by what the vendor says."""
        asked = {
            "messages": messages, "model": model, "tools": tools or None,
            "temperature": temperature, "max_tokens": max_tokens, **kwargs,
        }  # fmt: skip
        return response_of(await self.reply(asked))

    async def reply(self, parameters: dict[str, Any], key: str = "") -> Reply:
        """As a hive asks: with the key of the call, and a fault instead of an exception."""
        given = {name: value for name, value in parameters.items() if value is not None}
        call = Call(
            run="", task="", attempt=1, key=key, agent=self.vendor, action="chat_completion",
            parameters=given,
        )  # fmt: skip
        return await self._agent.perform(call)

    async def close(self) -> None:
        """Close the connections."""
        await self._agent.close()


class OpenAIClient(VendorClient):
    """OpenAI's models."""

    vendor: ClassVar[str] = "openai"


class AnthropicClient(VendorClient):
    """Anthropic's models."""

    vendor: ClassVar[str] = "anthropic"


def response_of(reply: Reply) -> LLMResponse:
    """The answer in this document's words. Raises the error that a fault means."""
    if reply.fault is not None:
        raise error_of(reply.fault)
    result: Any = reply.result
    usage = reply.usage
    known = ("content", "model", "finish_reason", "tool_calls")
    more = {name: value for name, value in result.items() if name not in known}
    if usage is not None:
        more |= {"cache_read_tokens": usage.cache_read_tokens,
                 "cache_write_tokens": usage.cache_write_tokens,
                 "reasoning_tokens": usage.reasoning_tokens}  # fmt: skip
    return LLMResponse(
        content=result["content"] or "",
        model=result["model"],
        input_tokens=0 if usage is None else usage.input_tokens,
        output_tokens=0 if usage is None else usage.output_tokens,
        finish_reason=result["finish_reason"],
        tool_calls=result.get("tool_calls"),
        metadata=more,
    )


def error_of(fault: Fault) -> AgentError:
    """The house's error for a fault."""
    if fault.kind == "rate_limited":
        return RateLimitTimeout(fault.message, hint="Ask less often.")
    if fault.kind in ("connection", "timeout", "unavailable", "overloaded"):
        return AgentUnavailable(fault.message, hint="Try again later.")
    return APIError(fault.message)
