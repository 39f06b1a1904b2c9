"""What a call reserves of the budget, and what its reply makes of that.

One rule, `cost_of`, is used by the machine when it applies an event and by the engine when it books
the event, so that the two cannot differ. Amounts are nano-dollars. Pure; never decides what happens
when money is short.
"""

from __future__ import annotations

from typing import Final

import msgspec

from agenthive.core.model.calls import Fault, Usage
from agenthive.core.values import Micros, NanoUSD

DAY: Final[Micros] = 86_400 * 1_000_000
"""Microseconds of a day."""
NOT_CARRIED_OUT: Final = frozenset(
    {"rate_limited", "overloaded", "breaker_open", "unregistered", "expression", "refused"}
)
"""Kinds of faults that say for certain that the other side did nothing."""
BUDGET_EXCEEDED: Final = "budget_exceeded"
"""Fault kind of a task with a call that the budget does not cover."""
BUDGET_REASONS: Final = ("budget", "budget_asked")
"""Reasons of a task blocked for budget: it waits, or an approval to raise the limit is pending."""


class Hold(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What is reserved for a call. Stored by position, so the order of the fields is fixed."""

    #: Nano-dollars.
    amount: NanoUSD
    #: When it was reserved (us); the UTC date of this time is the day that the call is spent on.
    at: Micros
    #: Whether it covers earlier attempts too, which may or may not have been carried out.
    inherited: bool = False


def cost_of(
    hold: Hold | None, usage: Usage | None, fault: Fault | None = None, *, cached: bool = False
) -> NanoUSD | None:
    """What a call that has ended cost, in nano-dollars; None if that is in doubt.

    The cost in the ``usage`` counts if there is one. Otherwise:

    * a result costs what was reserved for it;
    * a call that was certainly not carried out, or was answered from the result cache (``cached``),
      costs nothing, unless its hold covers earlier attempts that may have been carried out;
    * after any other fault the cost is in doubt: the other side may have worked, or still work, and
      charge for it.
    """
    if usage is not None and usage.cost is not None:
        return usage.cost
    if hold is None:
        return 0
    is_free = cached if fault is None else fault.kind in NOT_CARRIED_OUT
    if is_free and not hold.inherited:
        return 0
    return hold.amount if fault is None else None
