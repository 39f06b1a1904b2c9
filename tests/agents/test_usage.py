"""How the usage that a server reports is read: a table of odd ones, and what holds for any."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agenthive.agents.llm.usage import LONGEST_TOKEN, SPELLINGS, merge_usage, read_count, read_usage
from agenthive.core.model.calls import MOST_TOKENS, Usage

Counts = tuple[int, int, int, int, int]
"""Input, output, cache reads, cache writes, reasoning."""


def chat(prompt: Any, completion: Any, total: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": total,
        **more,
    }


def details(reasoning: Any) -> dict[str, Any]:
    return {"completion_tokens_details": {"reasoning_tokens": reasoning}}


def cached(count: Any) -> dict[str, Any]:
    return {"prompt_tokens_details": {"cached_tokens": count}}


def counts_of(usage: Usage) -> Counts:
    return (
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
    )


KNOWN: dict[str, tuple[dict[str, Any], Counts]] = {
    "plain": (chat(200, 500, 700), (200, 500, 0, 0, 0)),
    "without a total": (chat(200, 500), (200, 500, 0, 0, 0)),
    "whole floats": (chat(200.0, 500.0, 700.0), (200, 500, 0, 0, 0)),
    "responses": ({"input_tokens": 13, "output_tokens": 59}, (13, 59, 0, 0, 0)),
    "reasoning within": (chat(10, 75, 85, **details(70)), (10, 75, 0, 0, 70)),
    "reasoning apart": (chat(10, 5, 85, **details(70)), (10, 75, 0, 0, 70)),
    "reasoning apart, no total": (chat(10, 5, **details(70)), (10, 75, 0, 0, 70)),
    "reasoning beside a total": (chat(10, 5, 15, **details(70)), (10, 75, 0, 0, 70)),
    "reasoning only in the total": (chat(10, 5, 85), (10, 75, 0, 0, 0)),
    "a total that is too small": (chat(200, 500, 300), (200, 500, 0, 0, 0)),
    "a total of 0": (chat(200, 500, 0), (200, 500, 0, 0, 0)),
    "a total that is a text": (chat(200, 500, "700"), (200, 500, 0, 0, 0)),
    "no output but a total": (chat(200, None, 700), (200, 500, 0, 0, 0)),
    "an output that is a text": (chat(200, "500", 700), (200, 500, 0, 0, 0)),
    "0 input, as the total says": (chat(0, 180, 180), (0, 180, 0, 0, 0)),
    "cached (OpenAI)": (chat(100, 5, 105, **cached(90)), (100, 5, 90, 0, 0)),
    "cached (DeepSeek)": (chat(100, 5, 105, prompt_cache_hit_tokens=90), (100, 5, 90, 0, 0)),
    "cached (Moonshot)": (chat(100, 5, 105, cached_tokens=90), (100, 5, 90, 0, 0)),
    "cached (Mistral)": (chat(100, 5, 105, num_cached_tokens=90), (100, 5, 90, 0, 0)),
    "cached (LiteLLM)": (
        chat(100, 5, 105, cache_read_input_tokens=60, cache_creation_input_tokens=30),
        (100, 5, 60, 30, 0),
    ),
    "cached (OpenRouter)": (
        chat(100, 5, 105, prompt_tokens_details={"cached_tokens": 60, "cache_write_tokens": 30}),
        (100, 5, 60, 30, 0),
    ),
    "cached, spelled twice": (
        chat(100, 5, 105, cached_tokens=90, **cached(0)),
        (100, 5, 90, 0, 0),
    ),
    "cached, spelled differently": (
        chat(100, 5, 105, cached_tokens=90, **cached(10)),
        (100, 5, 10, 0, 0),
    ),
    "cached, written and read": (
        chat(
            2168,
            100,
            2268,
            prompt_tokens_details={"cached_tokens": 2161, "cache_write_tokens": 2161},
        ),
        (2168, 100, 7, 2161, 0),
    ),
    "cached is a text": (chat(100, 5, 105, **cached("90")), (100, 5, 0, 0, 0)),
    "cached apart, as the total says": (chat(100, 5, 1005, **cached(900)), (1000, 5, 900, 0, 0)),
    "reasoning that is too large": (chat(10, 5, 85, **details(10**15)), (10, 75, 0, 0, 0)),
}

UNKNOWN: dict[str, tuple[Any, str]] = {
    "empty": ({}, "it has no prompt_tokens"),
    "null": (chat(None, None), "it has no prompt_tokens"),
    "texts": (chat("200", "500"), "prompt_tokens is a text"),
    "negative": (chat(-1, -1), "prompt_tokens is -1"),
    "a negative output": (chat(200, -5), "completion_tokens is -5"),
    "booleans": (chat(True, True), "prompt_tokens is true or false"),
    "a fraction": (chat(200, 0.5), "completion_tokens is 0.5"),
    "infinite": (chat(200, math.inf), "completion_tokens is inf"),
    "no number": (chat(200, math.nan), "completion_tokens is nan"),
    "zeros": (chat(0, 0, 0), "the usage is unknown"),
    "0 output": (chat(200, 0), "there is an answer"),
    "0 input": (chat(0, 500), "a prompt was sent"),
    "only a total": ({"total_tokens": 700}, "it has no prompt_tokens"),
    "no output": ({"prompt_tokens": 200}, "it has no completion_tokens"),
    "no output, no rest": (chat(200, None, 200), "it has no completion_tokens"),
    "more cached than input": (chat(100, 5, 105, **cached(900)), "900 cached tokens are more"),
    "more cached, no total": (chat(100, 5, **cached(900)), "900 cached tokens are more"),
    "10^15": (chat(10, 10**15), "completion_tokens is 1000000000000000, more than"),
    "2^63": (chat(2**63, 5), "prompt_tokens is 9223372036854775808, more than"),
    "2^70 cache writes": (chat(10, 5, cache_creation_input_tokens=2**70), "more than"),
    "thousands of digits": (chat(10**5000, 5), "a number of 16610 bits"),
    "a sum that is too large": (chat(10**9, 10**9, **details(10**9)), None),
    "a list": ([1, 2], "usage is a list"),
    "a text": ("many", "usage is a text"),
    "details that are a list": (chat(10, 5, cache_creation_input_tokens=[1]), "is a list"),
}


@pytest.mark.parametrize(("reported", "counts"), KNOWN.values(), ids=KNOWN)
def test_what_is_read(reported: dict[str, Any], counts: Counts) -> None:
    read = read_usage(reported, "m", answer_length=2)
    assert read is not None
    assert (counts_of(read.usage), read.usage.is_unknown) == (counts, False)


def test_a_zero_that_the_total_confirms_is_the_least() -> None:
    read = read_usage(chat(1000, 0, 1000, **cached(900)), "m", answer_length=2)
    assert read is not None
    assert counts_of(read.usage) == (1000, 0, 900, 0, 0)
    assert read.usage.at_least
    assert "there is an answer" in read.usage.problem
    long = read_usage(chat(1000, 0, 1000), "m", answer_length=LONGEST_TOKEN)
    assert long is not None
    assert long.usage.is_unknown, "a long answer cannot be without tokens"
    nothing = read_usage(chat(1000, 0, 1000), "m")
    assert nothing is not None
    assert not nothing.usage.at_least, "no answer needs no token"


@pytest.mark.parametrize(("reported", "problem"), UNKNOWN.values(), ids=UNKNOWN)
def test_what_is_unknown(reported: Any, problem: str | None) -> None:
    read = read_usage(reported, "m", answer_length=2)
    assert read is not None
    if problem is None:
        assert read.usage.output_tokens == MOST_TOKENS
        return
    assert read.usage.is_unknown
    assert counts_of(read.usage) == (0, 0, 0, 0, 0)
    assert problem in read.usage.problem


def test_what_is_not_reported_is_none() -> None:
    assert read_usage(None, "m", answer_length=2) is None


def test_anthropic_counts_caches_apart() -> None:
    reported = {
        "input_tokens": 50,
        "output_tokens": 400,
        "cache_read_input_tokens": 3000,
        "cache_creation_input_tokens": 700,
        "cache_creation": {"ephemeral_5m_input_tokens": 500, "ephemeral_1h_input_tokens": 200},
    }
    read = read_usage(reported, "m", cached_apart=True)
    assert read is not None
    assert counts_of(read.usage) == (3750, 400, 3000, 700, 0)
    assert read.hour_writes == 200
    larger = {**reported, "cache_creation_input_tokens": 0}
    read = read_usage(larger, "m", cached_apart=True)
    assert read is not None
    assert read.usage.cache_write_tokens == 700, "the parts are more than their sum"
    for name in ("cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens"):
        for value in ("9", -1, 2**63):
            read = read_usage({**reported, name: value}, "m", cached_apart=True)
            assert read is not None
            assert read.usage.is_unknown, "without it the sum is not known"


def test_an_answer_has_at_least_a_token_for_its_length() -> None:
    for total in (None, 201):
        long = read_usage(chat(200, 1, total), "m", answer_length=2 * LONGEST_TOKEN)
        assert long is not None
        assert long.usage.is_unknown
        short = read_usage(chat(200, 1, total), "m", answer_length=2 * LONGEST_TOKEN - 1)
        assert short is not None
        assert not short.usage.is_unknown
    for tokens, is_unknown in ((3, True), (4, False)):
        cut = read_usage(chat(tokens, 5), "m", prompt_length=4 * LONGEST_TOKEN)
        assert cut is not None
        assert cut.usage.is_unknown is is_unknown, "so has a prompt"
    nothing = read_usage(chat(200, 0), "m")
    assert nothing is not None
    assert counts_of(nothing.usage) == (200, 0, 0, 0, 0), "no answer needs no token"


@pytest.mark.parametrize(
    ("more", "fees"),
    [
        ({"server_tool_use": {"web_search_requests": 5}}, {"web_searches": 5}),
        ({"server_tool_use": {"web_search_requests": 0, "web_fetch_requests": 2}}, {}),
        ({"server_tool_use": None}, {}),
        ({"server_tool_use": {"tool_of_tomorrow": 3}}, {"tool_of_tomorrow": 3}),
        ({"server_tool_use": {"web_search_requests": "5"}}, {"web_searches": 1}),
        ({"server_tool_use": "5"}, {"server_tool_use": 1}),
        (
            {"server_tool_use_details": {"web_search_requests": 1, "tool_calls_executed": 1}},
            {"web_searches": 1},
        ),
        ({"server_tool_use_details": {"tool_calls_executed": 2}}, {"tool_calls_executed": 2}),
        (
            {"num_search_queries": 21, "citation_tokens": 9},
            {"web_searches": 21, "citation_tokens": 9},
        ),
        ({"num_sources_used": 4}, {"search_sources": 4}),
        (
            {
                "prompt_tokens_details": {"audio_tokens": 8},
                "completion_tokens_details": {"audio_tokens": 3},
            },
            {"input_audio_tokens": 8, "output_audio_tokens": 3},
        ),
        ({"prompt_tokens_details": {"audio_tokens": 0}}, {}),
        ({"prompt_tokens_details": {"audio_tokens": "8"}}, {"input_audio_tokens": 1}),
    ],
)
def test_what_is_charged_for_beside_tokens(more: dict[str, Any], fees: dict[str, int]) -> None:
    read = read_usage(chat(10, 5, 15, **more), "m", answer_length=2)
    assert read is not None
    assert (read.fees, read.usage.output_tokens) == (fees, 5)


def test_texts_are_cut() -> None:
    tools = {f"{'x' * 1000}{number}": "?" for number in range(1000)}
    read = read_usage(chat("a", "b", server_tool_use=tools), "m" * 1000)
    assert read is not None
    assert len(read.usage.problem) <= 500
    assert (len(read.usage.model), len(read.fees)) == (200, 1)


@pytest.mark.parametrize(
    ("usages", "merged"),
    [
        ([{"a": 5}, {"a": 0}], {"a": 5}),
        ([{"a": 5}, {"a": 9}], {"a": 9}),
        ([{"a": 5}, {"a": None, "b": 1}], {"a": 5, "b": 1}),
        ([{"a": 5}, {"a": "9"}], {"a": "9"}),
        ([{"a": 5}, {"a": -1}], {"a": -1}),
        ([{"d": {"a": 5}}, {"d": {"a": 0, "b": 2}}], {"d": {"a": 5, "b": 2}}),
        ([{"d": {"a": 5}}, {"d": None}], {"d": {"a": 5}}),
        ([{"a": 5}, None], {"a": 5}),
        ([None, {"a": 5}], {"a": 5}),
        ([{"a": 5}, "odd"], "odd"),
    ],
)
def test_usages_of_a_stream(usages: list[Any], merged: Any) -> None:
    result: Any = None
    for usage in usages:
        result = merge_usage(result, usage)
    assert result == merged


RECORDINGS = Path(__file__).parents[1] / "data" / "usages" / "recorded.jsonl"
RECORDED = [json.loads(line) for line in RECORDINGS.read_text().splitlines()]


def test_every_recorded_usage_is_read() -> None:
    assert len(RECORDED) > 200
    for recorded in RECORDED:
        reported = recorded["usage"]
        read = read_usage(reported, "m", answer_length=1)
        assert read is not None
        assert not read.usage.is_unknown, (reported, read.usage.problem)
        prompt = reported.get("prompt_tokens", reported.get("input_tokens"))
        output = reported.get("completion_tokens", reported.get("output_tokens"))
        assert read.usage.input_tokens == prompt
        assert read.usage.output_tokens == output or read.usage.problem
        assert read.usage.output_tokens >= output


KEYS = sorted({key for paths in SPELLINGS.values() for path in paths for key in path})
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 2000),
    st.sampled_from([0, 1, 10**9, 10**9 + 1, 10**15, 2**63, 2**70, -(2**63)]),
    st.floats(),
    st.integers(0, 900).map(float),
    st.text(max_size=3),
    st.lists(st.integers(), max_size=2),
)
USAGES = st.dictionaries(
    st.sampled_from([*KEYS, "server_tool_use", "cache_creation", "other"]),
    ODD | st.dictionaries(st.sampled_from(KEYS), ODD, max_size=4),
    max_size=8,
)


@pytest.mark.slow
@settings(max_examples=1500, deadline=None)
@given(USAGES | ODD, st.integers(0, 3000), st.booleans())
def test_any_usage_is_read_or_unknown(reported: Any, length: int, apart: bool) -> None:
    read = read_usage(reported, "m", answer_length=length, cached_apart=apart)
    if reported is None:
        assert read is None
        return
    assert read is not None
    usage, counts = read.usage, counts_of(read.usage)
    json.dumps(usage.problem).encode()
    assert all(0 <= count <= MOST_TOKENS for count in counts)
    if usage.is_unknown:
        assert counts == (0, 0, 0, 0, 0)
        return
    assert usage.input_tokens + usage.output_tokens > 0, "never nothing"
    assert usage.cache_read_tokens + usage.cache_write_tokens <= usage.input_tokens
    assert usage.reasoning_tokens <= usage.output_tokens
    assert usage.output_tokens >= length // LONGEST_TOKEN
    for key, booked in (
        ("prompt_tokens", usage.input_tokens),
        ("input_tokens", usage.input_tokens),
        ("completion_tokens", usage.output_tokens),
        ("output_tokens", usage.output_tokens),
        ("total_tokens", usage.input_tokens + usage.output_tokens),
    ):
        assert booked >= (read_count(reported.get(key)) or 0), key
    assert usage.output_tokens or not length or usage.at_least, "an answer is never free"


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.lists(USAGES, max_size=4))
def test_later_zeros_take_nothing_away(usages: list[dict[str, Any]]) -> None:
    merged: Any = None
    for usage in usages:
        zeros = dict.fromkeys(usage, 0)
        merged = merge_usage(merge_usage(merged, usage), zeros)
    once: Any = {}
    for usage in usages:
        once = merge_usage(once, usage)
        once = {**dict.fromkeys(usage, 0), **once}
    assert known_counts(merged) == known_counts(once)


def known_counts(usage: Any) -> list[tuple[str, int | str]]:
    """Each count, or a word where a value is none; null is as good as 0 here."""
    counts = {
        key: 0 if value is None else read_count(value) for key, value in (usage or {}).items()
    }
    return sorted((key, "?" if count is None else count) for key, count in counts.items())
