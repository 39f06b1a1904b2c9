"""Prices: whose hold, what a call can cost at most, and that two public tables agree."""

from __future__ import annotations

import json
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

import genai_prices
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthive.agents.llm.prices import Prices
from agenthive.agents.llm.usage import read_usage
from agenthive.core.model.calls import Usage
from agenthive.infra.price_list import PriceList, parse_prices
from tests.agents.test_questions import agent_of

SECOND_TABLE = Path(__file__).parents[1] / "data" / "prices" / "litellm.json"
USAGE = Usage(model="gpt-4o", input_tokens=1, output_tokens=1)
OWN = """
[gpt-4]
input = 0.03
output = 0.06
per = "1K"

[bee]
input = 3.0
output = 15.0
cache_read = 0.3
cache_write = 3.75
cache_write_1h = 6.0
as_of = "2026-11-01"
tiers = [{ above = 1000, input = 6, output = 22.5 }]

[sale]
input = 8
output = 2
cache_read = 9
cache_write = 3
cache_write_1h = 7
tiers = [{ above = 100_000, output = 1 }, { above = 200_000, input = 1 }]

[default]
input = 100
output = 200
"""


def own() -> PriceList:
    return parse_prices(tomllib.loads(OWN))


def with_(**more: Any) -> Usage:
    return msgspec.structs.replace(USAGE, **more)


def test_published_prices() -> None:
    prices = Prices()
    assert prices.compute_cost(USAGE, "openai") == 12_500
    assert prices.compute_cost(USAGE, "https://api.openai.com/v1/chat/completions") == 12_500
    assert prices.compute_cost(with_(cache_read_tokens=1), "openai") == 11_250
    assert prices.compute_cost(USAGE, "http://127.0.0.1:4010/v1") is None
    assert prices.compute_cost(USAGE, "nobody") is None
    assert prices.compute_cost(with_(model="bee-1"), "openai") is None
    assert prices.compute_cost(with_(cache_read_tokens=9), "openai") is None


def test_an_operators_own_prices_win() -> None:
    prices = Prices(own())
    assert prices.compute_cost(with_(model="gpt-4"), "openai") == 90_000
    assert prices.compute_cost(with_(model="gpt-4-0613"), "openai") == 90_000, (
        "dated names are the same"
    )
    assert prices.compute_cost(with_(model="gpt-4o"), "openai") == 12_500, "another model is not"
    assert prices.compute_cost(with_(model="nobodys"), "openai") == 300_000
    assert prices.compute_cost(with_(model="default"), "nobody") == 300_000
    assert prices.price_source("gpt-4", "openai") == "settings"
    assert prices.price_source("bee-2026-11-01", "nobody") == "settings 2026-11-01"
    assert prices.price_source("gpt-4o", "openai") == f"genai-prices {genai_prices.__version__}"
    assert prices.price_source("nobodys", "openai") == "default"
    assert Prices().price_source("nobodys", "openai") == ""


def test_caches_and_tiers_of_own_prices() -> None:
    prices = Prices(own())
    bee = with_(model="bee", input_tokens=1000, output_tokens=0)
    read, written = {"cache_read_tokens": 400}, {"cache_write_tokens": 600}
    both = msgspec.structs.replace(bee, **read, **written)
    assert prices.compute_cost(bee, "x") == 3_000_000
    assert prices.compute_cost(both, "x") == 120_000 + 2_250_000
    assert prices.compute_cost(both, "x", hour_writes=600) == 120_000 + 3_600_000
    assert prices.compute_cost(both, "x", hour_writes=601) is None
    assert prices.compute_cost(with_(model="bee", cache_read_tokens=2), "x") is None
    large = with_(model="bee", input_tokens=1001, output_tokens=1)
    assert prices.compute_cost(large, "x") == 1001 * 6000 + 22_500


def test_a_tier_takes_over_what_it_does_not_say() -> None:
    first, second = (rates for _, rates in own()["sale"].tiers)
    base = own()["sale"].rates
    assert first == msgspec.structs.replace(base, output=Decimal(1))
    assert (second.cache_read, second.cache_write, second.cache_write_1h) == (1, 1, 1)
    assert second.output == base.output


