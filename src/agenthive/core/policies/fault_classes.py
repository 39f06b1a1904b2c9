"""Fault classes: whether the other side did anything, as far as that is certain.

The code that makes a `Fault` sets its class, because only there is it known: the same status means
one thing before a request was sent and another after. The class decides whether the call is
repeated (`core.machine.guards.outcome`) and what becomes of its hold (`core.budget.holds`). The
table of both is in ``docs/explanation/effects.md``. To add a class: a member here, a row there.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class FaultClass(StrEnum):
    """What is certain about a call that did not succeed."""

    NOT_SENT = "not_sent"
    """The other side received nothing: no connection, a secret or an agent is missing."""
    REFUSED = "refused"
    """The other side received the call, and declared that it did not carry it out."""
    BAD_END = "bad_end"
    """The call was carried out, and its result cannot be used."""
    UNKNOWN = "unknown"
    """The other side may have carried the call out, and may still do so."""


BREAKER_CLASSES: Final = frozenset({FaultClass.NOT_SENT, FaultClass.UNKNOWN})
"""Classes that say something about the health of the endpoint: circuit breakers count them."""

DEFAULT_RETRY_ON: Final = (FaultClass.NOT_SENT, FaultClass.UNKNOWN)
"""Classes after which a call is attempted again, unless the retry policy says otherwise."""

RETRY_CHOICES: Final = (FaultClass.NOT_SENT, FaultClass.UNKNOWN, FaultClass.BAD_END)
"""Classes that a retry policy may name; a call that was refused would be refused again."""

CLASS_TEXTS: Final = {
    FaultClass.NOT_SENT: "nothing was sent",
    FaultClass.REFUSED: "the other side refused it and did nothing",
    FaultClass.BAD_END: "it ran, and its result cannot be used",
    FaultClass.UNKNOWN: "it may have acted",
}
"""What a class says about a call, for users."""

_BY_KIND: Final = {
    "breaker_open": FaultClass.NOT_SENT,
    "unregistered": FaultClass.NOT_SENT,
    "expression": FaultClass.NOT_SENT,
    "rate_limited": FaultClass.REFUSED,
    "overloaded": FaultClass.REFUSED,
    "refused": FaultClass.REFUSED,
    "invalid_output": FaultClass.BAD_END,
}


def class_of_kind(kind: str) -> FaultClass:
    """The class of a fault without one: of an old journal, or of an agent that sets none."""
    return _BY_KIND.get(kind, FaultClass.UNKNOWN)
