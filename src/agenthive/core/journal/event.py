"""The base of all events. The events themselves are in `run_events` and `hive_events`.

A field here is a field of every event of every journal: it needs a default that is not written.
"""

from __future__ import annotations

import msgspec

from agenthive.core.values import Micros


class Event(
    msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="type", omit_defaults=True
):
    """Base of all events: something that happened, in the past tense."""

    #: Its place in the order of its stream, in microseconds UTC: what the clock showed when it
    #: happened, but never less than for the event before it.
    at: Micros
    #: What the clock showed, if that is earlier than ``at`` because the clock was set back; else 0.
    wall: Micros = 0

    @property
    def time(self) -> Micros:
        """When it happened, by the clock: what dates, deadlines, days and ages are counted from."""
        return self.wall or self.at