def test_money_is_rounded_half_up_once_and_holds_are_rounded_up() -> None:
    cheap = Prices(parse_prices({"bee": {"input": 0.0005, "output": 0.0004}}))
    one, other = Usage(model="bee", input_tokens=1), Usage(model="bee", output_tokens=1)
    assert (cheap.compute_cost(one, "x"), cheap.compute_cost(other, "x")) == (1, 0)
    assert (cheap.worst_cost(one, "x"), cheap.worst_cost(other, "x")) == (1, 1)


TOKENS = st.integers(0, 300_000)
MODELS = (
    ("gpt-4o", "openai"),
    ("claude-sonnet-4-5", "anthropic"),
    ("claude-opus-4-8", "anthropic"),
    ("bee", "nobody"),
    ("sale", "nobody"),
    ("nobodys", "nobody"),
)


@given(st.sampled_from(MODELS), TOKENS, TOKENS, st.data())
def test_no_call_costs_more_than_the_worst(
    model: tuple[str, str], given_: int, made: int, data: st.DataObject
) -> None:
    prices = Prices(own())
    asked = Usage(model=model[0], input_tokens=given_, output_tokens=made)
    most = prices.worst_cost(asked, model[1])
    assert most is not None
    used = data.draw(st.integers(0, given_))
    read = data.draw(st.integers(0, used))
    written = data.draw(st.integers(0, used - read))
    hour = data.draw(st.integers(0, written))
    usage = Usage(
        model=model[0],
        input_tokens=used,
        output_tokens=data.draw(st.integers(0, made)),
        cache_read_tokens=read,
        cache_write_tokens=written,
    )
    cost = prices.compute_cost(usage, model[1], hour_writes=hour)
    assert cost is not None
    assert cost <= most


def test_what_nobody_prices_has_no_worst_case() -> None:
    assert Prices().worst_cost(with_(model="bee-1"), "openai") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bee = 3", "of 'bee' must be a table"),
        ("bee = {input = 1}", "output is missing"),
        ("bee = {input = -1, output = 1}", "input must be 0 to 1,000,000"),
        ("bee = {input = nan, output = 1}", "input must be 0 to 1,000,000"),
        ("bee = {input = 1, output = inf}", "output must be 0 to 1,000,000"),
        ("bee = {input = 1, output = 1e300}", "output must be 0 to 1,000,000"),
        ("bee = {input = true, output = 1}", "input must be a number"),
        ('bee = {input = "1", output = 1}', "input must be a number"),
        ("bee = {input = 1, output = 1, inptu = 1}", "there is no 'inptu'"),
        ('bee = {input = 1, output = 1, per = "1B"}', "per must be"),
        ('bee = {input = 1, output = 1, as_of = "May"}', "as_of must be a date"),
        ("bee = {input = 1, output = 1, tiers = 3}", "tiers must be a list"),
        ("bee = {input = 1, output = 1, tiers = [{input = 2}]}", "a tier must have 'above'"),
        (
            "bee = {input = 1, output = 1, tiers = [{above = 2}, {above = 1}]}",
            "tiers must be in ascending order",
        ),
        ('" " = {input = 1, output = 1}', "is not a model's name"),
    ],
)
def test_a_bad_price_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_prices(tomllib.loads(text))


def test_a_list_is_a_map_and_bounded() -> None:
    with pytest.raises(ValueError, match="must map models"):
        parse_prices([1])
    with pytest.raises(ValueError, match="at most 10,000 models"):
        parse_prices({f"m{i}": {"input": 1, "output": 1} for i in range(10_001)})


# The second public table.

CASES = {
    "input": (Usage(input_tokens=1000), 0),
    "output": (Usage(output_tokens=1000), 0),
    "cache_read": (Usage(input_tokens=1000, cache_read_tokens=1000), 0),
    "cache_write": (Usage(input_tokens=1000, cache_write_tokens=1000), 0),
    "cache_write_1h": (Usage(input_tokens=1000, cache_write_tokens=1000), 1000),
}
UNKNOWN_HERE = (
    "daybreak-",
    "gpt-daybreak-",
    "gpt-5-search-api-2025-10-14",
    "claude-mythos-",
    "gpt-5.5-cyber-preview",
    "gpt-6-astra-law",
)
"""Models that `genai-prices` 0.2.3 does not list: their cost is unknown, never 0."""
NO_CACHE_PRICE = ("gpt-4o-search-preview",)
"""`genai-prices` has no price for cached input of these, and counts it as input: too much, not too
little."""


