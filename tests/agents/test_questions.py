"""From a task to a question, each vendor's way of spelling it, and of reading the answer."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import genai_prices
import msgspec
import pytest

from agenthive.agents.llm import anthropic, openai
from agenthive.agents.llm.prompts import Prompt, build_prompt
from agenthive.core.model.calls import Reply, Usage
from agenthive.core.model.workflow import AgentSpec
from agenthive.errors import ConfigurationError
from agenthive.infra.egress import Egress
from agenthive.infra.secrets import Secrets
from tests.agents.rude_model import RudeModel, answer, asked, http

VENDORS = ("openai", "anthropic")
USER = {"role": "user", "content": "hello"}
SCHEMA = {"type": "object"}


def spec(endpoint: str = "http://127.0.0.1:9", **custom: Any) -> AgentSpec:
    return AgentSpec(name="model", type="ai_agent", endpoint=endpoint, custom_params=custom)


def agent_of(vendor: str, endpoint: str = "http://127.0.0.1:9") -> Any:
    """A vendor's agent, not opened."""
    module = {"openai": openai, "anthropic": anthropic}[vendor]
    return module.make(spec(endpoint), Secrets(), Egress())


def body(vendor: str, endpoint: str = "http://127.0.0.1:9", **parameters: Any) -> dict[str, Any]:
    """What is sent for a chat completion."""
    agent = agent_of(vendor, endpoint)
    found: dict[str, Any] = agent.build_body(build_prompt(asked(model="m", **parameters), spec()))
    return found


async def heard(vendor: str, said: dict[str, Any], **parameters: Any) -> Reply:
    """What becomes of an answer."""
    async with RudeModel(lambda body: http(200, said)) as server:
        agent = server.agent(vendor, prices=vendor)
        reply = await agent.perform(asked(**parameters))
        await agent.close()
    return reply


ORDER = """
from agenthive.agents.llm.prompts import build_prompt
from agenthive.core.model.calls import Call
from agenthive.core.model.workflow import AgentSpec
options = dict(top_p=0.5, stop=["x"], seed=1, reasoning_effort="low", model="m", messages=[{}])
for action in ("chat_completion", "summarize"):
    call = Call(run="r", task="t", attempt=1, key="k", agent="a", action=action, parameters=options)
    print(*build_prompt(call, AgentSpec(name="a", type="ai_agent", endpoint="x")).extra)
"""


@pytest.mark.parametrize("seed", ["0", "1", "2"])
def test_options_have_the_same_order_in_every_process(seed: str) -> None:
    command = [sys.executable, "-c", ORDER]
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    printed = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert printed.stdout.splitlines() == ["reasoning_effort seed stop top_p"] * 2


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"model": 7}, "'model' must be a text, not int"),
        ({"model": ""}, "no model is named"),
        ({"messages": "hi"}, "'messages' must be a list of maps, not str"),
        ({"messages": ["hi"]}, "'messages' must be a list of maps, not list"),
        ({"system": ["x"]}, "'system' must be a text, not list"),
        ({"tools": {}}, "'tools' must be a list of maps, not dict"),
        ({"max_tokens": 0}, "'max_tokens' must be a whole number of at least 1"),
        ({"max_tokens": True}, "'max_tokens' must be a whole number"),
        ({"max_tokens": "9"}, "'max_tokens' must be a whole number"),
        ({"temperature": "warm"}, "'temperature' must be a number, not str"),
        ({"temperature": True}, "'temperature' must be a number, not bool"),
        ({"response_format": "json"}, "'response_format' must be a map, not str"),
        ({"output_schema": []}, "'output_schema' must be a map, not list"),
        ({"stream": 1}, "'stream' must be true or false, not int"),
        ({"n": 2}, "a call has one reply"),
    ],
)
@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_wrong_question_is_refused_unasked(
    vendor: str, parameters: dict[str, Any], words: str
) -> None:
    async with RudeModel(lambda body: http(200, answer(vendor))) as server:
        agent = server.agent(vendor, model="")
        reply = await agent.perform(asked(**{"model": "m", **parameters}))
        await agent.close()
    assert reply.fault is not None
    assert (reply.fault.kind, reply.fault.retriable) == ("refused", False)
    assert words in reply.fault.message
    assert server.heads == []


