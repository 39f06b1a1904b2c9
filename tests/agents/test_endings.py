"""How answers end, through real runs and a real server: no bad end is a success, none is unbooked.

Each answer is a vendor's own, whole and as a stream. The server counts what it is asked.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from agenthive import AgentRegistry, Hive, RunReport
from agenthive.agents.llm.endings import Ending, find_bad_end, finish_reason
from agenthive.agents.llm.offline import OfflineAgent
from agenthive.agents.llm.prices import Prices
from agenthive.core.journal import run_events as ev
from agenthive.core.model.calls import Call, Fault, Usage
from agenthive.core.model.workflow import (
    AgentSpec,
    BudgetSpec,
    Effect,
    FallbackSpec,
    TaskSpec,
    ToolSpec,
    WorkflowSpec,
)
from agenthive.core.policies.fault_classes import FaultClass
from agenthive.core.policies.retry import RetryPolicy
from agenthive.infra import price_list
from tests.agents.rude_model import RudeModel, asked, http

VENDORS = ("openai", "anthropic")
COUNTS: dict[str, Any] = {
    "prompt_tokens": 10,
    "completion_tokens": 5,
    "input_tokens": 10,
    "output_tokens": 5,
}
PRICE = price_list.parse_prices({"m-1": {"input": 1, "output": 1}})
CALL = {"name": "send", "arguments": {"to": "a"}}
SEND = ToolSpec(name="send", agent="hands", action="send", effect=Effect.ONCE)
Answer = Callable[[int, dict[str, Any]], dict[str, Any]]


def chat(
    vendor: str,
    text: str | None,
    end: str | None,
    *,
    calls: list[dict[str, Any]] | None = None,
    usage: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A whole answer of a vendor."""
    counts = COUNTS if usage is None else usage
    if vendor == "anthropic":
        blocks: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
        blocks += [
            {"type": "tool_use", "id": f"t{i}", "name": call["name"], "input": call["arguments"]}
            for i, call in enumerate(calls or [])
        ]
        return {"model": "m-1", "content": blocks, "stop_reason": end, "usage": counts}
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = [
            {
                "id": f"t{i}",
                "type": "function",
                "function": {"name": call["name"], "arguments": json.dumps(call["arguments"])},
            }
            for i, call in enumerate(calls)
        ]
    choice = {"message": message, "finish_reason": end}
    return {"model": "m-1", "choices": [choice], "usage": counts}


def streamed(vendor: str, whole: dict[str, Any]) -> bytes:
    """The same answer as a stream of events."""
    if vendor == "openai":
        (choice,) = whole["choices"]
        calls = choice["message"].get("tool_calls", [])
        delta = choice["message"] | (
            {"tool_calls": [call | {"index": i} for i, call in enumerate(calls)]} if calls else {}
        )
        chunks: list[Any] = [
            {"model": "m-1", "choices": [{"index": 0, "delta": delta}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]},
            {"choices": [], "usage": whole["usage"]},
        ]
        text = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    else:
        events: list[dict[str, Any]] = [
            {"type": "message_start", "message": whole | {"content": [], "stop_reason": None}}
        ]
        for index, block in enumerate(whole["content"]):
            events.append({"type": "content_block_start", "index": index, "content_block": block})
            events.append({"type": "content_block_stop", "index": index})
        events.append({"type": "message_delta", "delta": {"stop_reason": whole["stop_reason"]}})
        events.append({"type": "message_stop"})
        text = "".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in events)
    head = f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {len(text)}"
    return f"{head}\r\n\r\n{text}".encode()


def workflow(server: RudeModel, vendor: str, task: dict[str, Any], **more: Any) -> WorkflowSpec:
    parameters = {"messages": [{"role": "user", "content": "hello"}], **more.pop("parameters", {})}
    custom = {"provider": vendor, "model": "m-1", "max_tokens": 100, **more.pop("custom", {})}
    model = AgentSpec(
        name="model",
        type="ai_agent",
        endpoint=f"http://{server.host}",
        custom_params=custom,
        retry=RetryPolicy(max_attempts=3, initial_delay=0.01, jitter=False),
        **more.pop("agent", {}),
    )
    hands = AgentSpec(name="hands", type="custom", endpoint="custom://hands")
    ask = TaskSpec(
        name="ask", agent="model", action="chat_completion", parameters=parameters, **task
    )
    return WorkflowSpec(name="w", agents=(model, hands), tasks=(ask,), **more)


