"""Anthropic's models, and servers that implement its Messages API, by the package `anthropic`.

The endpoint is a base address (``https://api.anthropic.com``), with or without ``/v1`` or
``/v1/messages``; its query is sent along. Messages, tools and tool choices may also be written in
OpenAI's form and are translated. The reply is streamed if the prompt says ``stream``, else it is
one response. Never retries, and never uses keys or headers from the environment or from a profile
on disk. Imported when the first call needs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import parse_qsl, urlsplit

import anthropic
import httpx2

from agenthive.agents.base import BaseAgent, parse_strict_json
from agenthive.agents.llm.base import (
    ChatAgent,
    Client,
    ModelReply,
    StreamedReply,
    environment_headers,
    get_map,
    measure_texts,
    read_index,
    text_or_empty,
)
from agenthive.agents.llm.content_parts import CACHE_MARK, for_anthropic
from agenthive.agents.llm.endings import PAUSE, finish_reason
from agenthive.agents.llm.prices import Prices
from agenthive.agents.llm.prompts import Prompt, text_of
from agenthive.agents.llm.usage import merge_usage, read_count
from agenthive.core.model.workflow import AgentSpec
from agenthive.errors import APIError, ConfigurationError
from agenthive.infra.secrets import Secrets

if TYPE_CHECKING:
    from agenthive.infra.egress import Egress

#: OpenAI's tool choice -> Anthropic's.
_CHOICES: Final = {"required": "any"}
#: Types of content blocks that hold reasoning; they must be sent back unchanged.
_THINKING: Final = ("thinking", "redacted_thinking")
#: Output tokens. The count at the start of a stream, before any text, is seldom above 10; a larger
#: one is that of the whole answer.
_BEGINNING: Final = 32


class AnthropicAgent(ChatAgent):
    """A model behind Anthropic's Messages API."""

    cached_apart: ClassVar[bool] = True
    path: ClassVar[str] = "/v1/messages"
    vendor_domain: ClassVar[str] = "anthropic.com"
    key_name: ClassVar[str] = "ANTHROPIC_API_KEY"
    omit: ClassVar[Any] = anthropic.omit
    stream_class: ClassVar[Any] = anthropic.AsyncStream[object]

    def create_client(self, http: httpx2.AsyncClient) -> Client:
        """Anthropic's client, without retries, time-outs or credentials of its own."""
        base, query = split_endpoint(self.config.endpoint)
        return anthropic.AsyncAnthropic(
            # An empty key, not None: for None the package would read one from the environment
            # or from a profile. The login is added below the package.
            api_key="",
            base_url=base,
            timeout=None,
            max_retries=0,
            default_headers=dict.fromkeys(
                environment_headers("ANTHROPIC_CUSTOM_HEADERS"), self.omit
            ),
            default_query=query,
            open_telemetry=False,
            http_client=http,
        )

    def build_body(self, prompt: Prompt) -> dict[str, Any]:
        """The body of a request to the Messages API."""
        fields = {
            "model": prompt.model,
            "max_tokens": prompt.max_tokens,
            "system": _build_system(prompt),
            "messages": _merge_messages(
                [_convert_message(item) for item in prompt.messages if not _is_system_message(item)]
            ),
            "tools": [_convert_tool(item) for item in prompt.tools] or None,
            "tool_choice": _convert_choice(prompt.tool_choice),
            "temperature": prompt.temperature,
        }
        set_fields = {name: value for name, value in fields.items() if value is not None}
        return {**_extra_parameters(prompt), **set_fields}

    def start_reply(self) -> StreamedReply:
        """An empty reply, to be filled from the events of a stream."""
        return MessageEvents()

    def parse_reply(self, payload: Mapping[str, Any]) -> ModelReply:
        """The reply in the content blocks: texts are joined, tool uses become tool calls."""
        blocks = payload["content"]
        texts = [text_or_empty(block["text"]) for block in blocks if block["type"] == "text"]
        uses = [block for block in blocks if block["type"] == "tool_use"]
        thinking = [dict(block) for block in blocks if block["type"] in _THINKING]
        model, end = text_or_empty(payload.get("model")), text_or_empty(payload.get("stop_reason"))
        speed = get_map(payload, "usage").get("speed")
        return ModelReply(
            model=model,
            content="".join(texts) if texts or not uses else None,
            finish_reason=finish_reason(end),
            end_word=end,
            tool_calls=[_parse_tool_use(block) for block in uses],
            thinking=thinking if uses else [],
            blocks=[dict(block) for block in blocks] if end == PAUSE else [],
            context={"speed": speed} if isinstance(speed, str) else {},
            other_length=sum([measure_texts(block, ("thinking", "data")) for block in thinking]),
            # A container for code is charged for by the hour; it is not in the usage.
            fees={"code_containers": 1} if get_map(payload, "container") else {},
        )


