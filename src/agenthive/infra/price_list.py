"""Parses the operator's own price list, as the settings have it. Prices are US dollars.

    [prices."my-model"]
    input = 3.00            # US dollars for 1,000,000 tokens; per = "1K" for 1,000
    output = 15.00
    cache_read = 0.30       # missing: as input
    cache_write = 3.75      # missing: as input
    cache_write_1h = 6.00   # missing: as cache_write
    as_of = "2026-11-01"
    fees = { web_searches = 10.00 }  # US dollars for 1,000; other names: see below
    # A call with more input tokens than ``above`` is priced by the tier as a whole.
    tiers = [{ above = 200_000, input = 6.00, output = 22.50 }]

    [prices.default]        # for every model that is in no list

A rate that a tier leaves out is that of the base price; if the tier has an input rate, its missing
cache rates follow from that instead. ``fees`` are what a vendor charges for beside tokens
(web_searches, search_sources, code_executions, code_containers, images, citation_tokens), and what
sound costs beyond its price as text (input_audio_tokens, output_audio_tokens); a call with a fee
that is not listed has an unknown cost. Arithmetic is decimal, and nothing is rounded here.
Published prices and budgets are never here. Every error is a ValueError whose text follows the name
of the setting: "prices of 'my-model': ...". To add a rate: a field of `Rates`, and its
default in `_parse_rates`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

DEFAULT: Final = "default"
#: US dollars for 1,000,000 tokens. A higher price is taken for a slip.
MOST: Final = 1_000_000
MOST_MODELS: Final = 10_000
MOST_FEES: Final = 20
#: Input tokens. A tier above this would never apply.
MOST_ABOVE: Final = 10**9
_PER: Final = {"1K": 1000, "1M": 1}
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
#: The name of a model with the date or version that vendors add to it in responses.
_SNAPSHOT: Final = re.compile(r"(.+?)-(?:\d{4}-\d{2}-\d{2}|\d{8}|\d{4}|latest)")


class Rates(msgspec.Struct, frozen=True):
    """US dollars for 1,000,000 tokens of each kind: fresh input, output, caches.

    ``cache_write_1h`` is for tokens that a cache keeps for an hour.
    """

    input: Decimal
    output: Decimal
    cache_read: Decimal
    cache_write: Decimal
    cache_write_1h: Decimal


class Price(msgspec.Struct, frozen=True):
    """The price of a model."""

    rates: Rates
    #: Rates for calls with more than that many input tokens, in ascending order.
    tiers: tuple[tuple[int, Rates], ...] = ()
    #: The date of the price (ISO), empty if the operator gave none.
    as_of: str = ""
    #: US dollars for 1,000 of what is charged for beside tokens, by name.
    fees: dict[str, Decimal] = {}

    def rates_at(self, input_tokens: int) -> Rates:
        """The rates for a call with this many input tokens."""
        current = self.rates
        for above, rates in self.tiers:
            if input_tokens > above:
                current = rates
        return current

    def __str__(self) -> str:
        return f"{self.rates.input}/{self.rates.output}"


#: Model -> price. The entry `DEFAULT` is for models that are in no list.
PriceList = dict[str, Price]


def find_price(prices: Mapping[str, Price], model: str) -> Price | None:
    """The price of a model, by its name or by its name without a date; never the default."""
    if model == DEFAULT:
        return None
    price = prices.get(model)
    if price is None:
        match = _SNAPSHOT.fullmatch(model)
        price = prices.get(match[1]) if match and match[1] != DEFAULT else None
    return price


def parse_prices(value: object) -> PriceList:
    """Parse a price list of a settings file. Raises ValueError, which names the model."""
    if not isinstance(value, Mapping):
        raise ValueError("must map models to prices")
    if len(value) > MOST_MODELS:
        raise ValueError(f"must have at most {MOST_MODELS:,} models")
    return {_check_name(model): _parse_price(model, entry) for model, entry in value.items()}


def _check_name(model: object) -> str:
    if not isinstance(model, str) or not model.strip() or len(model) > 200:
        raise ValueError(f"must map models to prices; {str(model)[:60]!r} is not a model's name")
    return model


def _parse_price(model: str, entry: object) -> Price:
    table = _check_table(model, entry, {*Rates.__struct_fields__, "per", "as_of", "tiers", "fees"})
    per = table.get("per", "1M")
    if per not in _PER:
        raise ValueError(f'of \'{model}\': per must be "1M" or "1K" tokens')
    as_of = table.get("as_of", "")
    if as_of and not _DATE.fullmatch(str(as_of)):
        raise ValueError(f"of '{model}': as_of must be a date such as 2026-11-01")
    rates = _parse_rates(model, table, _PER[per], None)
    tiers = _parse_tiers(model, table.get("tiers", []), _PER[per], rates)
    fees = _parse_fees(model, table.get("fees", {}))
    return Price(rates=rates, tiers=tiers, as_of=str(as_of), fees=fees)


def _parse_fees(model: str, entries: object) -> dict[str, Decimal]:
    if not isinstance(entries, Mapping) or len(entries) > MOST_FEES:
        raise ValueError(f"of '{model}': fees must be a table of at most {MOST_FEES} names")
    return {
        str(name): _parse_dollars(model, f"the fee {str(name)[:60]!r}", dollars)
        for name, dollars in entries.items()
    }


def _parse_tiers(
    model: str, entries: object, per: int, base: Rates
) -> tuple[tuple[int, Rates], ...]:
    tiers: list[tuple[int, Rates]] = []
    if not isinstance(entries, list) or len(entries) > 10:
        raise ValueError(f"of '{model}': tiers must be a list of at most 10 tables")
    for tier in entries:
        table = _check_table(model, tier, {*Rates.__struct_fields__, "above"})
        above = table.get("above")
        if isinstance(above, bool) or not isinstance(above, int) or not 1 <= above <= MOST_ABOVE:
            raise ValueError(
                f"of '{model}': a tier must have 'above', a whole number of input tokens from 1 to "
                f"{MOST_ABOVE:,}"
            )
        tiers.append((above, _parse_rates(model, table, per, base)))
    if [above for above, _ in tiers] != sorted({above for above, _ in tiers}):
        raise ValueError(f"of '{model}': tiers must be in ascending order of 'above'")
    return tuple(tiers)


def _check_table(model: str, entry: object, allowed: set[str]) -> Mapping[str, Any]:
    if not isinstance(entry, Mapping):
        raise ValueError(f"of '{model}' must be a table with input and output")
    unknown = [str(key)[:60] for key in entry if key not in allowed]
    if unknown:
        names = ", ".join(sorted(allowed))
        raise ValueError(f"of '{model}': there is no {unknown[0]!r}; there are {names}")
    return entry


def _parse_rates(model: str, table: Mapping[str, Any], per: int, base: Rates | None) -> Rates:
    """The rates of a table. A missing rate is that of ``base``.

    Without a base, or if the table has an input rate, missing cache rates follow from that rate.
    """

    def rate(name: str, fallback: Decimal | None) -> Decimal:
        if name in table:
            return _parse_dollars(model, name, table[name]) * per
        if fallback is None:
            raise ValueError(f"of '{model}': {name} is missing")
        return fallback

    input_rate = rate("input", base.input if base else None)
    inherited = None if "input" in table else base
    write_rate = rate("cache_write", inherited.cache_write if inherited else input_rate)
    hour_default = (
        inherited.cache_write_1h if inherited and "cache_write" not in table else write_rate
    )
    return Rates(
        input=input_rate,
        output=rate("output", base.output if base else None),
        cache_read=rate("cache_read", inherited.cache_read if inherited else input_rate),
        cache_write=write_rate,
        cache_write_1h=rate("cache_write_1h", hour_default),
    )


def _parse_dollars(model: str, name: str, value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError(f"of '{model}': {name} must be a number of US dollars")
    # Compared first: a whole number of hundreds of digits is no float.
    if not 0 <= value <= MOST or not math.isfinite(value):
        raise ValueError(f"of '{model}': {name} must be 0 to {MOST:,} US dollars")
    return Decimal(str(value))
