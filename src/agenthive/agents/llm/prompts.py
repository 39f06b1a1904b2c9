"""From a task to a prompt: the messages, the tools and the options of one request to a model.

``chat_completion`` sends the task's ``messages`` as they are. For any other action the prompt is a
text: the task's description (or the action's name), each parameter that is not an option, and the
result of each dependency that the task receives. Turns of a tool loop follow as messages.

A `Prompt` belongs to no vendor. Its tools and messages may be in OpenAI's or in Anthropic's form,
and the vendor's file translates them. A parameter of the wrong type is a ConfigurationError that
names it. Nothing here sends a request. To add an option: its name in `SETTINGS`; if vendors spell
it differently, also a field of `Prompt` and its name in `NAMED`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from agenthive.agents.llm.endings import PAUSE
from agenthive.core.model.calls import Call, ModelTurn, Tool, ToolResult
from agenthive.core.model.workflow import AgentSpec
from agenthive.errors import ConfigurationError

#: Ids of tool calls that every vendor accepts.
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")
#: The action whose parameters are passed on as they are.
CHAT: Final = "chat_completion"
#: Tokens of a reply without ``max_tokens``. There is always a bound, because the budget must know
#: the worst case of a call before it is made.
MOST_TOKENS: Final = 4096
#: The largest number of a parameter that is checked, such as ``max_tokens``.
MOST_REQUESTED: Final = 10**9
#: Parameters that are options of the request, never part of the prompt's text.
SETTINGS: Final = frozenset(
    [
        *("model", "system", "messages", "tools", "tool_choice", "max_tokens", "temperature"),
        *("response_format", "output_schema", "top_p", "stop", "seed", "reasoning_effort"),
        *("stream", "max_completion_tokens", "max_output_tokens", "accept_cut"),
    ]
)
#: Names of the longest reply in tokens; vendors differ, and so do models of one vendor.
TOKEN_LIMITS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens")
#: Names by which vendors let a request have several replies, which agenthive would not read.
_REPLY_COUNTS: Final = ("n", "best_of", "candidate_count", "num_return_sequences")
#: Options with a field of their own in `Prompt`; the others are passed on in `Prompt.extra`.
NAMED: Final = SETTINGS - {"top_p", "stop", "seed", "reasoning_effort"}


class Prompt(msgspec.Struct, kw_only=True):
    """One request to a model, in a form of no vendor's."""

    model: str
    messages: list[dict[str, Any]]
    system: str = ""
    tools: list[dict[str, Any]] = []
    tool_choice: Any = None
    #: The longest reply, in tokens.
    max_tokens: int = MOST_TOKENS
    #: The name in `TOKEN_LIMITS` that it was given by; empty if by none.
    limit_name: str = ""
    #: Whether a text that was cut off is a result; it is a fault otherwise.
    accepts_cut: bool = False
    temperature: float | None = None
    response_format: dict[str, Any] | None = None
    #: The JSON Schema of the reply; it takes precedence over ``response_format``.
    schema: dict[str, Any] | None = None
    #: Options that are passed on to the vendor under the same names, sorted by name.
    extra: dict[str, Any] = {}
    #: Whether the decoded JSON of the reply is the whole result of the task.
    json_result: bool = False
    #: Whether tool calls of the model are executed and the model is called again with the results.
    calls_tools: bool = False
    #: Whether the reply is streamed.
    stream: bool = False

    @property
    def wants_json(self) -> bool:
        """Whether the reply must be JSON."""
        format_type = (self.response_format or {}).get("type")
        return self.schema is not None or format_type in ("json_schema", "json_object")


