"""OpenAI, and every server that implements its Chat Completions API, by the package `openai`.

The endpoint is a base address (``https://api.openai.com/v1``), the whole path
(``.../v1/chat/completions``) or a bare host, which means ``/v1``; its query is sent along. The
reply is streamed if the prompt says ``stream``, else it is one response. Never retries, and never
uses settings from the environment (organisation, project, headers). Imported when the first call
needs it.
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
    ModelReply,
    StreamedReply,
    environment_headers,
    get_map,
    is_in_domain,
    measure_texts,
    read_index,
    text_or_empty,
)
from agenthive.agents.llm.content_parts import CACHE_MARK, for_openai
from agenthive.agents.llm.endings import finish_reason
from agenthive.agents.llm.prices import Prices
from agenthive.agents.llm.prompts import Prompt
from agenthive.agents.llm.usage import merge_usage, read_count
from agenthive.core.model.workflow import AgentSpec
from agenthive.errors import APIError
from agenthive.infra.secrets import Secrets

if TYPE_CHECKING:
    from agenthive.infra.egress import Egress

CHAT_PATH: Final = "/chat/completions"
#: Headers that the package would fill from the environment.
_AMBIENT: Final = ("OpenAI-Organization", "OpenAI-Project")
#: Anthropic's tool choice -> OpenAI's.
_CHOICES: Final = {"any": "required"}
#: Keys of messages and tools that only Anthropic accepts; OpenAI refuses unknown keys.
_ANTHROPICS: Final = ("thinking", "is_error", CACHE_MARK)


#: Where servers put the reasoning of a model in a message or in a delta.
_REASONING: Final = ("reasoning_content", "reasoning")
#: Texts of a delta that a model wrote.
_WRITTEN: Final = ("content", "refusal", *_REASONING)
#: Counts of a usage that grow with the answer.
_OUTPUT: Final = ("completion_tokens", "output_tokens", "total_tokens")


class OpenAIAgent(ChatAgent):
    """A model behind OpenAI's Chat Completions API."""

    path: ClassVar[str] = CHAT_PATH
    vendor_domain: ClassVar[str] = "openai.com"
    key_name: ClassVar[str] = "OPENAI_API_KEY"
    omit: ClassVar[Any] = openai.omit
    stream_class: ClassVar[Any] = openai.AsyncStream[object]
    stream_parameters: ClassVar[dict[str, Any]] = {
        "stream": True,
        "stream_options": {"include_usage": True},
    }

    def create_client(self, http: httpx2.AsyncClient) -> Client:
        """OpenAI's client, without retries, time-outs or credentials of its own."""
        base, query = split_endpoint(self.config.endpoint)
        omitted_headers = (*_AMBIENT, *environment_headers("OPENAI_CUSTOM_HEADERS"))
        return openai.AsyncOpenAI(
            # An empty key, not None: for None the package would read one from the environment.
            # The login is added below the package.
            api_key="",
            admin_api_key="",
            base_url=base,
            timeout=None,
            max_retries=0,
            default_headers=dict.fromkeys(omitted_headers, self.omit),
            default_query=query,
            http_client=http,
            _enforce_credentials=False,
        )

    def login(self) -> Mapping[str, Any]:
        """The login, with an ``api_key`` that names no header turned into a bearer token.

        OpenAI accepts its keys as bearer tokens only, and X-API-Key is merely the default that the
        workflow dialect fills in.
        """
        login = super().login()
        default_headers = ("", "X-API-Key") if self._is_vendor_host else ("",)
        if login.get("type") == "api_key" and (login.get("header") or "") in default_headers:
            return {"type": "bearer", "token": login.get("key", "")}
        return login

    @property
    def _is_vendor_host(self) -> bool:
        return is_in_domain(urlsplit(self.config.endpoint).hostname or "", self.vendor_domain)

    def build_body(self, prompt: Prompt) -> dict[str, Any]:
        """The body of a request for a chat completion."""
        messages = [_convert_message(item) for item in prompt.messages]
        if prompt.system:
            messages.insert(0, {"role": "system", "content": prompt.system})
        # OpenAI's newer models accept only the newer name, compatible servers only the older one.
        # A name that the user chose is kept: behind a gateway the model may accept only that one.
        limit_key = "max_completion_tokens" if self._is_vendor_host else "max_tokens"
        if prompt.limit_name == "max_completion_tokens":
            limit_key = prompt.limit_name
        fields = {
            "model": prompt.model,
            "messages": messages,
            "tools": [_convert_tool(item) for item in prompt.tools] or None,
            "tool_choice": _convert_choice(prompt.tool_choice),
            limit_key: prompt.max_tokens,
            "temperature": prompt.temperature,
            "response_format": _response_format(prompt),
        }
        set_fields = {name: value for name, value in fields.items() if value is not None}
        return {**prompt.extra, **set_fields}

    def start_reply(self) -> StreamedReply:
        """An empty reply, to be filled from the chunks of a stream."""
        return CompletionChunks()

    def parse_reply(self, payload: Mapping[str, Any]) -> ModelReply:
        """The reply in the first choice of a chat completion."""
        choice = payload["choices"][0]
        message = choice["message"]
        calls = [_parse_call(call) for call in _list_calls(message)]
        word = text_or_empty(choice.get("finish_reason"))
        model = text_or_empty(payload.get("model"))
        tier = payload.get("service_tier")
        refusal = text_or_empty(message.get("refusal"))
        return ModelReply(
            model=model,
            content=None if message.get("content") is None else text_or_empty(message["content"]),
            finish_reason=finish_reason(word),
            end_word=word,
            tool_calls=calls,
            refusal=refusal or None,
            context={"service_tier": tier} if isinstance(tier, str) else {},
            fees=_count_images(message),
            other_length=measure_texts(message, _REASONING),
        )


