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

    def at(self, input_tokens: int) -> Rates:
        """The rates that hold for a call with so many input tokens."""
        found = self.rates
        for above, rates in self.tiers:
            if input_tokens > above:
                found = rates
        return found

    def __str__(self) -> str:
        return f"{self.rates.input}/{self.rates.output}"


PriceList = dict[str, Price]
"""Model -> price; the one called `DEFAULT` is for models that no list knows."""


def find(prices: Mapping[str, Price], model: str) -> Price | None:
    """A model's own price, also under its name without a date; never the default."""
    if model == DEFAULT:
        return None
    found = prices.get(model)
    if found is None:
        undated = _SNAPSHOT.fullmatch(model)
        found = prices.get(undated[1]) if undated and undated[1] != DEFAULT else None
    return found


def parse(value: object) -> PriceList:
    """A price list as a settings file has it. Raises ValueError, which names the model."""
    if not isinstance(value, Mapping):
        raise ValueError("must map models to prices")
    if len(value) > MOST_MODELS:
        raise ValueError(f"must have at most {MOST_MODELS:,} models")
    return {_name(model): _price(model, given) for model, given in value.items()}


def _name(model: object) -> str:
    if not isinstance(model, str) or not model.strip() or len(model) > 200:
        raise ValueError(f"must map models to prices; {str(model)[:60]!r} is no name of a model")
    return model


def _price(model: str, given: object) -> Price:
    table = _table(model, given, {*Rates.__struct_fields__, "per", "as_of", "tiers"})
    per = table.get("per", "1M")
    if per not in _PER:
        raise ValueError(f'of \'{model}\': per must be "1M" or "1K" tokens')
    as_of = table.get("as_of", "")
    if as_of and not _DATE.fullmatch(str(as_of)):
        raise ValueError(f"of '{model}': as_of must be a date such as 2026-11-01")
    rates = _rates(model, table, _PER[per], None)
    tiers = _tiers(model, table.get("tiers", []), _PER[per], rates)
    return Price(rates=rates, tiers=tiers, as_of=str(as_of))


def _tiers(model: str, given: object, per: int, base: Rates) -> tuple[tuple[int, Rates], ...]:
    found: list[tuple[int, Rates]] = []
    if not isinstance(given, list) or len(given) > 10:
        raise ValueError(f"of '{model}': tiers must be a list of at most 10 tables")
    for tier in given:
        own = _table(model, tier, {*Rates.__struct_fields__, "above"})
        above = own.get("above")
        if isinstance(above, bool) or not isinstance(above, int) or above < 1:
            raise ValueError(f"of '{model}': a tier must say above how many input tokens (above)")
        found.append((above, _rates(model, own, per, base)))
    if [above for above, _ in found] != sorted({above for above, _ in found}):
        raise ValueError(f"of '{model}': tiers must ascend")
    return tuple(found)


def _table(model: str, given: object, known: set[str]) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise ValueError(f"of '{model}' must be a table with input and output")
    strange = [str(key)[:60] for key in given if key not in known]
    if strange:
        names = ", ".join(sorted(known))
        raise ValueError(f"of '{model}': there is no {strange[0]!r}; there are {names}")
    return given


def _rates(model: str, table: Mapping[str, Any], per: int, base: Rates | None) -> Rates:
    """The rates a table gives. What it leaves out is that of ``base``.

    Without a base, or with an input of its own, what it leaves out of caches follows from that.
    """

    def rate(name: str, instead: Decimal | None) -> Decimal:
        if name in table:
            return _dollars(model, name, table[name]) * per
        if instead is None:
            raise ValueError(f"of '{model}': {name} is missing")
        return instead

    fresh = rate("input", base.input if base else None)
    kept = None if "input" in table else base
    write = rate("cache_write", kept.cache_write if kept else fresh)
    hour = kept.cache_write_1h if kept and "cache_write" not in table else write
    return Rates(
        input=fresh,
        output=rate("output", base.output if base else None),
        cache_read=rate("cache_read", kept.cache_read if kept else fresh),
        cache_write=write,
        cache_write_1h=rate("cache_write_1h", hour),
    )


def _dollars(model: str, name: str, value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError(f"of '{model}': {name} must be a number of US dollars")
    if not math.isfinite(value) or not 0 <= value <= MOST:
        raise ValueError(f"of '{model}': {name} must be 0 to {MOST:,} US dollars")
    return Decimal(str(value))
