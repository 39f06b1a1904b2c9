"""Renders the tool listings of MCP servers as the key ``tools`` of a task, in YAML.

A workflow lists its tools itself, so that they can be reviewed, are pinned by the digest of the
definition, and stay the same when a run is resumed later. This module only saves typing. It calls
no server and does not trust one: a claimed effect becomes a comment, which the author of the
workflow can uncomment.
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
"""Maximum characters of a tool name, as models require."""
NUL: Final = "\0"
"""A character that workflows must not contain."""
_FOREIGN: Final = re.compile(r"[^A-Za-z0-9_-]")
_WORDS: Final = re.compile(r"[A-Za-z][A-Za-z0-9_,.()/ -]*")
"""Plain texts that are texts in every version of YAML, except words such as ``no``."""
_ONE_LINE: Final = 2**30
"""The line width for the YAML writer: texts are not folded."""
_EFFECT_COMMENTS: Final = {
    "none": "according to the server, it only reads",
    "once": "according to the server, it is not idempotent",
}


class ToolOffer(msgspec.Struct, frozen=True, kw_only=True):
    """One tool of an MCP server, as an entry of ``tools``."""

    agent: str
    #: The action as a valid and unique tool name.
    name: str
    action: str
    description: str = ""
    input_schema: JSONObject = {}
    #: None: the arguments of the tool call, unchanged.
    parameters: JSONObject | None = None
    #: The effect that the server claims: ``none``, ``once`` or empty.
    claimed_effect: str = ""
    #: Why the schema of the server cannot be used; empty if it can.
    left_out: str = ""


def build_offers(
    listings: Mapping[str, Iterable[Any]], reserved: Collection[str]
) -> list[ToolOffer]:
    """Build the offers of all servers, in the order of their listings.

    ``listings`` maps an agent to the ``tools`` of its ``tools/list`` result. A tool whose name is
    in ``reserved`` (an action of the agent kind) is called through ``call_tool``. Tools without a
    valid name are left out.
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
    """Render the key ``tools`` of a task."""
    return "tools:\n" + "".join([indent(_render_tool(offer), "  ") for offer in offers])


def _find_free_name(agent: str, action: str, taken_names: set[str]) -> str:
    """Find a valid name that no other tool has."""
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
        schema, left_out = {}, "the server sends none"
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
    """Render a tool as an entry of a list."""
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
    """Write ``value`` as YAML; escape everything but ASCII if it has control characters."""
    printable = json.dumps(value, ensure_ascii=False).isprintable()
    return yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=printable, width=_ONE_LINE
    )


class _Dumper(yaml.SafeDumper):
    """Writes no aliases, and indents lists below their keys."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None if _WORDS.fullmatch(text) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
