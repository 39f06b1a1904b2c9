"""The budgets of an installation, as a settings file has them. Knows no runs and no prices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

MOST: Final = 1e9
"""US dollars."""
MOST_AGENTS: Final = 10_000
_OWN: Final = ("tenant", "day")
AGENT: Final = "agent "
"""What the name of an agent's budget begins with."""


def parse(value: object) -> dict[str, float]:
    """``tenant``, ``day``, ``agents`` (name -> US dollars) as limits by name. Raises ValueError."""
    if isinstance(value, str):
        value = _written_short(value)
    if not isinstance(value, Mapping):
        raise ValueError("must be a table with tenant, day and agents")
    agents = value.get("agents", {})
    if not isinstance(agents, Mapping) or len(agents) > MOST_AGENTS:
        raise ValueError(f"must have a table of at most {MOST_AGENTS:,} agents")
    strange = [str(name)[:60] for name in value if name not in (*_OWN, "agents")]
    if strange:
        raise ValueError(f"has no {strange[0]!r}; there are tenant, day and agents")
    found = {name: _amount(name, value[name]) for name in _OWN if name in value}
    return found | {AGENT + str(name): _amount(str(name), one) for name, one in agents.items()}


def _written_short(text: str) -> dict[str, object]:
    """``tenant=100,day=5,agent NAME=1``."""
    found: dict[str, object] = {}
    agents: dict[str, object] = {}
    for part in filter(None, (one.strip() for one in text.split(","))):
        name, _, amount = part.rpartition("=")
        try:
            given = float(amount)
        except ValueError:
            raise ValueError(f"must be NAME=US-DOLLARS,...; {part[:60]!r} is not") from None
        if name.strip().startswith(AGENT):
            agents[name.strip().removeprefix(AGENT).strip()] = given
        else:
            found[name.strip()] = given
    return found | ({"agents": agents} if agents else {})


def _amount(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"of {name[:60]!r} must be a number of US dollars")
    if not math.isfinite(value) or not 0 <= value <= MOST:
        raise ValueError(f"of {name[:60]!r} must be 0 to {MOST:,.0f} US dollars")
    return float(value)
