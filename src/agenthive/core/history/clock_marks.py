"""The mark in which a journal keeps the last steps back of its clock, and what they say about ages.

A time that was recorded while the clock was ahead lies too late by as much as the clock was set
back afterwards. The hive's stream has every step; the mark has the last ones where a reader finds
them without reading the stream. Pure; never reads a journal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from agenthive.core.values import Micros

CLOCK_MARK: Final = "clock"
"""The name of the mark. Those of endpoints consist of two words."""


class RecordedStep(msgspec.Struct, frozen=True, kw_only=True):
    """A step back of the clock. Times are microseconds UTC."""

    #: What the clock showed after it.
    shown: Micros
    #: By how much it was set back, as far as that is known. The mark has steps back only; negative:
    #: a step forward, from the hive's stream.
    by: Micros
    #: Its event is the first of its kind in the hive's stream after this number.
    after: int


_decoder = msgspec.json.Decoder(list[RecordedStep])


def encode_steps(steps: Sequence[RecordedStep]) -> str:
    """The text of the mark."""
    return msgspec.json.encode(list(steps)).decode()


def decode_steps(text: str) -> list[RecordedStep]:
    """The steps in a mark; none if there is no mark, or if it cannot be read."""
    try:
        return _decoder.decode(text) if text else []
    except msgspec.DecodeError:
        return []


def correct_time(at: Micros, later_steps: Sequence[RecordedStep]) -> Micros:
    """A recorded time, by the clock of now. ``later_steps`` were recorded after it, in order.

    They may include steps forward, whose ``by`` is negative. A step forward and a step back cancel
    each other, in either order: the clock was wrong only in between. A step forward alone changes
    nothing, because on some systems a machine that sleeps looks the same.
    """
    corrected, unanswered = at, 0
    for step in later_steps:
        if step.by < 0:
            cancelled = min(-step.by, at - corrected)
            corrected += cancelled
            unanswered += -step.by - cancelled
            continue
        cancelled = min(step.by, unanswered)
        unanswered -= cancelled
        # Nothing that was recorded before the step can have happened after it.
        if corrected > step.shown:
            corrected = min(corrected - (step.by - cancelled), step.shown)
    return corrected