class CompletionChunks:
    """A chat completion that arrives in chunks; its first choice is assembled from their deltas."""

    def __init__(self) -> None:
        self._answer: dict[str, Any] = {}
        self._message: dict[str, Any] = {"content": None}
        self._calls: dict[int, dict[str, Any]] = {}
        self._finish = ""
        #: Whether a part of the answer has arrived after the last count of it.
        self._is_outdated = False
        #: The error with which the choice broke off.
        self._error: Mapping[str, Any] = {}

    def add_chunk(self, chunk: Any) -> str:
        """Add a chunk, and return its text. Raises APIError if it is not an object."""
        if not isinstance(chunk, dict):
            raise APIError("a chunk of the streamed reply is not a JSON object")
        for name in ("model", "service_tier"):
            if chunk.get(name) is not None:
                self._answer[name] = chunk[name]
        choices = chunk.get("choices") or [{}]
        self._finish = text_or_empty(choices[0].get("finish_reason")) or self._finish
        self._error = get_map(choices[0], "error") or self._error
        delta = get_map(choices[0], "delta")
        text = text_or_empty(delta.get("content"))
        for name in ("content", "refusal"):
            if delta.get(name) is not None:
                self._message[name] = (self._message.get(name) or "") + text_or_empty(delta[name])
        for name in _REASONING:
            if isinstance(delta.get(name), str):
                self._message[name] = self._message.get(name, "") + delta[name]
        calls = _list_calls(delta)
        for call in calls:
            self._add_call(call)
        self._add_usage(chunk, bool(calls or measure_texts(delta, _WRITTEN)))
        return text

    def _add_usage(self, chunk: Mapping[str, Any], has_part: bool) -> None:
        """Add the usage in a chunk. ``has_part``: the chunk has a part of the answer."""
        self._is_outdated = self._is_outdated or has_part
        for usage in (chunk.get("usage"), get_map(chunk, "x_groq").get("usage")):
            if usage is None:
                continue
            self._answer["usage"] = merge_usage(self._answer.get("usage"), usage)
            counts = [usage.get(key) for key in _OUTPUT] if isinstance(usage, Mapping) else [usage]
            if any(count is not None and read_count(count) != 0 for count in counts):
                self._is_outdated = False

    def _add_call(self, call: Mapping[str, Any]) -> None:
        index = read_index(call.get("index"))
        empty_call = {"id": "", "function": {"name": "", "arguments": ""}}
        entry, function = self._calls.setdefault(index, empty_call), get_map(call, "function")
        entry["id"] = entry["id"] or text_or_empty(call.get("id"))
        for name in ("name", "arguments"):
            entry["function"][name] += text_or_empty(function.get(name))

    def assemble(self) -> dict[str, Any]:
        """The whole completion. Raises ConnectionError if no finish reason has arrived."""
        if not self._finish:
            raise ConnectionError("the streamed reply broke off before its end")
        calls = [self._calls[index] for index in sorted(self._calls)]
        message = self._message | ({"tool_calls": calls} if calls else {})
        choice = {"message": message, "finish_reason": self._finish, "error": self._error}
        answer, usage = self._answer, self._answer.get("usage")
        if self._is_outdated and isinstance(usage, Mapping):
            # What was counted before the end is a beginning; how much followed is unknown.
            fresh = {key: count for key, count in usage.items() if key not in _OUTPUT}
            answer = {**answer, "usage": fresh}
        return {**answer, "choices": [choice]}

    @property
    def has_output(self) -> bool:
        """Whether a part of the answer has arrived."""
        return bool(self._message["content"] or self._calls or self._finish)


