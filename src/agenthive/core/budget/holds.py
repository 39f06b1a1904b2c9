"""What a call holds of the budget, and what an answer makes of it.

One rule, used by the machine when it reads a fact and by the ledger when it books it, so that the
two cannot differ. Amounts are nano-dollars. Pure.
"""

from __future__ import annotations

from typing import Final

import msgspec

from agenthive.core.model.calls import Fault, Usage
from agenthive.core.values import Micros, NanoUSD

DAY: Final[Micros] = 86_400 * 1_000_000
NOT_CARRIED_OUT: Final = frozenset(
    {"rate_limited", "overloaded", "breaker_open", "unregistered", "expression", "refused"}
)
"""Faults that say for certain that the other side did nothing."""
BUDGET_EXCEEDED: Final = "budget_exceeded"
"""The fault of a task that nothing was left for."""
BUDGET_REASONS: Final = ("budget", "budget_asked")
"""Why a task is blocked that nothing is left for: it waits, or people are asked for more."""


class Hold(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What was put aside for a call, and when: the day that it is spent on is that of ``at``.

    ``inherited``: also for earlier attempts, of which nobody knows whether they were carried out.
    """

    amount: NanoUSD
    at: Micros
    inherited: bool = False


def cost_of(
    hold: Hold | None, usage: Usage | None, fault: Fault | None = None, *, cached: bool = False
) -> NanoUSD | None:
    """What a call cost that has answered; None if that is in doubt.

    A result that says nothing of its cost costs what was put aside for it. What was sent in vain,
    or came from the ``cached`` results, costs nothing, unless an earlier attempt may have. After
    any other fault the other side may have worked, or still do, and charge for it: what is put
    aside stays so.
    """
    if usage is not None and usage.cost is not None:
        return usage.cost
    if hold is None:
        return 0
    is_free = cached if fault is None else fault.kind in NOT_CARRIED_OUT
    if is_free and not hold.inherited:
        return 0
    return hold.amount if fault is None else None
