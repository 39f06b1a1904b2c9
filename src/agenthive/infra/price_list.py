"""An operator's own price list: what a model costs, in US dollars, as the settings write it.

    [prices."my-model"]
    input = 3.00            # US dollars for 1,000,000 tokens; per = "1K" for 1,000
    output = 15.00
    cache_read = 0.30       # missing: as input
    cache_write = 3.75      # missing: as input
    cache_write_1h = 6.00   # missing: as cache_write
    as_of = "2026-11-01"
    tiers = [{ above = 200_000, input = 6.00, output = 22.50 }]   # the whole call costs that then

    [prices.default]        # for every model that no list knows

What a tier leaves out stays as below it; with an input of its own, its caches follow from that.
Arithmetic is decimal; nothing is rounded here. Never here: what vendors publish, and budgets.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

DEFAULT: Final = "default"
MOST: Final = 1_000_000
"""US dollars for 1,000,000 tokens beyond which a price is a slip of the pen."""
MOST_MODELS: Final = 10_000
_PER: Final = {"1K": 1000, "1M": 1}
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_SNAPSHOT: Final = re.compile(r"(.+?)-(?:\d{4}-\d{2}-\d{2}|\d{8}|\d{4}|latest)")
"""A model's name with the date that vendors add when they answer."""


class Rates(msgspec.Struct, frozen=True):
    """US dollars for 1,000,000 tokens of each kind."""

    input: Decimal
    output: Decimal
    cache_read: Decimal
    cache_write: Decimal
    cache_write_1h: Decimal


class Price(msgspec.Struct, frozen=True):
    """What a model costs; ``tiers`` are the rates above that many input tokens, ascending."""

    rates: Rates
    tiers: tuple[tuple[int, Rates], ...] = ()
    as_of: str = ""

    def rates_at(self, input_tokens: int) -> Rates:
        """The rates that hold for a call with so many input tokens."""
        current = self.rates
        for above, rates in self.tiers:
            if input_tokens > above:
                current = rates
        return current

    def __str__(self) -> str:
        return f"{self.rates.input}/{self.rates.output}"


PriceList = dict[str, Price]
"""Model -> price; the one called `DEFAULT` is for models that no list knows."""


def find_price(prices: Mapping[str, Price], model: str) -> Price | None:
    """A model's own price, also under its name without a date; never the default."""
    if model == DEFAULT:
        return None
    price = prices.get(model)
    if price is None:
        match = _SNAPSHOT.fullmatch(model)
        price = prices.get(match[1]) if match and match[1] != DEFAULT else None
    return price


def parse_prices(value: object) -> PriceList:
    """A price list as a settings file has it. Raises ValueError, which names the model."""
    if not isinstance(value, Mapping):
        raise ValueError("must map models to prices")
    if len(value) > MOST_MODELS:
        raise ValueError(f"must have at most {MOST_MODELS:,} models")
    return {_check_name(model): _parse_price(model, entry) for model, entry in value.items()}


def _check_name(model: object) -> str:
    if not isinstance(model, str) or not model.strip() or len(model) > 200:
        raise ValueError(f"must map models to prices; {str(model)[:60]!r} is no name of a model")
    return model


def _parse_price(model: str, entry: object) -> Price:
    table = _check_table(model, entry, {*Rates.__struct_fields__, "per", "as_of", "tiers"})
    per = table.get("per", "1M")
    if per not in _PER:
        raise ValueError(f'of \'{model}\': per must be "1M" or "1K" tokens')
    as_of = table.get("as_of", "")
    if as_of and not _DATE.fullmatch(str(as_of)):
        raise ValueError(f"of '{model}': as_of must be a date such as 2026-11-01")
    rates = _parse_rates(model, table, _PER[per], None)
    tiers = _parse_tiers(model, table.get("tiers", []), _PER[per], rates)
    return Price(rates=rates, tiers=tiers, as_of=str(as_of))


def _parse_tiers(
    model: str, entries: object, per: int, base: Rates
) -> tuple[tuple[int, Rates], ...]:
    tiers: list[tuple[int, Rates]] = []
    if not isinstance(entries, list) or len(entries) > 10:
        raise ValueError(f"of '{model}': tiers must be a list of at most 10 tables")
    for tier in entries:
        table = _check_table(model, tier, {*Rates.__struct_fields__, "above"})
        above = table.get("above")
        if isinstance(above, bool) or not isinstance(above, int) or above < 1:
            raise ValueError(f"of '{model}': a tier must say above how many input tokens (above)")
        tiers.append((above, _parse_rates(model, table, per, base)))
    if [above for above, _ in tiers] != sorted({above for above, _ in tiers}):
        raise ValueError(f"of '{model}': tiers must ascend")
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
    """The rates a table gives. What it leaves out is that of ``base``.

    Without a base, or with an input of its own, what it leaves out of caches follows from that.
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
    if not math.isfinite(value) or not 0 <= value <= MOST:
        raise ValueError(f"of '{model}': {name} must be 0 to {MOST:,} US dollars")
    return Decimal(str(value))