def build_prompt(call: Call, spec: AgentSpec) -> Prompt:
    """The prompt for a call. Raises ConfigurationError if a parameter does not fit."""
    parameters = _TypedParameters(call.parameters)
    model = parameters.get_text("model") or str(spec.custom_params.get("model") or "")
    if not model:
        raise ConfigurationError(
            f"agent '{spec.name}': no model is named: give the task a parameter 'model', or the "
            "agent 'custom_params: {model: NAME}'"
        )
    messages = parameters.get_maps("messages")
    if call.action != CHAT or not messages:
        messages = [*messages, {"role": "user", "content": prompt_text(call)}]
    messages = [*messages, *turn_messages(call.turns)]
    if call.complaint:
        correction = (
            f"{call.complaint}\n\nThis is the problem with your last answer. Give a correct one."
        )
        messages = [*messages, {"role": "user", "content": correction}]
    names = SETTINGS if call.action != CHAT else frozenset(call.parameters)
    # Sorted: the order of a set of texts differs between processes, and equal calls must have
    # equal request bodies, for caches and recordings.
    passed_on = sorted((names & call.parameters.keys()) - NAMED)
    extra = {name: call.parameters[name] for name in passed_on}
    for name in _REPLY_COUNTS:
        if extra.get(name, 1) not in (1, None):
            raise ConfigurationError(f"a call has one reply: leave out the parameter '{name}'")
    limit_name, max_tokens = parameters.get_token_limit()
    defaults = _TypedParameters(spec.custom_params)
    if max_tokens is None:
        limit_name, max_tokens = defaults.get_token_limit()
    accepts_cut = (parameters if "accept_cut" in call.parameters else defaults).get_flag(
        "accept_cut"
    )
    return Prompt(
        model=model,
        messages=messages,
        system=parameters.get_text("system"),
        tools=[*parameters.get_maps("tools"), *map(_offer_tool, call.tools)],
        tool_choice=_tool_choice(call),
        max_tokens=_limit_tokens(call, max_tokens),
        limit_name=limit_name,
        accepts_cut=accepts_cut,
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
    """The tool choice. After the first turn a forced one is dropped, or the loop would not end."""
    choice = call.parameters.get("tool_choice")
    return choice if not call.turns or choice in ("auto", "none") else None


def turn_messages(turns: Iterable[ModelTurn]) -> list[dict[str, Any]]:
    """The messages of earlier turns: each reply of the model, and the results of its tool calls."""
    messages: list[dict[str, Any]] = []
    for number, turn in enumerate(turns):
        reply = turn.said if isinstance(turn.said, Mapping) else {"content": turn.said}
        if reply.get("finish_reason") == PAUSE and reply.get("blocks"):
            # The model continues where it paused if nothing follows what it said.
            messages.append({"role": "assistant", "content": reply["blocks"]})
            continue
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
    """The model's id of a tool call if every vendor accepts it, else an id of the same form."""
    return outcome.asked.id if _ID.fullmatch(outcome.asked.id) else f"call_{turn_number}_{index}"


def _limit_tokens(call: Call, requested: int | None) -> int:
    """The longest reply in tokens; a limit that the budget has set for this call applies."""
    limit = MOST_TOKENS if requested is None else requested
    return limit if call.max_tokens is None else min(limit, call.max_tokens)


def prompt_text(call: Call) -> str:
    """The prompt as one text: the instruction, each parameter, the result of each dependency."""
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
    """A value as text for a model. Of another model's result only the content is used."""
    if is_model_answer(value):
        value = value["content"]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def is_model_answer(value: Any) -> bool:
    """Whether a value has the form of a language model's result."""
    shape = {"content", "model", "finish_reason"}
    return isinstance(value, Mapping) and shape <= value.keys() and value["content"] is not None


class _TypedParameters:
    """Parameters, read with a check of their types. Every method raises ConfigurationError."""

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
        if value > MOST_REQUESTED:
            raise ConfigurationError(
                f"the parameter '{name}' must be at most {MOST_REQUESTED:,}; no model writes more"
            )
        return value

    def get_token_limit(self) -> tuple[str, int | None]:
        """The longest reply, and the name that it is given by; an empty name and None if by none.

        Two names must not contradict each other: one of them would be sent, the other one counted.
        """
        limits = {name: self.get_integer(name) for name in TOKEN_LIMITS}
        given = {name: limit for name, limit in limits.items() if limit is not None}
        if len(set(given.values())) > 1:
            values = " and ".join(f"'{name}' is {limit}" for name, limit in given.items())
            raise ConfigurationError(f"{values}: give one of them, they mean the same")
        return next(iter(given.items()), ("", None))

    def get_number(self, name: str) -> float | None:
        value = self._parameters.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._type_error(name, "a number")
        if not abs(value) <= MOST_REQUESTED:
            raise ConfigurationError(
                f"the parameter '{name}' must be a number up to {MOST_REQUESTED:,}"
            )
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
