"""What a model call cost: `genai-prices`' dated tables, bundled with it, no network.

A model or provider that is not in them costs None, which is "unknown", never 0. Nothing here knows
a vendor: the provider is found by the address, or named by the agent (``custom_params.prices``).
The package is imported at the first use, which takes half a second: see `load`.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal

from agenthive.core.ports import Usage
from agenthive.core.values import NanoUSD


def load() -> None:
    """Read the tables now: for a thread, so that no call of `cost` has to on the event loop."""
    cost(Usage(), "openai")


def cost(
    usage: Usage, where: str, *, context: Mapping[str, str] | None = None, hour_writes: int = 0
) -> NanoUSD | None:
    """Nano-dollars, half up, for ``usage``. ``where`` is an address or the name of a provider.

    ``context`` is what else a price depends on, such as the tier that served the call;
    ``hour_writes`` are the tokens among those written to a cache that stay there for an hour.
    """
    from genai_prices import Usage as Tokens
    from genai_prices import calc_price

    tokens = Tokens(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        **({"cache_write_1h_tokens": hour_writes} if hour_writes else {}),
    )
    try:
        if "://" in where:
            price = calc_price(tokens, usage.model, provider_api_url=where, price_context=context)
        else:
            price = calc_price(tokens, usage.model, provider_id=where, price_context=context)
    except (LookupError, ValueError):
        return None
    return int((price.total_price * Decimal(10**9)).to_integral_value(ROUND_HALF_UP))
