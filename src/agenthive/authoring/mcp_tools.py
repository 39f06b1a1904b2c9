"""What a server says it can do, as `tools` of a task that a person can put into a workflow.

A workflow names its tools itself: what a model may do is then reviewed, pinned by the definition's
digest, and the same when a run goes on years later. This file spares the typing. Never here: asking
a server, or believing it: what it says of effects becomes a comment that a person has to uncomment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from textwrap import indent
from typing import Any, Final

import msgspec
import yaml

from agenthive.core.values import JSONObject
from agenthive.infra.schemas import check_schema

LONGEST_NAME: Final = 64
"""Characters of a name that models take."""
NUL: Final = "\0"
"""A character that no workflow may hold."""
_FOREIGN: Final = re.compile(r"[^A-Za-z0-9_-]")
_WORDS: Final = re.compile(r"[A-Za-z][A-Za-z0-9_,.()/ -]*")
"""Texts that mean themselves in every version of YAML, unless they are words such as ``no``."""
_ONE_LINE: Final = 2**30
"""No text is folded: it is easier to read, and to change, in one piece."""
_EFFECT_COMMENTS: Final = {
    "none": "the server says that it only reads",
    "once": "the server says that doing it twice is not the same as once",
}


class ToolOffer(msgspec.Struct, frozen=True, kw_only=True):
    """One tool of a server, as a model may be told of it.

    ``name`` is ``action`` in letters that models take, and the only one of its name. ``parameters``
    None: the arguments as they are. ``claimed_effect`` is what the server says of itself, empty if
    nothing; ``left_out`` why its schema cannot be used, empty if it can.
    """

    agent: str
    name: str
    action: str
    description: str = ""
    input_schema: JSONObject = {}
    parameters: JSONObject | None = None
    claimed_effect: str = ""
    left_out: str = ""


def build_offers(
    listings: Mapping[str, Iterable[Any]], reserved: Collection[str]
) -> list[ToolOffer]:
    """What servers offer: agent -> the ``tools`` of its listing, in their order.

    A tool whose name is in ``reserved`` (an action of the kind) is asked for by ``call_tool``. What
    has no name, or one that no workflow can hold, is passed over.
    """
    offers: list[ToolOffer] = []
    taken_names: set[str] = set()
    for agent, listing in listings.items():
        for tool in listing:
            action = tool.get("name") if isinstance(tool, dict) else None
            if isinstance(action, str) and action and NUL not in action:
                name = _find_free_name(agent, action, taken_names)
                taken_names.add(name)
                offers.append(_build_offer(agent, name, action, tool, reserved))
    return offers


def render_tools(offers: Iterable[ToolOffer]) -> str:
    """The key ``tools`` of a task with these tools in it."""
    return "tools:\n" + "".join([indent(_render_tool(offer), "  ") for offer in offers])


def _find_free_name(agent: str, action: str, taken_names: set[str]) -> str:
    """A name that models take, and no other tool has."""
    short_name = _FOREIGN.sub("_", action)[:LONGEST_NAME]
    if short_name not in taken_names:
        return short_name
    name = long_name = _FOREIGN.sub("_", f"{agent}_{action}")[:LONGEST_NAME]
    number = 2
    while name in taken_names:
        suffix = f"_{number}"
        name = long_name[: LONGEST_NAME - len(suffix)] + suffix
        number += 1
    return name


def _build_offer(
    agent: str, name: str, action: str, tool: dict[str, Any], reserved: Collection[str]
) -> ToolOffer:
    description, schema = tool.get("description"), tool.get("inputSchema")
    if not isinstance(schema, dict):
        schema, left_out = {}, "it has none"
    elif left_out := check_schema(schema):
        schema = {}
    by_name = action in reserved
    return ToolOffer(
        agent=agent,
        name=name,
        action="call_tool" if by_name else action,
        description=_clean_text(description) if isinstance(description, str) else "",
        input_schema=schema,
        parameters={"name": action, "arguments": "{{ arguments }}"} if by_name else None,
        claimed_effect=_claimed_effect(tool.get("annotations")),
        left_out=left_out,
    )


def _clean_text(text: str) -> str:
    return text.replace(NUL, "\ufffd").strip()


def _claimed_effect(annotations: Any) -> str:
    hints = annotations if isinstance(annotations, dict) else {}
    if hints.get("readOnlyHint") is True:
        return "none"
    return "once" if hints.get("idempotentHint") is False else ""


def _render_tool(offer: ToolOffer) -> str:
    """A tool as an item of a list."""
    head: JSONObject = {"name": offer.name, "agent": offer.agent}
    if offer.action != offer.name:
        head["action"] = offer.action
    if offer.description:
        head["description"] = offer.description
    if offer.parameters is not None:
        head["parameters"] = offer.parameters
    text = _dump_yaml(head)
    if offer.claimed_effect:
        text += f"# effect: {offer.claimed_effect}    {_EFFECT_COMMENTS[offer.claimed_effect]}\n"
    if offer.left_out:
        text += f"# input_schema left out: {json.dumps(offer.left_out)[1:-1]}\n"
    else:
        text += _dump_yaml({"input_schema": offer.input_schema})
    first_line, _, other_lines = text.partition("\n")
    return f"- {first_line}\n" + indent(other_lines, "  ")


def _dump_yaml(value: JSONObject) -> str:
    """``value`` in YAML; what could steer a terminal is spelled out."""
    printable = json.dumps(value, ensure_ascii=False).isprintable()
    return yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=printable, width=_ONE_LINE
    )


class _Dumper(yaml.SafeDumper):
    """Nothing is written as an alias; lists stand deeper than their keys."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None if _WORDS.fullmatch(text) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