def make(
    spec: AgentSpec, secrets: Secrets, egress: Egress, prices: Prices | None = None
) -> BaseAgent:
    """The agent for a spec."""
    return OpenAIAgent(spec, secrets, egress, prices)


def split_endpoint(endpoint: str) -> tuple[str, dict[str, str]]:
    """The base address for the package, and the query parameters of the endpoint."""
    parts = urlsplit(endpoint)
    path = parts.path.rstrip("/").removesuffix(CHAT_PATH)
    return f"{parts.scheme}://{parts.netloc}{path or '/v1'}", dict(parse_qsl(parts.query))


def _convert_message(message: dict[str, Any]) -> dict[str, Any]:
    """A message in OpenAI's form.

    Its tool calls may have the form of this package's results, its images that of Anthropic.
    """
    fields = {k: v for k, v in message.items() if k not in _ANTHROPICS}
    content, calls = fields.get("content"), fields.get("tool_calls")
    if isinstance(content, list):
        fields["content"] = [for_openai(item) for item in content]
    if isinstance(calls, list):
        fields["tool_calls"] = [_convert_call(item) for item in calls]
    return fields


def _convert_call(call: Any) -> Any:
    if not isinstance(call, Mapping) or "name" not in call:
        return call
    arguments = call.get("arguments", {})
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    function = {"name": call["name"], "arguments": text}
    return {"id": call.get("id", ""), "type": "function", "function": function}


def _convert_tool(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool in OpenAI's form; it may be written in Anthropic's."""
    if "input_schema" not in tool:
        return {k: v for k, v in tool.items() if k not in _ANTHROPICS}
    function = {"name": tool.get("name", ""), "parameters": tool["input_schema"]}
    if tool.get("description"):
        function["description"] = tool["description"]
    return {"type": "function", "function": function}


def _convert_choice(choice: Any) -> Any:
    if isinstance(choice, Mapping) and choice.get("type") == "tool":
        return {"type": "function", "function": {"name": choice.get("name", "")}}
    if isinstance(choice, Mapping) and choice.get("type") in ("auto", "any", "none"):
        choice = choice["type"]
    return _CHOICES.get(choice, choice) if isinstance(choice, str) else choice


def _response_format(prompt: Prompt) -> dict[str, Any] | None:
    if prompt.schema is None:
        return prompt.response_format
    schema = {"name": "answer", "schema": prompt.schema}
    return {"type": "json_schema", "json_schema": schema}


def _list_calls(message: Mapping[str, Any]) -> list[Any]:
    """The tool calls of a message; older servers have one of them, under another name."""
    calls = message.get("tool_calls") or []
    function = message.get("function_call")
    return [{"function": function}] if function and not calls else calls


def _parse_call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    name, arguments = text_or_empty(function["name"]), text_or_empty(function.get("arguments"))
    return {"id": text_or_empty(call.get("id")), "name": name, "arguments": arguments}


def _count_images(message: Mapping[str, Any]) -> dict[str, int]:
    """The images that a model made (OpenRouter), which may have a price of their own."""
    images = message.get("images")
    return {"images": len(images)} if isinstance(images, list) and images else {}