def compared() -> dict[str, list[str]]:
    """What comes of each price of the second table: equal, unknown here, or different."""
    prices, found = Prices(), {"equal": [], "unknown": [], "different": []}  # type: ignore[var-annotated]
    for provider, models in json.loads(SECOND_TABLE.read_text()).items():
        for model, row in models.items():
            for kind, (usage, hour) in CASES.items():
                if kind not in row:
                    continue
                asked = msgspec.structs.replace(usage, model=model)
                ours = prices.compute_cost(asked, provider, hour_writes=hour)
                theirs = int(1000 * Decimal(str(row[kind])) * 10**9)
                found[_verdict(ours, theirs)].append(f"{model} {kind}")
    return found


def compared_above() -> dict[str, list[str]]:
    """The same for calls so large that another rate holds for them."""
    prices, found = Prices(), {"equal": [], "unknown": [], "different": []}  # type: ignore[var-annotated]
    for provider, models in json.loads(SECOND_TABLE.read_text()).items():
        for model, row in models.items():
            if "above" not in row:
                continue
            tokens, rates = row["above"]["tokens"] + 1, row["above"]
            usage = Usage(model=model, input_tokens=tokens, output_tokens=1000)
            rate = tokens * Decimal(str(rates["input"])) + 1000 * Decimal(str(rates["output"]))
            ours = prices.compute_cost(usage, provider)
            found[_verdict(ours, int(rate * 10**9))].append(model)
    return found


def _verdict(ours: int | None, theirs: int) -> str:
    return "unknown" if ours is None else "equal" if ours == theirs else "different"


def test_two_public_tables_agree() -> None:
    found = compared()
    assert len(found["equal"]) > 300
    assert all(one.startswith(UNKNOWN_HERE) for one in found["unknown"]), found["unknown"]
    assert [one.split()[1] for one in found["different"]] == ["cache_read"] * 2
    assert all(one.startswith(NO_CACHE_PRICE) for one in found["different"])


def test_two_public_tables_agree_on_large_calls() -> None:
    found = compared_above()
    assert len(found["equal"]) > 12
    assert all(one.startswith(UNKNOWN_HERE) for one in found["unknown"]), found["unknown"]
    assert found["different"] == ["gpt-5.6-cyber"], "no rate for large calls in genai-prices"


# What vendors report, read by us and by genai-prices.

ANSWERS: dict[str, list[dict[str, Any]]] = {
    "openai": [
        {"prompt_tokens": 1200, "completion_tokens": 300, "total_tokens": 1500},
        {
            "prompt_tokens": 2048,
            "completion_tokens": 700,
            "total_tokens": 2748,
            "prompt_tokens_details": {"cached_tokens": 1024},
            "completion_tokens_details": {"reasoning_tokens": 512},
        },
    ],
    "anthropic": [
        {"input_tokens": 900, "output_tokens": 40},
        {
            "input_tokens": 50,
            "output_tokens": 400,
            "cache_read_input_tokens": 3000,
            "cache_creation_input_tokens": 700,
        },
        {
            "input_tokens": 50,
            "output_tokens": 400,
            "cache_read_input_tokens": 3000,
            "cache_creation_input_tokens": 700,
            "cache_creation": {"ephemeral_5m_input_tokens": 500, "ephemeral_1h_input_tokens": 200},
        },
        {"input_tokens": 250_000, "output_tokens": 400},
    ],
}


@pytest.mark.parametrize(
    ("vendor", "told"), [(vendor, told) for vendor, all_ in ANSWERS.items() for told in all_]
)
def test_a_recorded_usage_costs_what_the_table_says(vendor: str, told: dict[str, Any]) -> None:
    model = {"openai": "gpt-4o", "anthropic": "claude-sonnet-4-5"}[vendor]
    answer = {"model": model, "usage": told, **BODIES[vendor]}
    said = read_usage(told, model, cached_apart=agent_of(vendor).cached_apart)
    assert said is not None
    theirs = genai_prices.data_snapshot.get_snapshot().extract_usage(
        answer, vendor, None, {"openai": "chat", "anthropic": "default"}[vendor]
    )
    cost = theirs.calc_price().total_price
    ours = Prices().compute_cost(said.usage, vendor, hour_writes=said.hour_writes)
    assert ours == int((cost * 10**9).to_integral_value())


BODIES: dict[str, dict[str, Any]] = {
    "openai": {"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]},
    "anthropic": {"content": [{"type": "text", "text": "x"}], "stop_reason": "end_turn"},
}