class Outcome(msgspec.Struct):
    report: RunReport
    #: The requests to the model, by their bodies.
    bodies: list[dict[str, Any]]
    #: The keys of the requests.
    keys: list[str]
    #: The calls of the tool.
    calls: list[Call]
    fault: Fault | None
    usages: list[Usage | None]


async def play(
    vendor: str, answer: Answer, *, stream: bool = False, task: Any = None, **more: Any
) -> Outcome:
    calls: list[Call] = []

    async def hands(call: Call) -> str:
        calls.append(call)
        return "sent"

    def script(body: dict[str, Any]) -> bytes:
        whole = answer(len(server.bodies), body)
        return streamed(vendor, whole) if body.get("stream") else http(200, whole)

    async with RudeModel(script) as server:
        parameters = more.pop("parameters", {}) | ({"stream": True} if stream else {})
        spec = workflow(server, vendor, task or {}, parameters=parameters, **more)
        async with Hive.open(agents=AgentRegistry(prices=Prices(PRICE))) as hive:
            hive.agents.register("hands", hands)
            run = await hive.submit(spec)
            report = await hive.wait(run)
            events = [
                event
                for record in await hive.journal.read_records(run)
                for event in ev.decode_run_events(record.payload)
            ]
    ends = [event for event in events if isinstance(event, ev.TaskFailed | ev.TaskSucceeded)]
    ends = [event for event in ends if "[" not in event.task]
    faults = [event.fault for event in ends if isinstance(event, ev.TaskFailed)]
    return Outcome(
        report,
        server.bodies,
        server.keys,
        calls,
        faults[-1] if faults else None,
        [event.usage for event in ends],
    )