def test_what_a_question_is_made_of() -> None:
    call = asked(top_p=0.5, custom={"x": 1})
    assert build_prompt(call, spec(model="m", max_tokens=7)) == Prompt(
        model="m",
        messages=[USER],
        max_tokens=7,
        limit_name="max_tokens",
        extra={"top_p": 0.5, "custom": {"x": 1}},
    )
    # Of another action only the settings are settings; the rest is what the prompt is made of.
    other = msgspec.structs.replace(
        call, action="sum_up", parameters={"model": "m", "top_p": 1, "x": 2}
    )
    assert build_prompt(other, spec()) == Prompt(
        model="m", messages=[{"role": "user", "content": "sum up\n\n# x\n2"}], extra={"top_p": 1}
    )
    # A chat without messages has nothing but its prompt; messages come before the prompt.
    bare = msgspec.structs.replace(call, parameters={"model": "m"}, description="Say it.")
    assert build_prompt(bare, spec()).messages == [{"role": "user", "content": "Say it."}]
    both = msgspec.structs.replace(
        call, action="go_on", parameters={"model": "m", "messages": [USER]}
    )
    assert build_prompt(both, spec()).messages == [USER, {"role": "user", "content": "go on"}]


@pytest.mark.parametrize(
    ("endpoint", "base", "query"),
    [
        ("https://api.openai.com/v1/chat/completions", "https://api.openai.com/v1", {}),
        ("https://api.openai.com/v1/", "https://api.openai.com/v1", {}),
        ("https://api.openai.com", "https://api.openai.com/v1", {}),
        ("http://[::1]:8000/", "http://[::1]:8000/v1", {}),
        ("https://x.example/openai/v2", "https://x.example/openai/v2", {}),
        (
            "https://x.example/deployments/d/chat/completions?api-version=3",
            "https://x.example/deployments/d",
            {"api-version": "3"},
        ),
    ],
)
def test_addresses_of_openai(endpoint: str, base: str, query: dict[str, str]) -> None:
    assert openai.split_endpoint(endpoint) == (base, query)


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/", "/v1/messages"])
def test_addresses_of_anthropic(path: str) -> None:
    assert anthropic.split_endpoint(f"https://h.example{path}?a=b") == (
        "https://h.example",
        {"a": "b"},
    )
    assert anthropic.split_endpoint(f"https://h.example/gate{path}") == (
        "https://h.example/gate",
        {},
    )


def test_openai_spells_it() -> None:
    assert body("openai") == {"model": "m", "messages": [USER], "max_tokens": 4096}
    assert body("openai", max_tokens=5)["max_tokens"] == 5
    assert body("openai", "https://api.openai.com", max_tokens=5)["max_completion_tokens"] == 5
    said = body(
        "openai", system="Be kind.", temperature=0, response_format={"type": "text"}, seed=1
    )
    assert said["messages"][0] == {"role": "system", "content": "Be kind."}
    assert (said["temperature"], said["response_format"], said["seed"]) == (0, {"type": "text"}, 1)
    assert body("openai", output_schema=SCHEMA)["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": SCHEMA},
    }


def test_anthropic_spells_it() -> None:
    assert body("anthropic") == {"model": "m", "messages": [USER], "max_tokens": 4096}
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": "Be true."},
        USER,
    ]
    said = body(
        "anthropic",
        messages=messages,
        system="Be kind.",
        max_tokens=5,
        temperature=1,
        seed=3,
        stop="END",
        reasoning_effort="low",
    )
    assert said == {
        "model": "m",
        "messages": [USER],
        "system": "Be kind.\n\nBe brief.\n\nBe true.",
        "max_tokens": 5,
        "temperature": 1,
        "stop_sequences": ["END"],
        "output_config": {"effort": "low"},
    }
    assert body("anthropic", stop=["A", "B"])["stop_sequences"] == ["A", "B"]
    wanted = {"type": "json_schema", "schema": SCHEMA}
    assert body("anthropic", output_schema=SCHEMA)["output_config"] == {"format": wanted}
    given = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
    both = body("anthropic", response_format=given, reasoning_effort="high")
    assert both["output_config"] == {"format": wanted, "effort": "high"}
    with pytest.raises(ConfigurationError, match="output_schema"):
        body("anthropic", response_format={"type": "json_object"})


OPENAI_TOOL = {
    "type": "function",
    "function": {"name": "f", "parameters": SCHEMA, "description": "It does."},
}
ANTHROPIC_TOOL = {"name": "f", "input_schema": SCHEMA, "description": "It does."}


def test_tools_may_be_written_either_way() -> None:
    for tool in (OPENAI_TOOL, ANTHROPIC_TOOL):
        assert body("openai", tools=[tool])["tools"] == [OPENAI_TOOL]
        assert body("anthropic", tools=[tool])["tools"] == [ANTHROPIC_TOOL]
    bare = {"type": "function", "function": {"name": "f"}}
    assert body("anthropic", tools=[bare])["tools"] == [
        {"name": "f", "input_schema": {"type": "object", "properties": {}}}
    ]
    assert body("openai", tools=[{"name": "f", "input_schema": SCHEMA}])["tools"] == [
        {"type": "function", "function": {"name": "f", "parameters": SCHEMA}}
    ]


