"""What agents say is vetted before it reaches the journal: no reply can stop a hive."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from agenthive.core.engine.reply_validation import (
    MAX_DEPTH,
    MAX_MESSAGE_LENGTH,
    MAX_TOOL_CALL_BYTES,
    MAX_TOOL_CALLS,
    validate_reply,
)
from agenthive.core.model.calls import Fault, Reply, ToolCall, Usage
from agenthive.core.model.workflow import AgentSpec, TaskSpec, WorkflowSpec
from agenthive.hive import Hive
from agenthive.testing import ScriptedAgent


def nested(levels: int, *, wide: bool = False) -> Any:
    value: Any = 1
    for number in range(levels):
        value = [value] if number % 2 else {"a": value}
    return [value, *([] for _ in range(MAX_DEPTH))] if wide else value


@pytest.mark.parametrize(
    "value",
    [None, True, 0, 1.5, "é\x00", [], {"a": [1, {"b": None}]}, 2**70, nested(MAX_DEPTH)],
    ids=repr,
)
def test_plain_json_passes_unchanged(value: Any) -> None:
    reply = validate_reply(Reply(result=value))
    assert reply.result == value
    assert reply.fault is None


def test_what_passes_is_not_shared_with_the_agent() -> None:
    mine: Any = {"list": [1]}
    reply = validate_reply(Reply(result=mine))
    mine["list"].append(2)
    assert reply.result == {"list": [1]}


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        [math.inf],
        {"a": -math.inf},
        object(),
        b"bytes",
        {"set": {1}},
        {(1, 2): 3},
        nested(MAX_DEPTH + 1),
        nested(MAX_DEPTH, wide=True),
        nested(100_000),
        10**5000,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_no_journal_can_hold_is_a_fault(value: Any) -> None:
    reply = validate_reply(Reply(result=value, usage=Usage(input_tokens=5)))
    assert reply.fault is not None
    assert reply.fault.kind == "invalid_reply"
    assert reply.usage == Usage(input_tokens=5)


def test_half_a_surrogate_pair_is_replaced() -> None:
    assert validate_reply(Reply(result={"\ud800": ["x\udfff"]})).result == {"?": ["x?"]}


@pytest.mark.parametrize(
    ("asks", "why"),
    [
        (
            [ToolCall(id="1", name="f", arguments={})] * (MAX_TOOL_CALLS + 1),
            "129 tool calls at once; the limit is 128",
        ),
        (
            [ToolCall(id="1", name="f", arguments={"x": "x" * MAX_TOOL_CALL_BYTES})],
            "bytes; the limit is 1,048,576 bytes",
        ),
        ([ToolCall(id="1", name="f", arguments=[1])], "the arguments of 'f' are not an object"),  # type: ignore[arg-type]
    ],
)
def test_what_is_asked_of_tools_is_bounded(asks: list[ToolCall], why: str) -> None:
    fault = validate_reply(Reply(asks=tuple(asks))).fault
    assert fault is not None
    assert fault.kind == "invalid_reply"
    assert why in fault.message


def test_faults_are_cleaned() -> None:
    said = "\ud800" + "x" * 20_000
    fault = validate_reply(
        Reply(fault=Fault(kind="lost", message=said, retry_after=math.inf))
    ).fault
    assert fault is not None
    assert fault.message == "?" + "x" * (MAX_MESSAGE_LENGTH - 1)
    assert fault.retry_after is None
    wrong = validate_reply(Reply(fault=Fault(kind=7, message="x"))).fault  # type: ignore[arg-type]
    assert wrong is not None
    assert wrong.kind == "invalid_reply"


@pytest.mark.parametrize(
    "usage",
    [Usage(input_tokens=-1), Usage(cost=-5), Usage(output_tokens="many"), Usage(model=3)],  # type: ignore[arg-type]
    ids=repr,
)
def test_usage_that_makes_no_sense_is_dropped(usage: Usage) -> None:
    reply = validate_reply(Reply(result=1, usage=usage))
    assert (reply.result, reply.usage) == (1, None)


@pytest.mark.parametrize(
    "answer", ["\ud800", math.nan, nested(3000), Fault(kind="lost", message="\ud800")]
)
async def test_a_hive_survives_any_reply(answer: Any) -> None:
    agent = AgentSpec(name="a", type="http_api", endpoint="http://x.invalid")
    task = TaskSpec(name="t", agent="a", action="say")
    async with Hive.open() as hive:
        hive.agents.register_kind("http_api", ScriptedAgent(answer).named)
        run = hive.run(WorkflowSpec(name="w", agents=(agent,), tasks=(task,)))
        report = await asyncio.wait_for(run, 10)
    assert report.status in ("completed", "failed")
