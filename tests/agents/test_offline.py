"""The offline model: the same words for the same input, and honest about what it is."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from agenthive.agents.llm.offline import MODEL, count_tokens, make, summarize
from agenthive.core.model.calls import Call, Reply
from agenthive.core.model.workflow import AgentSpec
from agenthive.testing import check_agent
from tests.agents.rude_model import asked

BEES = """
Bees dance to tell where the flowers are. The dance shows direction and distance to the flowers.
Some people like honey
Wasps do not dance! The waggle of the dance lasts longer when the flowers are far.
"""
ANSWER = {"content": "Bees dance.", "model": "m-1", "finish_reason": "stop"}


def agent() -> Any:
    return make(AgentSpec(name="a", type="ai_agent", endpoint="offline://extractive"), None, None)


async def said(action: str = "summarize", given: dict[str, Any] | None = None, **more: Any) -> Any:
    call = Call(
        run="r",
        task="t",
        attempt=1,
        key="k",
        agent="a",
        action=action,
        parameters=more,
        dependencies=given or {},
    )
    reply: Reply = await agent().perform(call)
    assert reply.fault is None
    return reply.result


async def test_the_kit() -> None:
    await check_agent(
        agent, good=asked(BEES), bad=asked("x", max_tokens="many"), hanging=None, keys=None
    )


async def test_the_same_input_gets_the_same_answer() -> None:
    for more in ({}, {"output_schema": SCHEMAS[-1]}):
        call = asked(BEES, **more)
        assert await agent().perform(call) == await agent().perform(call)


async def test_a_summary_is_made_of_the_sentences_that_say_most() -> None:
    result = await said(text=BEES, max_tokens=20)
    assert result == {
        "content": "Bees dance to tell where the flowers are. "
        "The dance shows direction and distance to the flowers.",
        "model": MODEL,
        "finish_reason": "stop",
    }
    assert (await agent().execute("summarize", {"text": BEES, "max_tokens": 20})).result == result


async def test_what_it_used_is_counted() -> None:
    reply = await agent().perform(asked("Bees dance."))
    assert (reply.usage.model, reply.usage.cost) == (MODEL, 0)
    assert reply.usage.output_tokens == count_tokens("Bees dance.") == 3
    assert reply.usage.input_tokens > 3


def test_equal_sentences_are_said_once_and_all_are_closed() -> None:
    text = "Bees dance\nBees dance\n“Wasps sting”\nDo ants sing?\n(They do not!)"
    assert summarize(text, 100) == "Bees dance. “Wasps sting”. Do ants sing? (They do not!)"
    assert summarize("", 100) == ""
    assert summarize("one two three four five", 3) == "one two three"
    assert summarize("\n".join(f"Sentence number {n}." for n in range(9)), 200).count(".") == 5


async def test_of_another_models_answer_only_the_words_count() -> None:
    assert (await said(given={"before": ANSWER}))["content"] == "Bees dance."
    assert (await said(text=ANSWER))["content"] == "Bees dance."
    other = {"content": "Bees dance.", "pages": [3, None, True, 2.5]}
    assert (await said(given={"before": other}))["content"] == "Bees dance. 3. 2.5."
    calls = {**ANSWER, "content": None, "tool_calls": [{"name": "look"}]}
    assert "look" in (await said(given={"before": calls}))["content"]


async def test_messages() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Bees dance."}]},
        "not a message",
    ]
    assert (await said("chat_completion", messages=messages))["content"] == "text. Bees dance."
    assert (await said("chat_completion", messages="Bees dance."))["content"] == "Bees dance."
    assert (await said(model="x", temperature=1, tools=[], note="Only this."))[
        "content"
    ] == "Only this."


NAMED = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
SCHEMAS: list[dict[str, Any]] = [
    {"type": "string", "maxLength": 9},
    {"type": "string", "minLength": 700, "maxLength": 800},
    {"type": "integer", "minimum": 5, "maximum": 7},
    {"type": "number", "maximum": -1},
    {"type": "boolean"},
    {"type": "null"},
    {"type": ["string", "null"]},
    {"const": {"a": 1}},
    {"enum": ["x", "y"]},
    {"anyOf": [{"type": "integer"}, {"type": "string"}]},
    {"oneOf": [{"type": "string"}]},
    {"allOf": [{"type": "string"}]},
    {"type": "array", "items": {"type": "string"}, "minItems": 5},
    {"type": "array", "items": {"type": "integer"}, "maxItems": 2},
    {"type": "array"},
    {"type": "integer", "minimum": 5.5, "exclusiveMaximum": 8},
    {"type": "number", "exclusiveMinimum": 0, "multipleOf": 0.5},
    {"type": "integer", "multipleOf": 7, "minimum": 8},
    {"type": "array", "prefixItems": [{"type": "integer"}], "items": {"type": "string"}},
    {"type": "array", "items": {"const": 1}, "uniqueItems": True},
    {"type": "object", "required": ["a", "b"], "additionalProperties": {"type": "integer"}},
    {"type": "array", "items": True, "minItems": 1},
    {
        "allOf": [{"$ref": "#/$defs/named"}, {"properties": {"n": {"type": "integer"}}}, True],
        "required": ["n"],
        "$defs": {"named": {"$ref": "#/$defs/a~1b"}, "a/b": NAMED},
    },
    {
        "allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}],
        "$defs": {
            "a": {"properties": {"x": {"type": "integer"}}, "required": ["x"]},
            "b": {"properties": {"y": {"const": 1}}, "required": ["y"]},
        },
    },
    {
        "anyOf": [{"properties": {"kind": {"const": "bee"}}, "required": ["kind"]}, NAMED],
        "properties": {"legs": {"type": "integer"}},
    },
    {
        "$ref": "#/$defs/tree",
        "$defs": {
            "tree": {
                "type": "object",
                "properties": {
                    "leaves": {"type": "array", "items": {"$ref": "#/$defs/tree"}, "maxItems": 2},
                    "name": {"type": "string"},
                },
                "required": ["leaves"],
            }
        },
    },
    {
        "properties": {
            "title": {"type": "string"},
            "facts": {"type": "array", "items": NAMED},
        },
        "required": ["title", "facts"],
    },
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=range(len(SCHEMAS)))
@pytest.mark.parametrize("text", [BEES + "There are 12 bees, 3.5 g each.", ""])
async def test_json_is_valid_for_its_schema(schema: dict[str, Any], text: str) -> None:
    result = await said(text=text, output_schema=schema)
    jsonschema.validate(result["parsed"], schema)
    assert json.loads(result["content"]) == result["parsed"]
    as_format = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert await said(text=text, response_format=as_format) == result
    bare = {"type": "json_schema", "json_schema": schema}
    assert await said(text=text, response_format=bare) == result


async def test_no_schema_no_json() -> None:
    for wanted in ({"type": "text"}, {"type": "json_schema", "json_schema": 7}, "json"):
        assert "parsed" not in await said(text=BEES, response_format=wanted)
    assert "parsed" not in await said(text=BEES, output_schema="x")


async def test_json_is_made_of_the_input() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "string"}, "n": {"type": "integer"}},
    }
    text = "Bees dance. There are 12 of them."
    assert (await said(text=text, output_schema=schema))["parsed"] == {
        "a": "Bees dance.",
        "b": "There are 12 of them.",
        "n": 12,
    }


ENDLESS = {"$ref": "#/$defs/x", "$defs": {"x": {"type": "object", "required": ["x"]}}}
ENDLESS["$defs"]["x"]["additionalProperties"] = {"$ref": "#/$defs/x"}  # type: ignore[index]


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "string", "pattern": "^a+$"}, "with the keyword 'pattern'"),
        ({"properties": {"x": {"not": {}}}}, "with the keyword 'not'"),
        ({"$ref": "#/$defs/none"}, "'#/$defs/none', which it does not contain"),
        ({"$ref": "http://x/y"}, "which it does not contain"),
        ({"properties": {"x": 7}}, "is not a schema"),
        ({"properties": {"x": False}}, "is not a schema"),
        ({"type": "integer", "minimum": 6.1, "maximum": 6.2}, "no number fits"),
        (
            {"type": "array", "items": {"const": 1}, "uniqueItems": True, "minItems": 2},
            "does not hold 2 different items",
        ),
        ({"type": "array", "minItems": 101}, "does not hold 101 different items"),
        ({"type": "string", "maxLength": "x"}, "invalid literal"),
        (ENDLESS, "more than 40 levels"),
        ({"allOf": [{"type": "string"}, {"allOf": 7}]}, "cannot reply"),
        ({"allOf": [{"$ref": "#"}]}, "more than 40 levels"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, "more than 40 levels"),
    ],
)
async def test_what_it_cannot_make_it_refuses(schema: dict[str, Any], words: str) -> None:
    reply = await agent().perform(asked(BEES, output_schema=schema))
    assert (reply.fault.kind, reply.fault.retriable) == ("refused", False)
    assert words in reply.fault.message
    outside = await agent().execute("x", {"output_schema": schema})
    assert not outside.success