@pytest.mark.parametrize(
    ("choices", "of_openai", "of_anthropic"),
    [
        (["auto", {"type": "auto"}], "auto", {"type": "auto"}),
        (["none", {"type": "none"}], "none", {"type": "none"}),
        (["any", "required", {"type": "any"}], "required", {"type": "any"}),
        (
            [{"type": "function", "function": {"name": "f"}}, {"type": "tool", "name": "f"}],
            {"type": "function", "function": {"name": "f"}},
            {"type": "tool", "name": "f"},
        ),
    ],
)
def test_choices_may_be_written_either_way(
    choices: list[Any], of_openai: Any, of_anthropic: Any
) -> None:
    for choice in choices:
        assert body("openai", tool_choice=choice)["tool_choice"] == of_openai
        assert body("anthropic", tool_choice=choice)["tool_choice"] == of_anthropic


def test_tool_calls_in_messages() -> None:
    ours = {"id": "1", "name": "f", "arguments": {"x": 1}}
    theirs = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    use = {"type": "tool_use", "id": "1", "name": "f", "input": {"x": 1}}
    for call in (ours, {**ours, "arguments": '{"x": 1}'}, theirs):
        before = [USER, {"role": "assistant", "content": None, "tool_calls": [call]}]
        assert body("openai", messages=before)["messages"][1]["tool_calls"] == [theirs]
        assert body("anthropic", messages=before)["messages"][1] == {
            "role": "assistant",
            "content": [use],
        }
    text = {"type": "text", "text": "I look."}
    for content in ("I look.", [text]):
        after = [
            {"role": "assistant", "content": content, "tool_calls": [{**ours, "arguments": {}}]}
        ]
        assert body("anthropic", messages=after)["messages"][0]["content"] == [
            text,
            {**use, "input": {}},
        ]
    result = {"role": "tool", "tool_call_id": "1", "content": {"rain": True}}
    assert body("anthropic", messages=[result])["messages"] == [
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "1", "content": '{"rain": true}'}],
        }
    ]
    for call, words in (("x", "must be a map"), ({**ours, "arguments": "{"}, "arguments")):
        with pytest.raises(ConfigurationError, match=words):
            body("anthropic", messages=[{"role": "assistant", "tool_calls": [call]}])
    odd = [{"role": "assistant", "tool_calls": ["x"]}]
    assert body("openai", messages=odd)["messages"] == odd


def chosen(message: dict[str, Any], finish: str | None = "stop", **more: Any) -> dict[str, Any]:
    return {"model": "m-1", "choices": [{"message": message, "finish_reason": finish}], **more}


async def test_openai_answers() -> None:
    call = {"id": "1", "function": {"name": "f", "arguments": ""}}
    said = chosen(
        {"content": "so", "tool_calls": [call, {"function": {"name": "g"}}]}, "tool_calls"
    )
    assert (await heard("openai", said)).result == {
        "content": "so",
        "model": "m-1",
        "finish_reason": "tool_calls",
        "tool_calls": [
            {"id": "1", "name": "f", "arguments": {}},
            {"id": "", "name": "g", "arguments": {}},
        ],
    }
    garbled = {"id": "1", "function": {"name": "f", "arguments": '{"x": '}}
    reply = await heard("openai", chosen({"tool_calls": [garbled]}))
    assert reply.fault is not None
    assert (reply.fault.kind, reply.fault.counts) == ("invalid_reply", False)
    assert "the arguments for 'f' are not JSON" in reply.fault.message
    listed = {"id": "1", "function": {"name": "f", "arguments": "[1]"}}
    reply = await heard("openai", chosen({"tool_calls": [listed]}))
    assert reply.fault is not None
    assert "the arguments for 'f' are not a JSON object" in reply.fault.message
    refused = await heard(
        "openai", chosen({"content": None, "refusal": "No."}), output_schema=SCHEMA
    )
    assert refused.fault is not None
    assert (refused.fault.kind, "): No.. Nothing" in refused.fault.message) == (
        "refusal",
        True,
    )
    cut = await heard("openai", chosen({"content": '{"a"'}, "length"), output_schema=SCHEMA)
    assert cut.fault is not None
    assert (cut.fault.kind, cut.fault.class_) == ("cut_off", "bad_end")
    loose = await heard(
        "openai",
        {"choices": [{"message": {"content": "{}"}}]},
        response_format={"type": "json_object"},
    )
    assert loose.result == {"content": "{}", "model": "m-1", "finish_reason": "stop", "parsed": {}}
    assert loose.usage is None


