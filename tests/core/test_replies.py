"""What agents say is vetted before it reaches the journal: no reply can stop a hive."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from agenthive.core.engine.reply_validation import (
    MAX_DEPTH,
    MAX_MESSAGE_LENGTH,
    MAX_QUOTA,
    MAX_RETRY_AFTER,
    MAX_TOOL_CALL_BYTES,
    MAX_TOOL_CALLS,
    validate_reply,
)
from agenthive.core.model.calls import (
    MOST_CALL_COST,
    MOST_TOKENS,
    Fault,
    Headroom,
    Reply,
    ToolCall,
    Usage,
)
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
    ("usage", "problem"),
    [
        (Usage(input_tokens=-1), "input_tokens is -1"),
        (Usage(cost=-5, output_tokens=7), "cost is -5"),
        (Usage(output_tokens="many"), "is malformed"),  # type: ignore[arg-type]
        (Usage(model=3), "is malformed"),  # type: ignore[arg-type]
        (Usage(input_tokens=MOST_TOKENS + 1), "input_tokens is 1000000001"),
        (Usage(input_tokens=10**15), "input_tokens is 1000000000000000"),
        (Usage(output_tokens=2**63), f"output_tokens is {2**63}"),
        (Usage(reasoning_tokens=2**70), f"reasoning_tokens is {2**70}"),
        (Usage(reasoning_tokens=10**5000), "is malformed: Exceeds the limit"),
        (Usage(cache_read_tokens=-1), "cache_read_tokens is -1"),
        (Usage(cache_write_tokens=10**10), "cache_write_tokens is 10000000000"),
        (Usage(cost=MOST_CALL_COST + 1), "cost is 1000000000000001"),
        (Usage(cost=2**63), f"cost is {2**63}"),
    ],
)
def test_usage_that_makes_no_sense_is_unknown(usage: Usage, problem: str) -> None:
    reply = validate_reply(Reply(result=1, usage=usage))
    assert (reply.result, reply.fault) == (1, None)
    assert reply.usage is not None
    assert reply.usage.is_unknown
    assert reply.usage.cost is None
    assert problem in reply.usage.problem


def test_the_largest_usage_passes_and_its_texts_are_cut() -> None:
    largest = Usage(
        model="m",
        input_tokens=MOST_TOKENS,
        output_tokens=MOST_TOKENS,
        cache_read_tokens=MOST_TOKENS,
        cache_write_tokens=MOST_TOKENS,
        reasoning_tokens=MOST_TOKENS,
        cost=MOST_CALL_COST,
    )
    assert validate_reply(Reply(result=1, usage=largest)).usage == largest
    long = Usage(model="m" * 10**6, prices="p" * 10**6, problem="?" * 10**6, output_tokens=1)
    usage = validate_reply(Reply(result=1, usage=long)).usage
    assert usage is not None
    assert (len(usage.model), len(usage.prices), len(usage.problem)) == (200, 200, 500)


@pytest.mark.parametrize(
    ("delay", "kept"),
    [
        (0, 0.0),
        (7.5, 7.5),
        (1e300, MAX_RETRY_AFTER),
        (10**400, MAX_RETRY_AFTER),
        (2**63, MAX_RETRY_AFTER),
        (-1, None),
        (math.nan, None),
        (math.inf, None),
        ("9", None),
        (True, None),
    ],
)
def test_a_delay_is_bounded(delay: Any, kept: float | None) -> None:
    fault = validate_reply(Reply(fault=Fault(kind="lost", message="x", retry_after=delay))).fault
    assert fault is not None
    assert (fault.kind, fault.retry_after) == ("lost", kept)


def test_what_is_left_is_bounded() -> None:
    large = Headroom(requests=2**70, tokens=10**15, within=3.0)
    kept = validate_reply(Reply(result=1, headroom=large)).headroom
    assert kept == Headroom(requests=MAX_QUOTA, tokens=MAX_QUOTA, within=3.0)
    half = Headroom(tokens=2**63, within=3.0)
    kept = validate_reply(Reply(result=1, headroom=half)).headroom
    assert kept == Headroom(tokens=MAX_QUOTA, within=3.0)


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
