"""What a model call cost, and what it may cost at most.

The operator's own price list comes first, then `genai-prices`' dated tables, bundled with it, no
network, then the operator's default price. A model that is in none costs None, which is
"unknown", never 0. Nothing here knows a vendor: the provider is found by the address, or named by
the agent (``custom_params.prices``). The package is imported at the first use, which takes half a
second: see `Prices.load`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal
from typing import Any, Final

from agenthive.core.model.calls import Usage
from agenthive.core.values import NanoUSD
from agenthive.infra.price_list import DEFAULT, Price, PriceList, find

_NANO: Final = Decimal(10**9)
_MILLION: Final = Decimal(10**6)


class Prices:
    """The prices in force. ``own`` is the operator's list, which wins."""

    def __init__(self, own: PriceList | None = None) -> None:
        self._own = own or {}

    def load(self) -> None:
        """Read the tables now: for a thread, so that no call has to on the event loop."""
        self.cost(Usage(), "openai")

    def cost(
        self,
        usage: Usage,
        where: str,
        *,
        context: Mapping[str, str] | None = None,
        hour_writes: int = 0,
    ) -> NanoUSD | None:
        """Nano-dollars, half up, for ``usage``.

        ``where`` is an address or a provider's name; empty: whoever has a model of that name.

        ``context`` is what else a price depends on, such as the tier that served the call;
        ``hour_writes`` are the tokens among those written to a cache that stay there an hour.
        """
        dollars = self._dollars(usage, where, context, hour_writes)
        return None if dollars is None else _nano(dollars, ROUND_HALF_UP)

    def worst(
        self, asked: Usage, where: str, *, context: Mapping[str, str] | None = None
    ) -> NanoUSD | None:
        """Nano-dollars, rounded up, that a call with at most these tokens can cost.

        Whether its input is cached is not known before, and a smaller input may be in a dearer
        tier: the dearest way counts.
        """
        price = find(self._own, asked.model) or self._own.get(DEFAULT)
        steps = [above for above, _ in price.tiers] if price else []
        sizes = {asked.input_tokens, *(step for step in steps if step < asked.input_tokens)}
        costs = [
            self._dollars(way, where, context, hour)
            for size in sizes
            for way, hour in _ways(asked, size)
        ]
        known = [cost for cost in costs if cost is not None]
        return _nano(max(known), ROUND_CEILING) if known else None

    def source(self, model: str, where: str) -> str:
        """Which list prices a model, and of when; empty if none does."""
        price = find(self._own, model)
        if price is not None:
            return _named("settings", price)
        if _published(Usage(model=model), where, None, 0) is not None:
            from genai_prices import __version__

            return f"genai-prices {__version__}"
        return _named("default", self._own[DEFAULT]) if DEFAULT in self._own else ""

    def _dollars(
        self, usage: Usage, where: str, context: Mapping[str, str] | None, hour_writes: int
    ) -> Decimal | None:
        price = find(self._own, usage.model)
        if price is not None:
            return _listed(price, usage, hour_writes)
        published = _published(usage, where, context, hour_writes)
        if published is None and DEFAULT in self._own:
            return _listed(self._own[DEFAULT], usage, hour_writes)
        return published


def _ways(asked: Usage, size: int) -> Iterator[tuple[Usage, int]]:
    """A call with ``size`` tokens in: fresh, read from a cache, written to one, for an hour."""
    for read, written, hour in ((0, 0, 0), (size, 0, 0), (0, size, 0), (0, size, size)):
        usage = Usage(
            model=asked.model,
            input_tokens=size,
            output_tokens=asked.output_tokens,
            cache_read_tokens=read,
            cache_write_tokens=written,
        )
        yield usage, hour


def _named(list_: str, price: Price) -> str:
    return f"{list_} {price.as_of}".strip()


def _nano(dollars: Decimal, rounding: str) -> NanoUSD:
    return int((dollars * _NANO).to_integral_value(rounding))


def _listed(price: Price, usage: Usage, hour_writes: int) -> Decimal | None:
    """US dollars by an operator's price; None for counts that contradict each other."""
    fresh = usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens
    short = usage.cache_write_tokens - hour_writes
    if fresh < 0 or short < 0:
        return None
    rates = price.at(usage.input_tokens)
    total = (
        fresh * rates.input
        + usage.cache_read_tokens * rates.cache_read
        + short * rates.cache_write
        + hour_writes * rates.cache_write_1h
        + usage.output_tokens * rates.output
    )
    return total / _MILLION


def _published(
    usage: Usage, where: str, context: Mapping[str, str] | None, hour_writes: int
) -> Decimal | None:
    """US dollars by the published tables; None for what they do not know."""
    from genai_prices import Usage as Tokens
    from genai_prices import calc_price

    tokens = Tokens(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        **({"cache_write_1h_tokens": hour_writes} if hour_writes else {}),
    )
    by = "provider_api_url" if "://" in where else "provider_id"
    named: dict[str, Any] = {by: where} if where else {}
    try:
        return calc_price(tokens, usage.model, price_context=context, **named).total_price
    except (LookupError, ValueError):
        return None
