"""From a task to what a model is asked: the messages, the settings, the prompt.

One neutral `Prompt`, whose tools and messages may be written as OpenAI or as Anthropic writes
them; a vendor's file spells it out. What does not fit is a ConfigurationError that names it.
Nothing here knows how a question is sent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from agenthive.core.model.calls import Call, ModelTurn, Tool, ToolResult
from agenthive.core.model.workflow import AgentSpec
from agenthive.errors import ConfigurationError

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")
CHAT: Final = "chat_completion"
MOST_TOKENS: Final = 4096
"""What an answer may have if nobody says: what it can cost must be known before it is asked for."""
SETTINGS: Final = frozenset(
    [
        *("model", "system", "messages", "tools", "tool_choice", "max_tokens", "temperature"),
        *("response_format", "output_schema", "top_p", "stop", "seed", "reasoning_effort"),
        "stream",
    ]
)
"""Parameters that are never part of a prompt."""
NAMED: Final = SETTINGS - {"top_p", "stop", "seed", "reasoning_effort"}
"""Those that have a field of their own below; the others are passed on as they are."""


class Prompt(msgspec.Struct, kw_only=True):
    """What a model is asked. ``extra`` is passed on to the vendor under its own names.

    ``json_result``: what the model's JSON says is the whole result. ``asks``: what it asks tools
    for is done, and it goes on. ``stream``: the answer comes in pieces.
    """

    model: str
    messages: list[dict[str, Any]]
    system: str = ""
    tools: list[dict[str, Any]] = []
    tool_choice: Any = None
    max_tokens: int = MOST_TOKENS
    temperature: float | None = None
    response_format: dict[str, Any] | None = None
    schema: dict[str, Any] | None = None
    extra: dict[str, Any] = {}
    json_result: bool = False
    calls_tools: bool = False
    stream: bool = False

    @property
    def wants_json(self) -> bool:
        """Whether the answer is to be JSON."""
        format_type = (self.response_format or {}).get("type")
        return self.schema is not None or format_type in ("json_schema", "json_object")


def build_prompt(call: Call, spec: AgentSpec) -> Prompt:
    """The question that a call means. Raises ConfigurationError."""
    parameters = _TypedParameters(call.parameters)
    model = parameters.get_text("model") or str(spec.custom_params.get("model") or "")
    if not model:
        raise ConfigurationError(
            f"agent '{spec.name}': no model is named: give the task a parameter 'model', or the "
            "agent custom_params: {model: NAME}"
        )
    messages = parameters.get_maps("messages")
    if call.action != CHAT or not messages:
        messages = [*messages, {"role": "user", "content": prompt_text(call)}]
    messages = [*messages, *turn_messages(call.turns)]
    if call.complaint:
        correction = f"{call.complaint}\n\nThat was said of your last answer. Give a better one."
        messages = [*messages, {"role": "user", "content": correction}]
    names = SETTINGS if call.action != CHAT else frozenset(call.parameters)
    extra = {name: call.parameters[name] for name in names - NAMED if name in call.parameters}
    if extra.get("n", 1) not in (1, None):
        raise ConfigurationError("a call has one answer: leave out the parameter 'n'")
    max_tokens = parameters.get_integer("max_tokens")
    return Prompt(
        model=model,
        messages=messages,
        system=parameters.get_text("system"),
        tools=[*parameters.get_maps("tools"), *map(_offer_tool, call.tools)],
        tool_choice=_tool_choice(call),
        max_tokens=_limit_tokens(
            call, max_tokens if max_tokens is not None else _default_max_tokens(spec)
        ),
        temperature=parameters.get_number("temperature"),
        response_format=parameters.get_map("response_format"),
        schema=parameters.get_map("output_schema") or call.output_schema,
        extra=extra,
        json_result=call.output_schema is not None,
        calls_tools=bool(call.tools),
        stream=parameters.get_flag("stream"),
    )


def _offer_tool(tool: Tool) -> dict[str, Any]:
    schema = {"type": "object", "properties": {}, **tool.schema}
    function = {"name": tool.name, "description": tool.description, "parameters": schema}
    return {"type": "function", "function": {k: v for k, v in function.items() if v}}


def _tool_choice(call: Call) -> Any:
    """Whether it must ask for a tool: once it has, it may answer, or it would ask for ever."""
    choice = call.parameters.get("tool_choice")
    return choice if not call.turns or choice in ("auto", "none") else None


def turn_messages(turns: Iterable[ModelTurn]) -> list[dict[str, Any]]:
    """The messages that earlier turns were: what the model said, and what tools gave."""
    messages: list[dict[str, Any]] = []
    for number, turn in enumerate(turns):
        reply = turn.said if isinstance(turn.said, Mapping) else {"content": turn.said}
        thinking = {"thinking": reply["thinking"]} if reply.get("thinking") else {}
        call_ids = [_call_id(outcome, number, index) for index, outcome in enumerate(turn.outcomes)]
        tool_calls = [
            {"id": call_id, "name": outcome.asked.name, "arguments": outcome.asked.arguments}
            for call_id, outcome in zip(call_ids, turn.outcomes, strict=True)
        ]
        content = reply.get("content")
        text = content if isinstance(content, str) or content is None else text_of(content)
        messages.append(
            {"role": "assistant", "content": text, "tool_calls": tool_calls, **thinking}
        )
        for call_id, outcome in zip(call_ids, turn.outcomes, strict=True):
            error_flag = {"is_error": True} if outcome.failed else {}
            messages.append(
                {"role": "tool", "tool_call_id": call_id, "content": outcome.content, **error_flag}
            )
        if turn.note:
            note = f"{turn.note}. Change course, or answer with what you have."
            messages.append({"role": "user", "content": note})
    return messages


def _call_id(outcome: ToolResult, turn_number: int, index: int) -> str:
    """The model's own name for what it asked, if every vendor takes it."""
    return outcome.asked.id if _ID.fullmatch(outcome.asked.id) else f"call_{turn_number}_{index}"