class MessageEvents:
    """A message that arrives as events, assembled from its content blocks.

    The events are those of Anthropic's streaming format: ``message_start``, for each block
    ``content_block_start`` and ``content_block_delta``, then ``message_delta``, ``message_stop``.
    """

    def __init__(self) -> None:
        self._message: dict[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._complete = False
        #: Whether the count of the output at the end has arrived; that at the start is a beginning,
        #: which a 0 at the end does not confirm.
        self._has_output_count = False

    def add_chunk(self, chunk: Any) -> str:
        """Add an event, and return its text. Events of unknown types are ignored."""
        if not isinstance(chunk, dict):
            raise APIError("an event of the streamed reply is not a JSON object")
        kind, index = chunk.get("type"), read_index(chunk.get("index"))
        if kind == "message_start":
            self._message = dict(get_map(chunk, "message"))
        elif kind == "content_block_start":
            self._blocks[index] = dict(get_map(chunk, "content_block"))
        elif kind == "content_block_delta":
            return self._add_delta(self._blocks.setdefault(index, {}), get_map(chunk, "delta"))
        elif kind == "message_delta":
            self._message |= get_map(chunk, "delta")
            usage = chunk.get("usage")
            self._message["usage"] = merge_usage(self._message.get("usage"), usage)
            output = usage.get("output_tokens") if isinstance(usage, Mapping) else None
            if output is not None and (read_count(output) != 0 or self._starts_counted()):
                self._has_output_count = True
        self._complete = self._complete or kind == "message_stop"
        return ""

    def _starts_counted(self) -> bool:
        """Whether the count of the output at the start is more than that of a beginning."""
        count = read_count(get_map(self._message, "usage").get("output_tokens"))
        return count is not None and count > _BEGINNING

    def _add_delta(self, block: dict[str, Any], delta: Mapping[str, Any]) -> str:
        for name in ("text", "thinking", "signature"):
            if delta.get(name) is not None:
                block[name] = text_or_empty(block.get(name)) + text_or_empty(delta[name])
        if delta.get("partial_json") is not None:
            # A tool use begins with an empty object as its input; its JSON text follows in deltas.
            input_text = block["input"] if isinstance(block.get("input"), str) else ""
            block["input"] = input_text + text_or_empty(delta["partial_json"])
        return text_or_empty(delta.get("text"))

    def assemble(self) -> dict[str, Any]:
        """The whole message. Raises ConnectionError if ``message_stop`` has not arrived."""
        if not self._complete:
            raise ConnectionError("the streamed reply broke off before its end")
        content = [self._blocks[index] for index in sorted(self._blocks)]
        usage = self._message.get("usage")
        if isinstance(usage, Mapping) and not self._has_output_count:
            usage = {key: count for key, count in usage.items() if key != "output_tokens"}
        return {**self._message, "usage": usage, "content": content}

    @property
    def has_output(self) -> bool:
        """Whether a part of the answer has arrived."""
        return bool(self._blocks)


def make(
    spec: AgentSpec, secrets: Secrets, egress: Egress, prices: Prices | None = None
) -> BaseAgent:
    """The agent for a spec."""
    return AnthropicAgent(spec, secrets, egress, prices)


def split_endpoint(endpoint: str) -> tuple[str, dict[str, str]]:
    """The base address for the package, and the query parameters of the endpoint."""
    parts = urlsplit(endpoint)
    path = parts.path.rstrip("/").removesuffix("/messages").removesuffix("/v1")
    return f"{parts.scheme}://{parts.netloc}{path}", dict(parse_qsl(parts.query))


def _is_system_message(message: Mapping[str, Any]) -> bool:
    return message.get("role") in ("system", "developer")


def _build_system(prompt: Prompt) -> Any:
    """The system prompt: a text, or content blocks if a part of it has a cache mark."""
    contents = [item.get("content") for item in prompt.messages if _is_system_message(item)]
    contents = [prompt.system, *contents] if prompt.system else contents
    if not any(isinstance(item, list) for item in contents):
        return "\n\n".join(map(text_of, contents)) or None
    return [block for item in contents for block in _content_blocks(item)]


def _content_blocks(content: Any) -> list[Any]:
    if isinstance(content, list):
        return [for_anthropic(part) for part in content]
    return [{"type": "text", "text": text_of(content)}] if content else []


def _merge_messages(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Merge user messages that follow tool results into them.

    Anthropic requires all results of one turn, and the text after them, in one user message.
    """
    merged: list[dict[str, Any]] = []
    for message in messages:
        last = merged[-1] if merged else {}
        if message.get("role") == "user" == last.get("role") and _is_tool_result(last):
            merged[-1] = {
                "role": "user",
                "content": [*last["content"], *_content_blocks(message["content"])],
            }
        else:
            merged.append(message)
    return merged


def _is_tool_result(message: Mapping[str, Any]) -> bool:
    content = message.get("content")
    return isinstance(content, list) and bool(content) and content[0].get("type") == "tool_result"


def _convert_message(message: dict[str, Any]) -> dict[str, Any]:
    """A message in Anthropic's form: OpenAI's ``tool`` message is a block of a user message."""
    content, calls = message.get("content"), message.get("tool_calls")
    if message.get("role") == "tool":
        block = {
            "type": "tool_result",
            "tool_use_id": message.get("tool_call_id", ""),
            "content": text_of(content),
        }
        error_flag = {"is_error": True} if message.get("is_error") else {}
        return {"role": "user", "content": [block | error_flag]}
    if isinstance(calls, list):
        thinking = message.get("thinking") or []
        uses = [_convert_call(call) for call in calls]
        return {"role": "assistant", "content": [*thinking, *_content_blocks(content), *uses]}
    return (
        {**message, "content": _content_blocks(content)} if isinstance(content, list) else message
    )


def _convert_call(call: Any) -> dict[str, Any]:
    """A tool call in an earlier message, in OpenAI's form or in that of this package's results."""
    inner = get_map(call, "function") or call
    if not isinstance(inner, Mapping):
        raise ConfigurationError(
            f"a tool call in 'messages' must be a map, not {type(call).__name__}"
        )
    arguments = inner.get("arguments") or {}
    if isinstance(arguments, str):
        try:
            arguments = parse_strict_json(arguments)
        except ValueError as error:
            raise ConfigurationError(
                f"the arguments of a tool call in 'messages' are not JSON: {error}"
            ) from error
    name, call_id = inner.get("name", ""), call.get("id", "")
    return {"type": "tool_use", "id": call_id, "name": name, "input": arguments}


def _convert_tool(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool in Anthropic's form; it may be written in OpenAI's."""
    function = get_map(tool, "function")
    if not function:
        return tool
    empty = {"type": "object", "properties": {}}
    converted = {
        "name": function.get("name", ""),
        "input_schema": function.get("parameters") or empty,
    }
    if function.get("description"):
        converted["description"] = function["description"]
    return converted | ({CACHE_MARK: tool[CACHE_MARK]} if CACHE_MARK in tool else {})


def _convert_choice(choice: Any) -> Any:
    if isinstance(choice, str):
        return {"type": _CHOICES.get(choice, choice)}
    function = get_map(choice, "function")
    return {"type": "tool", "name": function.get("name", "")} if function else choice


def _extra_parameters(prompt: Prompt) -> dict[str, Any]:
    """The options that are passed on, under Anthropic's names. It has no ``seed``."""
    renamed_keys = ("stop", "seed", "reasoning_effort")
    extra = {name: value for name, value in prompt.extra.items() if name not in renamed_keys}
    stop, effort = prompt.extra.get("stop"), prompt.extra.get("reasoning_effort")
    if stop:
        extra["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    output = {**({"effort": effort} if effort else {}), **get_map(extra, "output_config")}
    schema = prompt.schema or get_map(prompt.response_format, "json_schema").get("schema")
    if schema is not None:
        output["format"] = {"type": "json_schema", "schema": schema}
    elif prompt.wants_json:
        raise ConfigurationError(
            "Anthropic returns JSON only for a schema, and 'response_format' names none: write "
            "'output_schema' instead"
        )
    return {**extra, "output_config": output} if output else extra


def _parse_tool_use(block: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": text_or_empty(block["id"]),
        "name": text_or_empty(block["name"]),
        "arguments": block["input"],
    }
