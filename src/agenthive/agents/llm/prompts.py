"""From a task to what a model is asked: the messages, the settings, the prompt.

One neutral `Question`, whose tools and messages may be written as OpenAI or as Anthropic writes
them; a vendor's file spells it out. What does not fit is a ConfigurationError that names it.
Nothing here knows how a question is sent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from agenthive.core.model.calls import Call, Outcome, Tool, Turn
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


class Question(msgspec.Struct, kw_only=True):
    """What a model is asked. ``rest`` is passed on to the vendor under its own names.

    ``alone``: what the model's JSON says is the whole result. ``asks``: what it asks tools for is
    done, and it goes on. ``stream``: the answer comes in pieces.
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
    rest: dict[str, Any] = {}
    alone: bool = False
    asks: bool = False
    stream: bool = False

    @property
    def wants_json(self) -> bool:
        """Whether the answer is to be JSON."""
        asked = (self.response_format or {}).get("type")
        return self.schema is not None or asked in ("json_schema", "json_object")


def question_of(call: Call, spec: AgentSpec) -> Question:
    """The question that a call means. Raises ConfigurationError."""
    given = _Given(call.parameters)
    model = given.text("model") or str(spec.custom_params.get("model") or "")
    if not model:
        raise ConfigurationError(
            f"agent '{spec.name}': no model is named: give the task a parameter 'model', or the "
            "agent custom_params: {model: NAME}"
        )
    messages = given.maps("messages")
    if call.action != CHAT or not messages:
        messages = [*messages, {"role": "user", "content": prompt(call)}]
    messages = [*messages, *said_so_far(call.turns)]
    if call.complaint:
        again = f"{call.complaint}\n\nThat was said of your last answer. Give a better one."
        messages = [*messages, {"role": "user", "content": again}]
    chosen = SETTINGS if call.action != CHAT else frozenset(call.parameters)
    rest = {name: call.parameters[name] for name in chosen - NAMED if name in call.parameters}
    if rest.get("n", 1) not in (1, None):
        raise ConfigurationError("a call has one answer: leave out the parameter 'n'")
    most = given.whole("max_tokens")
    return Question(
        model=model,
        messages=messages,
        system=given.text("system"),
        tools=[*given.maps("tools"), *map(_offered, call.tools)],
        tool_choice=_choice(call),
        max_tokens=_most_tokens(call, most if most is not None else _default_tokens(spec)),
        temperature=given.number("temperature"),
        response_format=given.map("response_format"),
        schema=given.map("output_schema") or call.output_schema,
        rest=rest,
        alone=call.output_schema is not None,
        asks=bool(call.tools),
        stream=given.flag("stream"),
    )


def _offered(tool: Tool) -> dict[str, Any]:
    schema = {"type": "object", "properties": {}, **tool.schema}
    function = {"name": tool.name, "description": tool.description, "parameters": schema}
    return {"type": "function", "function": {k: v for k, v in function.items() if v}}


def _choice(call: Call) -> Any:
    """Whether it must ask for a tool: once it has, it may answer, or it would ask for ever."""
    choice = call.parameters.get("tool_choice")
    return choice if not call.turns or choice in ("auto", "none") else None


def said_so_far(turns: Iterable[Turn]) -> list[dict[str, Any]]:
    """The messages that earlier turns were: what the model said, and what tools gave."""
    messages: list[dict[str, Any]] = []
    for number, turn in enumerate(turns):
        said = turn.said if isinstance(turn.said, Mapping) else {"content": turn.said}
        kept = {"thinking": said["thinking"]} if said.get("thinking") else {}
        names = [_id(one, number, at) for at, one in enumerate(turn.outcomes)]
        asked = [
            {"id": name, "name": one.asked.name, "arguments": one.asked.arguments}
            for name, one in zip(names, turn.outcomes, strict=True)
        ]
        content = said.get("content")
        words = content if isinstance(content, str) or content is None else text_of(content)
        messages.append({"role": "assistant", "content": words, "tool_calls": asked, **kept})
        for name, one in zip(names, turn.outcomes, strict=True):
            failed = {"is_error": True} if one.failed else {}
            messages.append(
                {"role": "tool", "tool_call_id": name, "content": one.content, **failed}
            )
        if turn.note:
            note = f"{turn.note}. Change course, or answer with what you have."
            messages.append({"role": "user", "content": note})
    return messages


def _id(one: Outcome, turn: int, at: int) -> str:
    """The model's own name for what it asked, if every vendor takes it."""
    return one.asked.id if _ID.fullmatch(one.asked.id) else f"call_{turn}_{at}"


def _most_tokens(call: Call, asked: int | None) -> int:
    """How long the answer may be; what it was cut to counts, if it was."""
    most = MOST_TOKENS if asked is None else asked
    return most if call.max_tokens is None else min(most, call.max_tokens)


def prompt(call: Call) -> str:
    """One text: what to do, then each parameter, then each result the task depends on."""
    parts = [call.description or call.action.replace("_", " ")]
    parts += _sections(call.parameters.items(), "")
    parts += _sections(call.dependencies.items(), "Result of ")
    return "\n\n".join(parts)


def _sections(items: Iterable[tuple[str, Any]], title: str) -> list[str]:
    return [
        f"# {title}{name}\n{text_of(value)}"
        for name, value in items
        if title or (name not in SETTINGS and value is not None)
    ]


def text_of(value: Any) -> str:
    """A value as a model reads it: of another model's answer only what it said."""
    if is_answer(value):
        value = value["content"]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def is_answer(value: Any) -> bool:
    """Whether a value is what an agent of a language model gives as its result."""
    shape = {"content", "model", "finish_reason"}
    return isinstance(value, Mapping) and shape <= value.keys() and value["content"] is not None


def _default_tokens(spec: AgentSpec) -> int | None:
    return _Given(spec.custom_params).whole("max_tokens")


class _Given:
    """Parameters, each taken as the type it has to be."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self._parameters = parameters

    def text(self, name: str) -> str:
        value = self._parameters.get(name)
        if value is not None and not isinstance(value, str):
            raise self._wrong(name, "a text")
        return value or ""

    def whole(self, name: str) -> int | None:
        value = self._parameters.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self._wrong(name, "a whole number of at least 1")
        return value

    def number(self, name: str) -> float | None:
        value = self._parameters.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(name, "a number")
        return value

    def flag(self, name: str) -> bool:
        value = self._parameters.get(name)
        if value is not None and not isinstance(value, bool):
            raise self._wrong(name, "true or false")
        return bool(value)

    def map(self, name: str) -> dict[str, Any] | None:
        value = self._parameters.get(name)
        if value is not None and not isinstance(value, dict):
            raise self._wrong(name, "a map")
        return value

    def maps(self, name: str) -> list[dict[str, Any]]:
        value = self._parameters.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            raise self._wrong(name, "a list of maps")
        return value

    def _wrong(self, name: str, wanted: str) -> ConfigurationError:
        found = type(self._parameters[name]).__name__
        return ConfigurationError(f"the parameter '{name}' must be {wanted}, not {found}")