def _limit_tokens(call: Call, requested: int | None) -> int:
    """How long the answer may be; what it was cut to counts, if it was."""
    limit = MOST_TOKENS if requested is None else requested
    return limit if call.max_tokens is None else min(limit, call.max_tokens)


def prompt_text(call: Call) -> str:
    """One text: what to do, then each parameter, then each result the task depends on."""
    parts = [call.description or call.action.replace("_", " ")]
    parts += _format_sections(call.parameters.items(), "")
    parts += _format_sections(call.dependencies.items(), "Result of ")
    return "\n\n".join(parts)


def _format_sections(items: Iterable[tuple[str, Any]], title: str) -> list[str]:
    return [
        f"# {title}{name}\n{text_of(value)}"
        for name, value in items
        if title or (name not in SETTINGS and value is not None)
    ]


def text_of(value: Any) -> str:
    """A value as a model reads it: of another model's answer only what it said."""
    if is_model_answer(value):
        value = value["content"]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def is_model_answer(value: Any) -> bool:
    """Whether a value is what an agent of a language model gives as its result."""
    shape = {"content", "model", "finish_reason"}
    return isinstance(value, Mapping) and shape <= value.keys() and value["content"] is not None


def _default_max_tokens(spec: AgentSpec) -> int | None:
    return _TypedParameters(spec.custom_params).get_integer("max_tokens")


class _TypedParameters:
    """Parameters, each taken as the type it has to be."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self._parameters = parameters

    def get_text(self, name: str) -> str:
        value = self._parameters.get(name)
        if value is not None and not isinstance(value, str):
            raise self._type_error(name, "a text")
        return value or ""

    def get_integer(self, name: str) -> int | None:
        value = self._parameters.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self._type_error(name, "a whole number of at least 1")
        return value

    def get_number(self, name: str) -> float | None:
        value = self._parameters.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._type_error(name, "a number")
        return value

    def get_flag(self, name: str) -> bool:
        value = self._parameters.get(name)
        if value is not None and not isinstance(value, bool):
            raise self._type_error(name, "true or false")
        return bool(value)

    def get_map(self, name: str) -> dict[str, Any] | None:
        value = self._parameters.get(name)
        if value is not None and not isinstance(value, dict):
            raise self._type_error(name, "a map")
        return value

    def get_maps(self, name: str) -> list[dict[str, Any]]:
        value = self._parameters.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self._type_error(name, "a list of maps")
        return value

    def _type_error(self, name: str, expected: str) -> ConfigurationError:
        actual = type(self._parameters[name]).__name__
        return ConfigurationError(f"the parameter '{name}' must be {expected}, not {actual}")
