"""OpenAI, and every server that speaks its chat completions, through the package `openai`.

The endpoint is a base (``https://api.openai.com/v1``), the whole path of document C
(``.../v1/chat/completions``) or a bare host, which means ``/v1``; what stands after ``?`` is sent
along. Never streams and never tries again. What the environment says (organisation, headers) is
not used. Imported when the first call needs it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import parse_qsl, urlsplit

import httpx2
import openai

from agenthive.agents.base import BaseAgent
from agenthive.agents.llm.base import (
    ChatAgent,
    Client,
    Pieces,
    Said,
    ambient,
    at_home,
    count,
    part,
    words,
)
from agenthive.agents.llm.content_parts import CACHE_MARK, for_openai
from agenthive.agents.llm.prices import Prices
from agenthive.agents.llm.prompts import Question
from agenthive.core.model.calls import Usage
from agenthive.core.model.workflow import AgentSpec
from agenthive.errors import APIError
from agenthive.infra.secrets import Secrets

if TYPE_CHECKING:
    from agenthive.infra.egress import Egress

CHAT_PATH: Final = "/chat/completions"
_AMBIENT: Final = ("OpenAI-Organization", "OpenAI-Project")
_CHOICES: Final = {"any": "required"}
_ANTHROPICS: Final = ("thinking", "is_error", CACHE_MARK)
"""What other vendors' messages and tools may say and OpenAI's may not."""


class OpenAIAgent(ChatAgent):
    """A model that speaks OpenAI's protocol."""

    path: ClassVar[str] = CHAT_PATH
    home: ClassVar[str] = "openai.com"
    key_name: ClassVar[str] = "OPENAI_API_KEY"
    omit: ClassVar[Any] = openai.omit
    stream: ClassVar[Any] = openai.AsyncStream[object]
    streaming: ClassVar[dict[str, Any]] = {
        "stream": True, "stream_options": {"include_usage": True},
    }  # fmt: skip

    def open(self, http: httpx2.AsyncClient) -> Client:
        """OpenAI's client."""
        base, query = base_of(self.config.endpoint)
        unsaid = (*_AMBIENT, *ambient("OPENAI_CUSTOM_HEADERS"))
        return openai.AsyncOpenAI(
            # No key is not None, or the environment's would be used.
            api_key="",
            admin_api_key="",
            base_url=base,
            timeout=None,
            max_retries=0,
            default_headers=dict.fromkeys(unsaid, self.omit),
            default_query=query,
            http_client=http,
            _enforce_credentials=False,
        )

    def login(self) -> Mapping[str, Any]:
        """An ``api_key`` without a header of its own is what OpenAI calls a bearer token.

        A workflow file fills in X-API-Key, which OpenAI itself does not know.
        """
        login = super().login()
        usual = ("", "X-API-Key") if self._ours else ("",)
        if login.get("type") == "api_key" and (login.get("header") or "") in usual:
            return {"type": "bearer", "token": login.get("key", "")}
        return login

    @property
    def _ours(self) -> bool:
        return at_home(urlsplit(self.config.endpoint).hostname or "", self.home)

    def body(self, question: Question) -> dict[str, Any]:
        """The body of a chat completion."""
        messages = [_message(one) for one in question.messages]
        if question.system:
            messages.insert(0, {"role": "system", "content": question.system})
        # Servers of others know the older name only, OpenAI's newer models only the newer one.
        most = "max_completion_tokens" if self._ours else "max_tokens"
        known = {
            "model": question.model,
            "messages": messages,
            "tools": [_tool(one) for one in question.tools] or None,
            "tool_choice": _choice(question.tool_choice),
            most: question.max_tokens,
            "temperature": question.temperature,
            "response_format": _format(question),
        }
        given = {name: value for name, value in known.items() if value is not None}
        return {**question.rest, **given}

    def pieces(self) -> Pieces:
        """The chunks of a chat completion."""
        return Chunks()

    def read(self, answer: Mapping[str, Any]) -> Said:
        """The first choice of a chat completion."""
        choice = answer["choices"][0]
        message = choice["message"]
        calls = [_call(one) for one in message.get("tool_calls") or []]
        model = words(answer.get("model"))
        tier = answer.get("service_tier")
        refusal = words(message.get("refusal"))
        return Said(
            model=model,
            content=None if message.get("content") is None else words(message["content"]),
            finish_reason=words(choice.get("finish_reason")) or "stop",
            tool_calls=calls,
            refusal=refusal or None,
            usage=_usage(model, answer.get("usage")),
            context={"service_tier": tier} if isinstance(tier, str) else {},
        )