@pytest.mark.parametrize("end", ["end_turn", "stop_sequence", None, "a word of next year"])
async def test_how_anthropic_ends(end: str | None) -> None:
    reply = await heard("anthropic", answer("anthropic", stop_reason=end))
    finish = end if end and " " in end else "stop"
    assert reply.result == {"content": "fine", "model": "m-1", "finish_reason": finish}


async def test_anthropic_answers() -> None:
    blocks = [
        {"type": "thinking", "thinking": "hm"},
        {"type": "text", "text": "a"},
        {"type": "tool_use", "id": "1", "name": "f", "input": {"x": 1}},
        {"type": "text", "text": "b"},
    ]
    reply = await heard("anthropic", {"content": blocks, "stop_reason": "tool_use"})
    assert reply.result == {
        "content": "ab",
        "model": "m-1",
        "finish_reason": "tool_calls",
        "tool_calls": [{"id": "1", "name": "f", "arguments": {"x": 1}}],
        "thinking": blocks[:1],
    }
    refused = await heard("anthropic", {"content": [], "stop_reason": "refusal"})
    assert refused.fault is not None
    assert (refused.fault.kind, refused.fault.class_) == ("refusal", "bad_end")


async def used(vendor: str, told: Any, model: str = "m-1", **more: Any) -> Usage | None:
    reply = await heard(vendor, answer(vendor, model=model, usage=told, **more))
    assert reply.fault is None
    return reply.usage


LIST = f"genai-prices {genai_prices.__version__}"


async def test_what_openai_says_was_used() -> None:
    told = {
        "prompt_tokens": 1000,
        "completion_tokens": 500,
        "prompt_tokens_details": {"cached_tokens": 400},
        "completion_tokens_details": {"reasoning_tokens": 300},
    }
    assert await used("openai", told, "gpt-4o") == Usage(
        model="gpt-4o",
        input_tokens=1000,
        output_tokens=500,
        cache_read_tokens=400,
        reasoning_tokens=300,
        cost=600 * 2500 + 400 * 1250 + 500 * 10_000,
        prices=LIST,
    )
    odd = {"prompt_tokens": -1, "completion_tokens": True, "prompt_tokens_details": [1]}
    problem = "prompt_tokens is -1: the usage is unknown"
    assert await used("openai", odd) == Usage(model="m-1", problem=problem)
    problem = "usage is a text: it is unknown"
    assert await used("openai", "many") == Usage(model="m-1", problem=problem)


async def test_what_anthropic_says_was_used() -> None:
    told = {
        "input_tokens": 1000,
        "output_tokens": 500,
        "cache_read_input_tokens": 200,
        "cache_creation_input_tokens": 100,
        "output_tokens_details": {"thinking_tokens": 50},
    }
    plain = Usage(
        model="claude-sonnet-4-5",
        input_tokens=1300,
        output_tokens=500,
        cache_read_tokens=200,
        cache_write_tokens=100,
        reasoning_tokens=50,
        cost=1000 * 3000 + 200 * 300 + 100 * 3750 + 500 * 15_000,
        prices=LIST,
    )
    assert await used("anthropic", told, plain.model) == plain
    # What is cached for an hour costs twice the input, not one and a quarter.
    hour = {**told, "cache_creation": {"ephemeral_1h_input_tokens": 100}}
    dearer = await used("anthropic", hour, plain.model)
    assert dearer is not None
    assert plain.cost is not None
    assert dearer.cost == plain.cost + 100 * (6000 - 3750)
    assert await used("anthropic", None) is None


async def test_the_tier_makes_the_price() -> None:
    told = {"prompt_tokens": 1000, "completion_tokens": 1000}
    usual = await used("openai", told, "o3", service_tier="default")
    cheap = await used("openai", told, "o3", service_tier="flex")
    assert usual is not None
    assert cheap is not None
    assert cheap.cost == (usual.cost or 0) // 2 > 0
    fast = {"input_tokens": 1000, "output_tokens": 1000}
    slow = await used("anthropic", {**fast, "speed": "standard"}, "claude-opus-4-8")
    quick = await used("anthropic", {**fast, "speed": "fast"}, "claude-opus-4-8")
    assert slow is not None
    assert quick is not None
    assert (quick.cost or 0) > (slow.cost or 0) > 0
