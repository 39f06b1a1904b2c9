"""What a server offers, as text for a workflow: read again, it is what the server said."""

from __future__ import annotations

import json
import re
from textwrap import indent
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthive import authoring
from agenthive.authoring.mcp_tools import LONGEST_NAME, ToolOffer, build_offers, render_tools
from agenthive.core.model.workflow import Effect, ToolSpec

RESERVED = frozenset({"list_tools", "call_tool"})
HEAD = """
agenthive: 1
name: w
agents:
  - {name: model, type: custom, endpoint: "custom://model"}
  - {name: git, type: mcp_server, endpoint: "stdio:git"}
  - {name: "a b", type: mcp_server, endpoint: "stdio:other"}
tasks:
  - name: ask
    agent: model
    action: ask
"""


def read(text: str) -> tuple[ToolSpec, ...]:
    """The tools of a workflow in which ``text`` stands under a task."""
    return authoring.loads(HEAD + indent(text, "    ")).spec.tasks[0].tools


def offered(*tools: dict[str, Any], agent: str = "git") -> list[ToolOffer]:
    return build_offers({agent: tools}, RESERVED)


def tool(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "inputSchema": {"type": "object"}, **more}


@pytest.mark.parametrize(
    "text",
    [
        "no",
        "1e3",
        "0o17",
        "12:30:45",
        "~",
        "null",
        "- a",
        "a: b",
        "# a",
        "{{ inputs.x }}",
        "@",
        "é\u202e",
        "\x7f\ud7ff",
        "two\n\n  lines \n",
        "a\n  b\n\tc",
        "'",
        '"',
        "%a",
        "&a *b",
        "!t",
        "😀",
        "tail \\",
        "2026-11-25",
        "=",
        "<<",
        "yes: no",
        "\u2028",
        "\x85",
        "a\r\nb",
        "${env:X}",
    ],
)
def test_every_text_comes_back(text: str) -> None:
    schema = {"type": "object", "properties": {text: {"const": text, "description": text}}}
    found = read(render_tools(offered(tool("t", description=text, inputSchema=schema))))
    assert found[0].description == text.strip()
    assert found[0].input_schema == schema


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | TEXTS
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
LISTS = st.lists(
    st.fixed_dictionaries(
        {
            "name": TEXTS.filter(bool),
            "description": TEXTS,
            "inputSchema": st.fixed_dictionaries({"type": st.just("object"), "default": VALUES}),
        },
        optional={
            "annotations": st.dictionaries(
                st.sampled_from(["readOnlyHint", "idempotentHint"]), st.booleans()
            )
        },
    ),
    max_size=4,
)


@given(LISTS, LISTS)
def test_whatever_is_offered_comes_back(one: list[dict[str, Any]], two: list[Any]) -> None:
    offers = build_offers({"git": one, "a b": two}, RESERVED)
    found = read(render_tools(offers)) if offers else ()
    names = [it.name for it in found]
    assert len(set(names)) == len(names) == len(one) + len(two)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) for name in names)
    for spec, offer, said in zip(found, offers, [*one, *two], strict=True):
        asked = spec.parameters["name"] if spec.parameters else spec.action
        assert (spec.agent, asked) == (offer.agent, said["name"])
        assert spec.description == said["description"].strip()
        assert json.dumps(spec.input_schema) == json.dumps(said["inputSchema"])
        assert spec.effect is Effect.ANY


def test_what_a_server_says_of_effects_is_a_comment() -> None:
    text = render_tools(
        offered(
            tool("reads", annotations={"readOnlyHint": True, "idempotentHint": False}),
            tool("acts", annotations={"idempotentHint": False}),
            tool("silent", annotations={"readOnlyHint": "yes"}),
        )
    )
    assert text.count("# effect:") == 2
    assert [it.effect for it in read(text)] == [Effect.ANY] * 3
    believed = read(text.replace("# effect: none   ", "effect: none #"))
    assert [it.effect for it in believed] == [Effect.NONE, Effect.ANY, Effect.ANY]


def test_a_schema_that_cannot_be_used_is_left_out_and_says_why() -> None:
    far = {"type": "object", "properties": {"x": {"$ref": "https://example.com/x"}}}
    text = render_tools(offered(tool("far", inputSchema=far), {"name": "none"}))
    assert text.count("# input_schema left out: ") == 2
    assert "left out: the server sends none" in text
    assert [it.input_schema for it in read(text)] == [{}, {}]


def test_names_that_models_do_not_take() -> None:
    long = "x" * 80
    found = read(
        render_tools(
            build_offers(
                {
                    "git": [
                        tool("a.b"),
                        tool("a/b"),
                        tool("list_tools"),
                        tool(long),
                        tool(long + "y"),
                    ],
                    "a b": [tool("a.b"), {"no": "name"}, "nothing", tool("nul\0")],
                },
                RESERVED,
            )
        )
    )
    assert [it.name for it in found[:3]] == ["a_b", "git_a_b", "list_tools"]
    assert [it.action for it in found[:3]] == ["a.b", "a/b", "call_tool"]
    assert found[2].parameters == {"name": "list_tools", "arguments": "{{ arguments }}"}
    assert {len(it.name) for it in found[3:5]} == {LONGEST_NAME}
    assert (found[5].name, found[5].agent) == ("a_b_a_b", "a b")
    assert len(found) == 6


def test_a_character_that_no_workflow_may_hold_is_replaced() -> None:
    assert read(render_tools(offered(tool("t", description="a\0b"))))[0].description == "a\ufffdb"