class Chunks:
    """A chat completion in chunks: the first choice, put together."""

    def __init__(self) -> None:
        self._answer: dict[str, Any] = {}
        self._message: dict[str, Any] = {"content": None}
        self._calls: dict[int, dict[str, Any]] = {}
        self._finish = ""

    def add(self, piece: Any) -> str:
        """Take in a chunk."""
        if not isinstance(piece, dict):
            raise APIError("a piece of the answer is no JSON object")
        for name in ("model", "service_tier", "usage"):
            if piece.get(name) is not None:
                self._answer[name] = piece[name]
        choices = piece.get("choices") or [{}]
        self._finish = words(choices[0].get("finish_reason")) or self._finish
        delta = part(choices[0], "delta")
        text = words(delta.get("content"))
        for name in ("content", "refusal"):
            if delta.get(name) is not None:
                self._message[name] = (self._message.get(name) or "") + words(delta[name])
        for call in delta.get("tool_calls") or ():
            self._add_call(call)
        return text

    def _add_call(self, call: Mapping[str, Any]) -> None:
        at = count(call.get("index"))
        empty = {"id": "", "function": {"name": "", "arguments": ""}}
        known, function = self._calls.setdefault(at, empty), part(call, "function")
        known["id"] = known["id"] or words(call.get("id"))
        for name in ("name", "arguments"):
            known["function"][name] += words(function.get(name))

    def whole(self) -> dict[str, Any]:
        """The completion. Raises ConnectionError if no reason for its end has come."""
        if not self._finish:
            raise ConnectionError("the answer broke off")
        calls = [self._calls[at] for at in sorted(self._calls)]
        message = self._message | ({"tool_calls": calls} if calls else {})
        return {**self._answer, "choices": [{"message": message, "finish_reason": self._finish}]}


def make(
    spec: AgentSpec, secrets: Secrets, egress: Egress, prices: Prices | None = None
) -> BaseAgent:
    """The agent for a spec."""
    return OpenAIAgent(spec, secrets, egress, prices)


def base_of(endpoint: str) -> tuple[str, dict[str, str]]:
    """The address that the package is to be given, and the query that goes along."""
    parts = urlsplit(endpoint)
    path = parts.path.rstrip("/").removesuffix(CHAT_PATH)
    return f"{parts.scheme}://{parts.netloc}{path or '/v1'}", dict(parse_qsl(parts.query))


def _message(message: dict[str, Any]) -> dict[str, Any]:
    """A message; tool calls may be written as our own results have them, images as Anthropic's."""
    known = {k: v for k, v in message.items() if k not in _ANTHROPICS}
    content, calls = known.get("content"), known.get("tool_calls")
    if isinstance(content, list):
        known["content"] = [for_openai(one) for one in content]
    if isinstance(calls, list):
        known["tool_calls"] = [_asked(one) for one in calls]
    return known


def _asked(call: Any) -> Any:
    if not isinstance(call, Mapping) or "name" not in call:
        return call
    arguments = call.get("arguments", {})
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    function = {"name": call["name"], "arguments": text}
    return {"id": call.get("id", ""), "type": "function", "function": function}


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool; Anthropic's way of writing it is understood."""
    if "input_schema" not in tool:
        return {k: v for k, v in tool.items() if k not in _ANTHROPICS}
    function = {"name": tool.get("name", ""), "parameters": tool["input_schema"]}
    if tool.get("description"):
        function["description"] = tool["description"]
    return {"type": "function", "function": function}


def _choice(choice: Any) -> Any:
    if isinstance(choice, Mapping) and choice.get("type") == "tool":
        return {"type": "function", "function": {"name": choice.get("name", "")}}
    if isinstance(choice, Mapping) and choice.get("type") in ("auto", "any", "none"):
        choice = choice["type"]
    return _CHOICES.get(choice, choice) if isinstance(choice, str) else choice


def _format(question: Question) -> dict[str, Any] | None:
    if question.schema is None:
        return question.response_format
    schema = {"name": "answer", "schema": question.schema}
    return {"type": "json_schema", "json_schema": schema}


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    name, arguments = words(function["name"]), words(function.get("arguments"))
    return {"id": words(call.get("id")), "name": name, "arguments": arguments}


def _usage(model: str, told: Any) -> Usage | None:
    if not isinstance(told, Mapping):
        return None
    given, made = part(told, "prompt_tokens_details"), part(told, "completion_tokens_details")
    return Usage(
        model=model,
        input_tokens=count(told.get("prompt_tokens")),
        output_tokens=count(told.get("completion_tokens")),
        cache_read_tokens=count(given.get("cached_tokens")),
        cache_write_tokens=count(given.get("cache_write_tokens")),
        reasoning_tokens=count(made.get("reasoning_tokens")),
    )
