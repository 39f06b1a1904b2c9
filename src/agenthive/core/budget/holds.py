"""What a call reserves of the budget, and what its reply makes of that.

One rule, `cost_of`, is used by the machine when it applies an event and by the engine when it books
the event, so that the two cannot differ. Amounts are nano-dollars. Pure; never decides what happens
when money is short.
"""

from __future__ import annotations

from typing import Final

import msgspec

from agenthive.core.model.calls import Fault, Usage
from agenthive.core.policies.fault_classes import FaultClass
from agenthive.core.values import Micros, NanoUSD

DAY: Final[Micros] = 86_400 * 1_000_000
"""Microseconds of a day."""
CLASS_RULES: Final = 3
"""The first rules under which a fault is judged by its class; before, by its kind."""
NOT_CARRIED_OUT: Final = frozenset(
    {"rate_limited", "overloaded", "breaker_open", "unregistered", "expression", "refused"}
)
"""Under rules 1 and 2: kinds of faults after which the other side is taken to have done nothing."""
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
    hold: Hold | None,
    usage: Usage | None,
    fault: Fault | None = None,
    *,
    cached: bool = False,
    rules: int = CLASS_RULES,
) -> NanoUSD | None:
    """What a call that has ended cost, in nano-dollars; None if that is in doubt.

    ``rules`` are those of its run.

    The cost in the ``usage`` counts if there is one, see `reported_cost`. Otherwise:

    * a result costs what was reserved for it, and so does a bad end: the call was carried out;
    * a call that was certainly not carried out, or was answered from the result cache (``cached``),
      costs nothing, unless its hold covers earlier attempts that may have been carried out;
    * after a fault of unknown class the cost is in doubt: the other side may have worked, or still
      work, and charge for it.
    """
    if usage is not None and usage.cost is not None:
        return usage.cost if hold is None else reported_cost(usage, hold.amount)
    if hold is None:
        return 0
    if fault is None:
        return 0 if cached and not hold.inherited else hold.amount
    if was_not_carried_out(fault, rules):
        return None if hold.inherited else 0
    bad_end = rules >= CLASS_RULES and fault.known_class is FaultClass.BAD_END
    return hold.amount if bad_end else None


def reported_cost(usage: Usage, assumed: NanoUSD) -> NanoUSD:
    """What a call cost by its usage, in nano-dollars, where ``assumed`` was held or booked for it.

    That counts if the usage has no cost, or has only the least cost and that is lower.
    """
    if usage.cost is None:
        return assumed
    return max(usage.cost, assumed) if usage.at_least else usage.cost


def was_not_carried_out(fault: Fault, rules: int = CLASS_RULES) -> bool:
    """Whether it is certain that the other side did nothing, under the ``rules`` of the run."""
    if rules < CLASS_RULES:
        return fault.kind in NOT_CARRIED_OUT
    return fault.known_class in (FaultClass.NOT_SENT, FaultClass.REFUSED)
