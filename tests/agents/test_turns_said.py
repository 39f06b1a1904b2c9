"""What a model is told of earlier turns, and how images and marks for caching are written."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agenthive.agents.llm.prompts import build_prompt, turn_messages
from agenthive.core.model.calls import ModelTurn, Tool, ToolCall, ToolResult
from tests.agents.test_questions import agent_of, asked, body, spec


def turn(**more: Any) -> ModelTurn:
    look = ToolCall(id="call_1", name="look", arguments={"x": 1})
    outcomes = (ToolResult(asked=look, content="seen"),)
    return ModelTurn(**{"said": {"content": "hm", "model": "m"}, "outcomes": outcomes, **more})


def told(vendor: str, *turns: ModelTurn, **parameters: Any) -> dict[str, Any]:
    call = msgspec.structs.replace(
        asked(model="m", **parameters), tools=(Tool(name="look"),), turns=turns
    )
    found: dict[str, Any] = agent_of(vendor, "http://127.0.0.1:9").build_body(
        build_prompt(call, spec())
    )
    return found


def test_a_turn_for_openai() -> None:
    asking, given = told("openai", turn())["messages"][-2:]
    assert asking == {
        "role": "assistant",
        "content": "hm",
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "look", "arguments": '{"x": 1}'},
            }
        ],
    }
    assert given == {"role": "tool", "tool_call_id": "call_1", "content": "seen"}


def test_a_turn_for_anthropic() -> None:
    asking, given = told("anthropic", turn())["messages"][-2:]
    assert asking["content"] == [
        {"type": "text", "text": "hm"},
        {"type": "tool_use", "id": "call_1", "name": "look", "input": {"x": 1}},
    ]
    assert given == {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "seen"}],
    }


def test_failures_and_notes() -> None:
    look = ToolCall(id="", name="look")
    outcomes = (
        ToolResult(asked=look, content="no", failed=True),
        ToolResult(asked=look, content="b"),
    )
    one = turn(outcomes=outcomes, note="It was asked for twice")
    openai = told("openai", one)["messages"][-4:]
    names = [call["id"] for call in openai[0]["tool_calls"]]
    assert names == ["call_0_0", "call_0_1"]
    assert "is_error" not in str(openai)
    assert openai[3]["content"].startswith("It was asked for twice. Change course")
    anthropic = told("anthropic", one)["messages"]
    assert [message["role"] for message in anthropic[-2:]] == ["assistant", "user"]
    blocks = anthropic[-1]["content"]
    assert [block["type"] for block in blocks] == ["tool_result", "tool_result", "text"]
    assert [block.get("is_error") for block in blocks] == [True, None, None]


def test_what_was_thought_goes_back_to_who_thought_it() -> None:
    thinking = [{"type": "thinking", "thinking": "hm", "signature": "s"}]
    one = turn(said={"content": None, "thinking": thinking})
    assert told("anthropic", one)["messages"][-2]["content"][0] == thinking[0]
    assert "thinking" not in str(told("openai", one))


def test_who_must_ask_need_not_for_ever() -> None:
    assert told("openai", tool_choice="required")["tool_choice"] == "required"
    assert "tool_choice" not in told("openai", turn(), tool_choice="required")
    assert told("openai", turn(), tool_choice="none")["tool_choice"] == "none"


def test_an_answer_that_is_no_model_s() -> None:
    messages = turn_messages([turn(said="plain"), turn(said={"content": {"a": 1}})])
    assert [one["content"] for one in messages if one["role"] == "assistant"] == [
        "plain",
        '{"a": 1}',
    ]


IMAGES = (
    ("data:image/png;base64,AAAA", {"type": "base64", "media_type": "image/png", "data": "AAAA"}),
    ("https://x.example/a.png", {"type": "url", "url": "https://x.example/a.png"}),
)


@pytest.mark.parametrize(("url", "source"), IMAGES)
def test_images_as_either_writes_them(url: str, source: dict[str, Any]) -> None:
    ours: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}}]
    theirs: list[dict[str, Any]] = [{"type": "image", "source": source}]
    for written in (ours, theirs):
        messages = [{"role": "user", "content": [{"type": "text", "text": "?"}, *written]}]
        assert body("openai", messages=messages)["messages"][0]["content"][1:] == ours
        assert body("anthropic", messages=messages)["messages"][0]["content"][1:] == theirs


def test_marks_for_caching() -> None:
    mark = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    part = {"type": "text", "text": "long", **mark}
    messages = [{"role": "system", "content": [part]}, {"role": "user", "content": [part]}]
    tools = [{"type": "function", "function": {"name": "f"}, **mark}]
    theirs = body("anthropic", messages=messages, tools=tools, system="Be kind.")
    assert theirs["system"] == [{"type": "text", "text": "Be kind."}, part]
    assert theirs["messages"] == [{"role": "user", "content": [part]}]
    assert theirs["tools"][0]["cache_control"] == mark["cache_control"]
    assert "cache_control" not in str(body("openai", messages=messages, tools=tools))
