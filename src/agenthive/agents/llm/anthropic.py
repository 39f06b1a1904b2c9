"""Anthropic's models, and servers that speak its messages, through the package `anthropic`.

The endpoint is a base (``https://api.anthropic.com``), with or without ``/v1`` or
``/v1/messages``. Messages, tools and choices may be written as OpenAI writes them. Never streams
and never tries again. What the environment or a profile on disk says (keys, headers) is not used.
Imported when the first call needs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import parse_qsl, urlsplit

import anthropic
import httpx2

from agenthive.agents.base import BaseAgent, strict_json
from agenthive.agents.llm.base import ChatAgent, Client, Pieces, Said, ambient, count, part, words
from agenthive.agents.llm.content_parts import CACHE_MARK, for_anthropic
from agenthive.agents.llm.prices import Prices
from agenthive.agents.llm.prompts import Question, text_of
from agenthive.core.model.calls import Usage
from agenthive.core.model.workflow import AgentSpec
from agenthive.errors import APIError, ConfigurationError
from agenthive.infra.secrets import Secrets

if TYPE_CHECKING:
    from agenthive.infra.egress import Egress

_CHOICES: Final = {"required": "any"}
_THINKING: Final = ("thinking", "redacted_thinking")
_ENDS: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


class AnthropicAgent(ChatAgent):
    """A model that speaks Anthropic's protocol."""

    path: ClassVar[str] = "/v1/messages"
    home: ClassVar[str] = "anthropic.com"
    key_name: ClassVar[str] = "ANTHROPIC_API_KEY"
    omit: ClassVar[Any] = anthropic.omit
    stream: ClassVar[Any] = anthropic.AsyncStream[object]

    def open(self, http: httpx2.AsyncClient) -> Client:
        """Anthropic's client."""
        base, query = base_of(self.config.endpoint)
        return anthropic.AsyncAnthropic(
            # No key is not None, or those of the environment or of a profile would be used.
            api_key="",
            base_url=base,
            timeout=None,
            max_retries=0,
            default_headers=dict.fromkeys(ambient("ANTHROPIC_CUSTOM_HEADERS"), self.omit),
            default_query=query,
            open_telemetry=False,
            http_client=http,
        )

    def body(self, question: Question) -> dict[str, Any]:
        """The body of a message."""
        known = {
            "model": question.model,
            "max_tokens": question.max_tokens,
            "system": _system(question),
            "messages": _joined(
                [_message(one) for one in question.messages if not _is_system(one)]
            ),
            "tools": [_tool(one) for one in question.tools] or None,
            "tool_choice": _choice(question.tool_choice),
            "temperature": question.temperature,
        }
        given = {name: value for name, value in known.items() if value is not None}
        return {**_rest(question), **given}

    def pieces(self) -> Pieces:
        """The events of a message."""
        return Events()

    def read(self, answer: Mapping[str, Any]) -> Said:
        """The blocks of a message: texts are joined, tool uses become tool calls."""
        blocks = answer["content"]
        texts = [words(block["text"]) for block in blocks if block["type"] == "text"]
        uses = [block for block in blocks if block["type"] == "tool_use"]
        thinking = [dict(block) for block in blocks if block["type"] in _THINKING]
        model, end = words(answer.get("model")), words(answer.get("stop_reason"))
        speed = part(answer, "usage").get("speed")
        return Said(
            model=model,
            content="".join(texts) if texts or not uses else None,
            finish_reason=_ENDS.get(end, end) or "stop",
            tool_calls=[_call(block) for block in uses],
            thinking=thinking if uses else [],
            refusal="the model refused to answer" if end == "refusal" else None,
            usage=_usage(model, answer.get("usage")),
            context={"speed": speed} if isinstance(speed, str) else {},
            hour_writes=count(
                part(answer.get("usage"), "cache_creation").get("ephemeral_1h_input_tokens")
            ),
        )