BAD_ENDS = [
    ("length", "a part", "cut_off"),
    ("max_tokens", "a part", "cut_off"),
    ("MAX_TOKENS", "a part", "cut_off"),
    ("model_context_window_exceeded", "a part", "cut_off"),
    ("length", None, "cut_off"),
    ("content_filter", "a part", "content_filter"),
    ("SAFETY", None, "content_filter"),
    ("refusal", "I will not.", "refusal"),
    ("stop", None, "empty_answer"),
    ("end_turn", " \n", "empty_answer"),
    (None, "", "empty_answer"),
    ("tool_calls", "I call it.", "no_tool_call"),
    ("tool_use", None, "no_tool_call"),
    ("pause_turn", "", "paused"),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(("end", "text", "kind"), BAD_ENDS)
async def test_a_bad_end_is_a_fault_and_is_paid_for(
    vendor: str, stream: bool, end: str | None, text: str | None, kind: str
) -> None:
    if stream and end is None and vendor == "openai":
        pytest.skip("a stream without an end is one that broke off")
    outcome = await play(vendor, lambda n, body: chat(vendor, text, end), stream=stream)
    assert (outcome.report.status, len(outcome.bodies)) == ("failed", 1), "it is not repeated"
    fault = outcome.fault
    assert fault is not None
    assert (fault.kind, fault.class_, fault.counts) == (kind, FaultClass.BAD_END, False)
    assert "m-1" in fault.message
    assert (end or "no finish reason") in fault.message, "what came is named"
    assert [usage and (usage.output_tokens, usage.cost) for usage in outcome.usages] == [
        (5, 15_000)
    ]
    if kind == "cut_off":
        assert "max_tokens" in fault.message
        assert ("It begins: a part" in fault.message) is bool(text)


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(("tokens", "is_cut"), [(99, False), (100, True), (101, True)])
async def test_the_count_of_tokens_shows_that_an_answer_is_cut(
    vendor: str, tokens: int, is_cut: bool
) -> None:
    usage = COUNTS | {"completion_tokens": tokens, "output_tokens": tokens}
    end = {"openai": "stop", "anthropic": "end_turn"}[vendor]
    outcome = await play(vendor, lambda n, body: chat(vendor, "fine", end, usage=usage))
    assert (outcome.report.status == "failed") is is_cut
    if is_cut:
        assert outcome.fault is not None
        assert f"but {tokens} tokens reported" in outcome.fault.message


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("by_count", [False, True])
@pytest.mark.parametrize("vendor", VENDORS)
async def test_no_tool_of_a_cut_turn_is_called_and_the_model_is_told(
    vendor: str, by_count: bool, stream: bool
) -> None:
    usage = COUNTS | ({"completion_tokens": 100, "output_tokens": 100} if by_count else {})
    cut_end = {"openai": "length", "anthropic": "max_tokens"}[vendor]
    call_end = {"openai": "tool_calls", "anthropic": "tool_use"}[vendor]

    def answer(n: int, body: dict[str, Any]) -> dict[str, Any]:
        if n == 1:
            end = call_end if by_count else cut_end
            return chat(vendor, None, end, calls=[CALL, CALL], usage=usage)
        if n == 2:
            return chat(vendor, None, call_end, calls=[CALL])
        return chat(vendor, "done", "stop")

    outcome = await play(vendor, answer, task={"tools": (SEND,)}, stream=stream)
    assert outcome.report.status == "completed"
    assert [call.task for call in outcome.calls] == ["ask~2[0]"], "none of the first turn"
    told = json.dumps(outcome.bodies[1]["messages"][2:])
    assert told.count("your answer was cut off at 100 tokens") == 2
    assert len(outcome.bodies) == 3


async def test_turns_that_are_always_cut_end_at_max_turns() -> None:
    outcome = await play(
        "openai",
        lambda n, body: chat("openai", None, "length", calls=[CALL]),
        task={"tools": (SEND,), "max_turns": 3},
    )
    assert (outcome.report.status, len(outcome.bodies), outcome.calls) == ("failed", 3, [])
    assert "after 3 turns (max_turns)" in str(outcome.report.tasks["ask"].error)


@pytest.mark.parametrize("end", ["content_filter", "refusal", "error"])
async def test_no_tool_of_an_answer_that_ended_badly_is_called(end: str) -> None:
    outcome = await play(
        "openai",
        lambda n, body: chat("openai", None, end, calls=[CALL]),
        task={"tools": (SEND,)},
    )
    assert (outcome.report.status, outcome.calls) == ("failed", [])


async def test_calls_of_a_cut_answer_are_no_result_either() -> None:
    """The parameter ``tools`` returns the calls to the workflow, which would carry them out."""
    outcome = await play(
        "openai",
        lambda n, body: chat("openai", None, "length", calls=[CALL]),
        parameters={"tools": [{"name": "send", "input_schema": {"type": "object"}}]},
        custom={"accept_cut": True},
    )
    assert outcome.report.status == "failed"
    assert "its tool calls may be incomplete" in str(outcome.report.tasks["ask"].error)


@pytest.mark.parametrize("vendor", [*VENDORS, "offline"])
@pytest.mark.parametrize("place", ["parameters", "custom"])
async def test_a_user_may_accept_a_cut_text(vendor: str, place: str) -> None:
    if vendor == "offline":
        spec = AgentSpec(
            name="o",
            type="ai_agent",
            endpoint="offline://extractive",
            custom_params={"accept_cut": True} if place == "custom" else {},
        )
        parameters: dict[str, Any] = {"text": "one two three four five", "max_tokens": 3}
        parameters |= {"accept_cut": True} if place == "parameters" else {}
        said = await OfflineAgent(spec).execute("summarize", parameters)
        assert said.result["content"] == "one two three"
        assert said.result["finish_reason"] == "length"
        return
    more: dict[str, Any] = {place: {"accept_cut": True}}
    outcome = await play(vendor, lambda n, body: chat(vendor, "a part", "length"), **more)
    assert outcome.report.results["ask"] == {
        "content": "a part",
        "model": "m-1",
        "finish_reason": "length",
    }
    assert "accept_cut" not in outcome.bodies[0], "the server does not know it"
    empty = await play(vendor, lambda n, body: chat(vendor, "", "length"), **more)
    assert empty.report.status == "failed", "nothing was cut to nothing"


async def test_json_that_is_cut_is_not_asked_for_again() -> None:
    schema = {"output_schema": {"type": "object"}}
    outcome = await play("openai", lambda n, body: chat("openai", '{"a"', "length"), task=schema)
    assert (outcome.report.status, len(outcome.bodies)) == ("failed", 1)
    outcome = await play(
        "openai", lambda n, body: chat("openai", "" if n == 1 else '{"a": 1}', "stop"), task=schema
    )
    assert (outcome.report.results["ask"], len(outcome.bodies)) == ({"a": 1}, 2)
    assert "its reply is not JSON" in json.dumps(outcome.bodies[1]["messages"])


async def test_the_next_model_takes_over_after_a_bad_end() -> None:
    def answer(n: int, body: dict[str, Any]) -> dict[str, Any]:
        is_first = body["model"] == "m-1"
        return chat(
            "openai", None if is_first else "fine", "content_filter" if is_first else "stop"
        )

    fallback = {"fallback": (FallbackSpec(agent="model", model="m-2"),)}
    outcome = await play("openai", answer, task=fallback)
    assert outcome.report.results["ask"]["content"] == "fine"
    assert [body["model"] for body in outcome.bodies] == ["m-1", "m-2"]


async def test_a_bad_end_is_repeated_where_the_user_says_so() -> None:
    retry = RetryPolicy(
        max_attempts=3, initial_delay=0.01, jitter=False, retry_on=(FaultClass.BAD_END,)
    )
    outcome = await play(
        "openai",
        lambda n, body: chat("openai", "fine" if n == 3 else None, "stop"),
        task={"retry": retry},
    )
    assert (outcome.report.status, len(outcome.bodies)) == ("completed", 3)


async def test_an_answer_that_the_server_broke_off_is_asked_for_again() -> None:
    outcome = await play(
        "openai", lambda n, body: chat("openai", "a part", "error" if n == 1 else "stop")
    )
    assert (outcome.report.status, len(outcome.bodies)) == ("completed", 2)
    assert outcome.fault is not None
    assert (outcome.fault.kind, outcome.fault.class_) == ("unavailable", FaultClass.UNKNOWN)
    assert [usage and usage.cost for usage in outcome.usages] == [15_000, 15_000]


# A model that pauses.

SEARCH = {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("parameters", [{"mcp_servers": [{"type": "url"}]}, SEARCH])
async def test_a_model_that_pauses_continues_by_itself(
    stream: bool, parameters: dict[str, Any]
) -> None:
    outcome = await play(
        "anthropic",
        lambda n, body: chat("anthropic", f"part {n} ", "pause_turn" if n < 3 else "end_turn"),
        parameters=parameters,
        stream=stream,
    )
    assert outcome.report.results["ask"]["content"] == "part 1 part 2 part 3 "
    assert [usage and (usage.input_tokens, usage.cost) for usage in outcome.usages] == [
        (30, 45_000)
    ]
    last = outcome.bodies[2]["messages"]
    assert [message["role"] for message in last] == ["user", "assistant", "assistant"]
    assert last[1]["content"] == [{"type": "text", "text": "part 1 "}]
    assert len(set(outcome.keys)) == 3, "another request has another key"


async def test_a_model_that_pauses_for_ever_is_stopped() -> None:
    outcome = await play(
        "anthropic",
        lambda n, body: chat("anthropic", "more ", "pause_turn"),
        parameters=SEARCH,
    )
    assert (outcome.report.status, len(outcome.bodies)) == ("failed", 10)
    assert outcome.fault is not None
    assert (outcome.fault.kind, outcome.fault.class_) == ("paused", FaultClass.BAD_END)
    assert outcome.usages[0] is not None
    assert outcome.usages[0].cost == 150_000, "every request is booked"


async def test_a_pause_among_turns_is_a_turn() -> None:
    def answer(n: int, body: dict[str, Any]) -> dict[str, Any]:
        if n == 2:
            return chat("anthropic", None, "tool_use", calls=[CALL])
        return chat("anthropic", f"part {n}", "pause_turn" if n == 1 else "end_turn")

    outcome = await play("anthropic", answer, task={"tools": (SEND,)})
    assert (outcome.report.status, len(outcome.calls)) == ("completed", 1)
    second = outcome.bodies[1]["messages"]
    assert second[-1] == {"role": "assistant", "content": [{"type": "text", "text": "part 1"}]}
    forever = await play(
        "anthropic",
        lambda n, body: chat("anthropic", "more", "pause_turn"),
        task={"tools": (SEND,), "max_turns": 4},
    )
    assert (forever.report.status, len(forever.bodies), forever.calls) == ("failed", 4, [])


async def test_a_pause_costs_no_more_than_is_held() -> None:
    """Without tools of the vendor's the price is known, and what is held covers one request."""
    outcome = await play(
        "anthropic",
        lambda n, body: chat("anthropic", "more ", "pause_turn"),
        budget=BudgetSpec(limit=10**9),
    )
    assert (outcome.report.status, len(outcome.bodies)) == ("failed", 1)
    assert "covers one request" in str(outcome.report.tasks["ask"].error)


@pytest.mark.parametrize(
    ("status", "kind", "class_", "booked"),
    [
        (400, "refused", FaultClass.BAD_END, 15_000),
        (500, "unavailable", FaultClass.UNKNOWN, None),
    ],
)
async def test_a_continuation_that_fails_keeps_what_was_spent(
    status: int, kind: str, class_: FaultClass, booked: int | None
) -> None:
    def script(body: dict[str, Any]) -> bytes:
        if len(server.bodies) == 1:
            return http(200, chat("anthropic", "part", "pause_turn"))
        return http(status, {"error": {"message": "no"}})

    async with RudeModel(script) as server:
        spec = workflow(server, "anthropic", {}).agents[0]
        agent = AgentRegistry(prices=Prices(PRICE)).find_agent(spec)
        reply = await agent.perform(asked(**SEARCH))
        await agent.close()
    assert reply.fault is not None
    assert (reply.fault.kind, reply.fault.class_) == (kind, class_)
    assert (reply.usage and reply.usage.cost) == booked


# The judgement itself.


def test_vendors_words_for_the_same_end() -> None:
    assert {finish_reason(word) for word in ("", "stop", "END_TURN", "eos", " Stop ")} == {"stop"}
    assert {finish_reason(word) for word in ("Max-Tokens", "model_length", "LENGTH")} == {"length"}
    assert finish_reason("a word of next year") == "a word of next year"


@pytest.mark.parametrize("tokens", [None, 0, 99])
def test_an_answer_with_what_it_should_hold_is_none_of_these(tokens: int | None) -> None:
    for more in ({"content": "x"}, {"content": None, "tool_calls": 1}):
        for word in ("", "stop", "a word of next year"):
            ending = Ending(word=word, max_tokens=100, output_tokens=tokens, **more)  # type: ignore[arg-type]
            assert find_bad_end(ending, "m") is None


def test_a_message_is_bounded_whatever_the_server_says() -> None:
    ending = Ending(word="length" * 9000, content="x\n" * 9000, refusal="y" * 9000, max_tokens=1)
    fault = find_bad_end(ending, "m")
    assert fault is not None
    assert len(fault.message) < 500


async def test_the_offline_model_is_judged_as_well() -> None:
    agent = OfflineAgent(AgentSpec(name="o", type="ai_agent", endpoint="offline://extractive"))
    call = msgspec.structs.replace(
        asked(), action="summarize", parameters={"text": "a b c d", "max_tokens": 2}
    )
    cut = (await agent.perform(call)).fault
    assert cut is not None
    assert (cut.kind, cut.class_) == ("cut_off", FaultClass.BAD_END)
    whole = await agent.perform(
        msgspec.structs.replace(call, parameters={"text": " ".join(["word"] * 300)})
    )
    assert whole.fault is None, "nobody asked for a shorter one"
    bare = await agent.perform(msgspec.structs.replace(call, parameters={}))
    assert bare.result["content"] == "summarize.", "its whole input"  # type: ignore[index,call-overload]
    empty = (await agent.perform(asked(" "))).fault
    assert empty is not None
    assert empty.kind == "empty_answer"
