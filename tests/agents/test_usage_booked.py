"""What is booked for the usage that a server reports, also beside an answer of no use."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agenthive.agents.llm.prices import Prices
from agenthive.core.model.calls import Reply, Usage
from agenthive.infra.price_list import parse_prices
from tests.agents.rude_model import RudeModel, answer, asked, http

OPENAI = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
ANTHROPIC = {"input_tokens": 100, "output_tokens": 50}
COST = {"openai": 100 * 2500 + 50 * 10_000, "anthropic": 100 * 3000 + 50 * 15_000}
MODELS = {"openai": "gpt-4o", "anthropic": "claude-sonnet-4-5"}


async def reply_of(vendor: str, response: bytes, **parameters: Any) -> Reply:
    async with RudeModel(lambda body: response) as server:
        agent = server.agent(vendor, prices=vendor, model=MODELS[vendor])
        reply = await agent.perform(asked(**parameters))
        await agent.close()
    return reply


def events(*lines: Any) -> bytes:
    text = "".join(f"event: {line.get('type', '')}\ndata: {json.dumps(line)}\n\n" for line in lines)
    head = f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {len(text)}"
    return f"{head}\r\n\r\n{text}".encode()


@pytest.mark.parametrize(
    "broken",
    [
        {"choices": []},
        {"choices": None},
        {"choices": [{"message": None}]},
        {"choices": [{"message": {"content": 7}}]},
        {"error": {"message": "oops"}},
    ],
)
async def test_an_answer_that_cannot_be_read_is_paid_for(broken: dict[str, Any]) -> None:
    reply = await reply_of("openai", http(200, {"model": "gpt-4o", "usage": OPENAI, **broken}))
    assert reply.fault is not None
    assert reply.fault.kind == ("unavailable" if "error" in broken else "invalid_reply")
    assert reply.usage is not None
    assert reply.usage.cost == COST["openai"]


async def test_json_that_is_none_is_paid_for_where_a_lenient_reader_finds_the_usage() -> None:
    text = json.dumps(answer("openai", "ok", model="gpt-4o", usage=OPENAI))
    twice = text.replace('"model"', '"model": "x", "model"')
    for body in (twice, text.replace('"ok"', "NaN")):
        reply = await reply_of("openai", http(200, body))
        assert reply.fault is not None
        assert reply.usage is not None
        assert reply.usage.cost == COST["openai"]
    reply = await reply_of("openai", http(200, text[:-9]))
    assert reply.fault is not None
    assert reply.usage is None, "nothing can be read: the hold stays"


async def test_nothing_is_booked_as_free_beside_an_unreadable_answer() -> None:
    for usage in ({}, {"prompt_tokens": 0, "completion_tokens": 0}, "many", [1]):
        reply = await reply_of("openai", http(200, {"choices": [], "usage": usage}))
        assert (reply.usage, reply.fault is None) == (None, False)


async def test_fees_are_booked_by_the_list_or_the_cost_is_unknown() -> None:
    searches = {**ANTHROPIC, "server_tool_use": {"web_search_requests": 5}}
    reply = await reply_of("anthropic", http(200, answer("anthropic", usage=searches)))
    assert reply.usage is not None
    assert reply.usage.cost is None, "the model m-1 has no price"
    said = answer("anthropic", usage=searches, model="claude-sonnet-4-5")
    reply = await reply_of("anthropic", http(200, said))
    assert reply.usage is not None
    assert reply.usage.cost == COST["anthropic"] + 5 * 10_000_000
    other = {**ANTHROPIC, "server_tool_use": {"tool_of_tomorrow": 2}}
    reply = await reply_of("anthropic", http(200, {**said, "usage": other}))
    assert reply.usage is not None
    assert reply.usage.cost is None
    assert reply.usage.problem == "no price list has a price for 2 tool_of_tomorrow"
    container = {"container": {"id": "c"}, "usage": ANTHROPIC}
    reply = await reply_of("anthropic", http(200, {**said, **container}))
    assert reply.usage is not None
    assert (reply.usage.cost, "code_containers" in reply.usage.problem) == (None, True)


def test_published_tables_without_a_price_for_a_fee() -> None:
    used = Usage(model="claude-3-haiku", input_tokens=100, output_tokens=50)
    assert Prices().compute_cost(used, "anthropic") is not None
    assert Prices().compute_cost(used, "anthropic", fees={"web_searches": 1}) is None


def test_the_price_list_of_the_operator_has_fees() -> None:
    rates = {"input": 1, "output": 2, "fees": {"web_searches": 10, "images": 40}}
    prices = Prices(parse_prices({"m": rates}))
    used = Usage(model="m", input_tokens=1000, output_tokens=1000)
    assert prices.compute_cost(used, "x") == 3_000_000
    assert prices.compute_cost(used, "x", fees={"web_searches": 3}) == 3_000_000 + 30_000_000
    assert prices.compute_cost(used, "x", fees={"web_searches": 1, "audio": 1}) is None
    for fees in ({"a": -1}, {"a": 10**400}, {"a": "1"}, [], {str(n): 1 for n in range(21)}):
        with pytest.raises(ValueError, match="of 'm'"):
            parse_prices({"m": {**rates, "fees": fees}})


async def test_images_are_told_as_unpriced() -> None:
    message = {"content": "here", "images": [{"type": "image_url"}, {"type": "image_url"}]}
    choice = {"message": message, "finish_reason": "stop"}
    said = answer("openai", model="gpt-4o", choices=[choice], usage=OPENAI)
    reply = await reply_of("openai", http(200, said))
    assert reply.usage is not None
    assert reply.usage.problem == "no price list has a price for 2 images"


@pytest.mark.parametrize(
    ("usages", "counts"),
    [
        ([{"input_tokens": 100, "output_tokens": 1}, {"output_tokens": 50}], (100, 50)),
        (
            [
                {"input_tokens": 100, "output_tokens": 1},
                {"input_tokens": 0, "output_tokens": 50},
                {"output_tokens": 0},
            ],
            (100, 50),
        ),
        # The 1 at the start is a beginning, and the answer is longer; 500 is no beginning.
        ([{"input_tokens": 100, "output_tokens": 1}, {"output_tokens": 0}], None),
        ([{"input_tokens": 100, "output_tokens": 500}, {"output_tokens": 0}], (100, 500)),
        ([{"input_tokens": 100, "output_tokens": 1}, {"output_tokens": "50"}], None),
        ([{"input_tokens": 100, "output_tokens": 1}], None),
        ([{"input_tokens": 100, "output_tokens": 1}, {"output_tokens": None}], None),
    ],
)
async def test_the_usages_of_a_stream(usages: list[Any], counts: tuple[int, int] | None) -> None:
    start, *deltas = usages
    message = {"model": "claude-sonnet-4-5", "content": [], "usage": start}
    block = {"type": "text", "text": "ok"}
    lines = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 2**70, "content_block": block},
        *(
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}
            for usage in deltas
        ),
        {"type": "message_stop"},
    ]
    reply = await reply_of("anthropic", events(*lines), stream=True)
    assert reply.fault is None
    assert reply.usage is not None
    if counts is None:
        assert reply.usage.is_unknown
        assert reply.usage.cost is None
    else:
        assert (reply.usage.input_tokens, reply.usage.output_tokens) == counts


async def test_groq_reports_the_usage_of_a_stream_in_a_field_of_its_own() -> None:
    chunk = {"model": "gpt-4o", "choices": [{"delta": {"content": "ok"}, "finish_reason": "stop"}]}
    last = {"choices": [], "x_groq": {"usage": OPENAI}}
    reply = await reply_of("openai", events(chunk, last), stream=True)
    assert reply.usage is not None
    assert reply.usage.cost == COST["openai"]


@pytest.mark.parametrize("total", [None, 100])
@pytest.mark.parametrize(
    ("vendor", "said"),
    [
        ("openai", {"message": {"content": "", "reasoning_content": "hm"}}),
        ("openai", {"message": {"content": None, "reasoning": "hm"}, "finish_reason": "stop"}),
        ("openai", {"message": {"content": ""}, "finish_reason": "length"}),
        ("openai", {"message": {"content": "ok"}, "finish_reason": "stop"}),
        ("anthropic", {"content": [{"type": "thinking", "thinking": "hm"}]}),
        ("anthropic", {"content": [{"type": "redacted_thinking", "data": "aG0="}]}),
        ("anthropic", {"content": [], "stop_reason": "max_tokens"}),
    ],
)
async def test_nothing_that_a_model_wrote_is_free(
    vendor: str, said: dict[str, Any], total: int | None
) -> None:
    """Reasoning and answers that were cut off before their text have tokens, shown or not."""
    usage = {"input_tokens": 100, "output_tokens": 0}
    parts: dict[str, Any] = said
    if vendor == "openai":
        usage = {"prompt_tokens": 100, "completion_tokens": 0}
        parts = {"choices": [said]}
    body = answer(vendor, model=MODELS[vendor], usage={**usage, "total_tokens": total}) | parts
    reply = await reply_of(vendor, http(200, body))
    assert reply.usage is not None
    assert reply.usage.at_least if total else reply.usage.is_unknown


def text_chunk(text: str, usage: Any = None, **delta: Any) -> dict[str, Any]:
    choice = {"delta": {"content": text, **delta}, "finish_reason": None}
    return {"model": "gpt-4o", "choices": [choice], "usage": usage}


EARLY = {"prompt_tokens": 100, "completion_tokens": 1, "total_tokens": 101}
LAST_CHUNK = {"model": "gpt-4o", "choices": [{"delta": {}, "finish_reason": "stop"}]}


@pytest.mark.parametrize(
    ("chunks", "output"),
    [
        ([text_chunk("a", EARLY), text_chunk("b"), LAST_CHUNK], None),
        ([{"choices": [], "usage": EARLY}, text_chunk("a"), LAST_CHUNK], None),
        ([text_chunk("a", EARLY), text_chunk("b", {"completion_tokens": 0}), LAST_CHUNK], None),
        ([text_chunk("a", EARLY), text_chunk("", reasoning_content="b"), LAST_CHUNK], None),
        ([text_chunk("a", EARLY), text_chunk("b", OPENAI), LAST_CHUNK], 50),
        ([text_chunk("a", EARLY), text_chunk("b"), LAST_CHUNK | {"usage": OPENAI}], 50),
        ([text_chunk("a"), LAST_CHUNK, {"choices": [], "usage": OPENAI}], 50),
        ([text_chunk("a", EARLY), LAST_CHUNK], 1),
        ([text_chunk("a", OPENAI), LAST_CHUNK | {"usage": {"completion_tokens": 0}}], 50),
    ],
)
async def test_a_count_before_the_end_of_a_stream_is_a_beginning(
    chunks: list[Any], output: int | None
) -> None:
    reply = await reply_of("openai", events(*chunks), stream=True)
    assert reply.fault is None
    assert reply.usage is not None
    if output is None:
        assert reply.usage.is_unknown
    else:
        assert reply.usage.output_tokens == output


async def test_sound_is_not_booked_at_the_price_of_text() -> None:
    usage = {**OPENAI, "completion_tokens_details": {"audio_tokens": 40}}
    reply = await reply_of("openai", http(200, answer("openai", model="gpt-4o", usage=usage)))
    assert reply.usage is not None
    assert reply.usage.cost is None
    assert "no price list has a price for 40 output_audio_tokens" in reply.usage.problem