class Events:
    """A message in events: its blocks, put together."""

    def __init__(self) -> None:
        self._message: dict[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._over = False

    def add(self, piece: Any) -> str:
        """Take in an event; kinds that are not known are passed over."""
        if not isinstance(piece, dict):
            raise APIError("a piece of the answer is no JSON object")
        kind, at = piece.get("type"), count(piece.get("index"))
        if kind == "message_start":
            self._message = dict(part(piece, "message"))
        elif kind == "content_block_start":
            self._blocks[at] = dict(part(piece, "content_block"))
        elif kind == "content_block_delta":
            return self._delta(self._blocks.setdefault(at, {}), part(piece, "delta"))
        elif kind == "message_delta":
            self._message |= part(piece, "delta")
            usage = {k: v for k, v in part(piece, "usage").items() if v is not None}
            self._message["usage"] = {**part(self._message, "usage"), **usage}
        self._over = self._over or kind == "message_stop"
        return ""

    def _delta(self, block: dict[str, Any], delta: Mapping[str, Any]) -> str:
        for name in ("text", "thinking", "signature"):
            if delta.get(name) is not None:
                block[name] = words(block.get(name)) + words(delta[name])
        if delta.get("partial_json") is not None:
            # The block begins with an empty object in place of its text.
            known = block["input"] if isinstance(block.get("input"), str) else ""
            block["input"] = known + words(delta["partial_json"])
        return words(delta.get("text"))

    def whole(self) -> dict[str, Any]:
        """The message. Raises ConnectionError if its end has not come."""
        if not self._over:
            raise ConnectionError("the answer broke off")
        return {**self._message, "content": [self._blocks[at] for at in sorted(self._blocks)]}


def make(
    spec: AgentSpec, secrets: Secrets, egress: Egress, prices: Prices | None = None
) -> BaseAgent:
    """The agent for a spec."""
    return AnthropicAgent(spec, secrets, egress, prices)


def base_of(endpoint: str) -> tuple[str, dict[str, str]]:
    """The address that the package is to be given, and the query that goes along."""
    parts = urlsplit(endpoint)
    path = parts.path.rstrip("/").removesuffix("/messages").removesuffix("/v1")
    return f"{parts.scheme}://{parts.netloc}{path}", dict(parse_qsl(parts.query))


def _is_system(message: Mapping[str, Any]) -> bool:
    return message.get("role") in ("system", "developer")


def _system(question: Question) -> Any:
    """What stands before the messages: a text, or blocks where some of it is marked."""
    said = [one.get("content") for one in question.messages if _is_system(one)]
    said = [question.system, *said] if question.system else said
    if not any(isinstance(one, list) for one in said):
        return "\n\n".join(map(text_of, said)) or None
    return [block for one in said for block in _blocks(one)]


def _blocks(content: Any) -> list[Any]:
    if isinstance(content, list):
        return [for_anthropic(one) for one in content]
    return [{"type": "text", "text": text_of(content)}] if content else []


def _joined(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What tools gave stands in one message with what the user says next."""
    found: list[dict[str, Any]] = []
    for one in messages:
        last = found[-1] if found else {}
        if one.get("role") == "user" == last.get("role") and _is_result(last):
            found[-1] = {"role": "user", "content": [*last["content"], *_blocks(one["content"])]}
        else:
            found.append(one)
    return found


def _is_result(message: Mapping[str, Any]) -> bool:
    content = message.get("content")
    return isinstance(content, list) and bool(content) and content[0].get("type") == "tool_result"


def _message(message: dict[str, Any]) -> dict[str, Any]:
    """A message; what OpenAI writes as a message of a tool is a block of the user's here."""
    content, calls = message.get("content"), message.get("tool_calls")
    if message.get("role") == "tool":
        block = {
            "type": "tool_result",
            "tool_use_id": message.get("tool_call_id", ""),
            "content": text_of(content),
        }
        failed = {"is_error": True} if message.get("is_error") else {}
        return {"role": "user", "content": [block | failed]}
    if isinstance(calls, list):
        thinking = message.get("thinking") or []
        uses = [_use(one) for one in calls]
        return {"role": "assistant", "content": [*thinking, *_blocks(content), *uses]}
    return {**message, "content": _blocks(content)} if isinstance(content, list) else message


def _use(call: Any) -> dict[str, Any]:
    """A tool call of a message before, as OpenAI or our own results write it."""
    inner = part(call, "function") or call
    if not isinstance(inner, Mapping):
        raise ConfigurationError("a tool call in a message must be a map")
    arguments = inner.get("arguments") or {}
    if isinstance(arguments, str):
        try:
            arguments = strict_json(arguments)
        except ValueError as error:
            raise ConfigurationError(f"the arguments of a tool call: {error}") from error
    name, ident = inner.get("name", ""), call.get("id", "")
    return {"type": "tool_use", "id": ident, "name": name, "input": arguments}


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool; OpenAI's way of writing it is understood."""
    function = part(tool, "function")
    if not function:
        return tool
    empty = {"type": "object", "properties": {}}
    found = {"name": function.get("name", ""), "input_schema": function.get("parameters") or empty}
    if function.get("description"):
        found["description"] = function["description"]
    return found | ({CACHE_MARK: tool[CACHE_MARK]} if CACHE_MARK in tool else {})


def _choice(choice: Any) -> Any:
    if isinstance(choice, str):
        return {"type": _CHOICES.get(choice, choice)}
    function = part(choice, "function")
    return {"type": "tool", "name": function.get("name", "")} if function else choice


def _rest(question: Question) -> dict[str, Any]:
    """What is passed on: some of it has another name here, and there is no seed."""
    renamed = ("stop", "seed", "reasoning_effort")
    rest = {name: value for name, value in question.rest.items() if name not in renamed}
    stop, effort = question.rest.get("stop"), question.rest.get("reasoning_effort")
    if stop:
        rest["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    output = {**({"effort": effort} if effort else {}), **part(rest, "output_config")}
    schema = question.schema or part(question.response_format, "json_schema").get("schema")
    if schema is not None:
        output["format"] = {"type": "json_schema", "schema": schema}
    elif question.wants_json:
        raise ConfigurationError(
            "Anthropic gives JSON by a schema only: write output_schema instead of response_format"
        )
    return {**rest, "output_config": output} if output else rest


def _call(block: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": words(block["id"]), "name": words(block["name"]), "arguments": block["input"]}


def _usage(model: str, told: Any) -> Usage | None:
    """What was used. Anthropic counts what is cached apart; here the input holds it."""
    if not isinstance(told, Mapping):
        return None
    read = count(told.get("cache_read_input_tokens"))
    written = count(told.get("cache_creation_input_tokens"))
    return Usage(
        model=model,
        input_tokens=count(told.get("input_tokens")) + read + written,
        output_tokens=count(told.get("output_tokens")),
        cache_read_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=count(part(told, "output_tokens_details").get("thinking_tokens")),
    )
