"""The cost of a model call: what it was, and what it can be at most.

Three price lists are searched in this order: the operator's own list, the tables of the package
`genai-prices` (dated, bundled with it, read without network), the operator's default price. The
cost of a model that is in none is None, which means "unknown" and never 0.

    cost = sum over fresh input, cache reads, cache writes, one-hour cache writes and output of
           (tokens x US dollars for 1,000,000 tokens) / 1,000,000

Beside tokens, a vendor may charge for searches, containers and the like (`usage.FEES`): at the
price of the list, or else the cost is unknown. Actual costs are rounded half up to nano-dollars,
worst cases up. Nothing here knows a vendor: the provider is found by the address, or named by the
agent (``custom_params.prices``). The package is imported at first use, which takes half a second:
see `Prices.load_tables`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal
from typing import Any, Final

from agenthive.core.model.calls import MOST_CALL_COST, Usage
from agenthive.core.values import NanoUSD
from agenthive.infra.price_list import DEFAULT, Price, PriceList, find_price

_NANO: Final = Decimal(10**9)
_MILLION: Final = Decimal(10**6)
#: What the published tables have prices for beside tokens.
_PUBLISHED_FEES: Final = frozenset(
    {"web_searches", "code_executions", "input_audio_tokens", "output_audio_tokens"}
)


class Prices:
    """The prices in force. ``own`` is the operator's list, which takes precedence."""

    def __init__(self, own: PriceList | None = None) -> None:
        self._own = own or {}

    def load_tables(self) -> None:
        """Import the tables. Called in a thread, so that no call blocks the event loop for it."""
        self.compute_cost(Usage(), "openai")

    def compute_cost(
        self,
        usage: Usage,
        provider: str,
        *,
        context: Mapping[str, str] | None = None,
        hour_writes: int = 0,
        fees: Mapping[str, int] | None = None,
    ) -> NanoUSD | None:
        """The cost of ``usage`` in nano-dollars, rounded half up; None if no list has its model.

        ``provider`` is an address or a provider's name; if it is empty, any provider with a model
        of that name counts. ``context`` is what else a price depends on, such as the service tier.
        ``hour_writes`` are those of the tokens written to a cache that stay there for an hour.
        ``fees`` is what is charged for beside tokens, and how often; without a price for one of
        them the cost is None.
        """
        dollars = self._dollar_cost(usage, provider, context, hour_writes, fees or {})
        return None if dollars is None else _to_nano(dollars, ROUND_HALF_UP)

    def worst_cost(
        self, bounds: Usage, provider: str, *, context: Mapping[str, str] | None = None
    ) -> NanoUSD | None:
        """The most that a call within ``bounds`` can cost, in nano-dollars, rounded up.

        Whether the input will be read from or written to a cache is not known before the call, and
        a smaller input may be in a tier with a higher price: the most expensive case counts.
        """
        price = find_price(self._own, bounds.model) or self._own.get(DEFAULT)
        steps = [above for above, _ in price.tiers] if price else []
        sizes = {bounds.input_tokens, *(step for step in steps if step < bounds.input_tokens)}
        costs = [
            self._dollar_cost(usage, provider, context, hour, {})
            for size in sizes
            for usage, hour in _cache_variants(bounds, size)
        ]
        known_costs = [cost for cost in costs if cost is not None]
        return _to_nano(max(known_costs), ROUND_CEILING) if known_costs else None

    def price_source(self, model: str, provider: str) -> str:
        """The list that has a model's price, with its date or version; empty if none has it."""
        price = find_price(self._own, model)
        if price is not None:
            return _list_label("settings", price)
        if _published_cost(Usage(model=model), provider, None, 0, {}) is not None:
            from genai_prices import __version__

            return f"genai-prices {__version__}"
        return _list_label("default", self._own[DEFAULT]) if DEFAULT in self._own else ""

    def _dollar_cost(
        self,
        usage: Usage,
        provider: str,
        context: Mapping[str, str] | None,
        hour_writes: int,
        fees: Mapping[str, int],
    ) -> Decimal | None:
        price = find_price(self._own, usage.model)
        if price is not None:
            return _own_cost(price, usage, hour_writes, fees)
        published = _published_cost(usage, provider, context, hour_writes, fees)
        if published is None and DEFAULT in self._own:
            return _own_cost(self._own[DEFAULT], usage, hour_writes, fees)
        return published


def _cache_variants(bounds: Usage, size: int) -> Iterator[tuple[Usage, int]]:
    """A call with ``size`` input tokens: all fresh, cache reads, cache writes, one-hour writes."""
    for read, written, hour in ((0, 0, 0), (size, 0, 0), (0, size, 0), (0, size, size)):
        usage = Usage(
            model=bounds.model,
            input_tokens=size,
            output_tokens=bounds.output_tokens,
            cache_read_tokens=read,
            cache_write_tokens=written,
        )
        yield usage, hour


def _list_label(name: str, price: Price) -> str:
    return f"{name} {price.as_of}".strip()


def _to_nano(dollars: Decimal, rounding: str) -> NanoUSD:
    return min(int((dollars * _NANO).to_integral_value(rounding)), MOST_CALL_COST)


def _own_cost(
    price: Price, usage: Usage, hour_writes: int, fees: Mapping[str, int]
) -> Decimal | None:
    """US dollars by the operator's price; None if the counts contradict it or each other."""
    fresh = usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens
    short = usage.cache_write_tokens - hour_writes
    if fresh < 0 or short < 0 or not fees.keys() <= price.fees.keys():
        return None
    rates = price.rates_at(usage.input_tokens)
    total = (
        fresh * rates.input
        + usage.cache_read_tokens * rates.cache_read
        + short * rates.cache_write
        + hour_writes * rates.cache_write_1h
        + usage.output_tokens * rates.output
    )
    charges = sum([count * price.fees[name] for name, count in fees.items()], Decimal())
    return total / _MILLION + charges / 1000


def _published_cost(
    usage: Usage,
    provider: str,
    context: Mapping[str, str] | None,
    hour_writes: int,
    fees: Mapping[str, int],
) -> Decimal | None:
    """US dollars by the published tables; None if they do not have the model, or one of its fees.

    The tables ignore a fee that they have no price for: the cost must rise with each of them.
    """
    if not fees.keys() <= _PUBLISHED_FEES:
        return None
    base = dollars = _table_cost(usage, provider, context, hour_writes, {})
    for name, count in fees.items():
        with_fee = _table_cost(usage, provider, context, hour_writes, {name: count})
        if base is None or dollars is None or with_fee is None or with_fee <= base:
            return None
        dollars += with_fee - base
    return dollars


def _table_cost(
    usage: Usage,
    provider: str,
    context: Mapping[str, str] | None,
    hour_writes: int,
    fees: Mapping[str, int],
) -> Decimal | None:
    from genai_prices import Usage as Tokens
    from genai_prices import calc_price

    tokens = Tokens(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        **({"cache_write_1h_tokens": hour_writes} if hour_writes else {}),
        **fees,
    )
    provider_key = "provider_api_url" if "://" in provider else "provider_id"
    provider_argument: dict[str, Any] = {provider_key: provider} if provider else {}
    try:
        return calc_price(
            tokens, usage.model, price_context=context, **provider_argument
        ).total_price
    except (LookupError, ValueError):
        return None
