"""Parses the budgets of an installation, as a settings file or a variable has them.

Amounts are US dollars. Knows no runs and no prices. Every error is a ValueError whose text follows
the name of the setting: "budgets must be ...".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

#: US dollars. A larger amount is taken for a slip.
MOST: Final = 1e9
MOST_AGENTS: Final = 10_000
_OWN: Final = ("tenant", "day")
#: The prefix of the name of an agent's budget, as in ``agent writer``.
AGENT: Final = "agent "


def parse_budgets(value: object) -> dict[str, float]:
    """Limits by name, in US dollars: ``tenant``, ``day``, ``agent NAME``.

    ``value`` is a table with ``tenant``, ``day`` and ``agents``, or the short form of an
    environment variable. Raises ValueError.
    """
    if isinstance(value, str):
        value = _parse_short_form(value)
    if not isinstance(value, Mapping):
        raise ValueError("must be a table with tenant, day and agents")
    agents = value.get("agents", {})
    if not isinstance(agents, Mapping) or len(agents) > MOST_AGENTS:
        raise ValueError(f"must have a table of at most {MOST_AGENTS:,} agents")
    unknown = [str(name)[:60] for name in value if name not in (*_OWN, "agents")]
    if unknown:
        raise ValueError(f"has no {unknown[0]!r}; there are tenant, day and agents")
    limits = {name: _check_amount(name, value[name]) for name in _OWN if name in value}
    return limits | {
        AGENT + str(name): _check_amount(str(name), amount) for name, amount in agents.items()
    }


def _parse_short_form(text: str) -> dict[str, object]:
    """``tenant=100,day=5,agent NAME=1``."""
    limits: dict[str, object] = {}
    agents: dict[str, object] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, _, amount = part.rpartition("=")
        try:
            dollars = float(amount)
        except ValueError:
            raise ValueError(
                f"must be NAME=US-DOLLARS,... such as tenant=100,day=5; {part[:60]!r} is not"
            ) from None
        if name.strip().startswith(AGENT):
            agents[name.strip().removeprefix(AGENT).strip()] = dollars
        else:
            limits[name.strip()] = dollars
    return limits | ({"agents": agents} if agents else {})


def _check_amount(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"of {name[:60]!r} must be a number of US dollars")
    # Compared first: a whole number of hundreds of digits is no float.
    if not 0 <= value <= MOST or not math.isfinite(value):
        raise ValueError(f"of {name[:60]!r} must be 0 to {MOST:,.0f} US dollars")
    return float(value)
