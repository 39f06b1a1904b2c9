"""The base of all events. The events themselves are in `run_events` and `hive_events`.

Never add a field here: it would be in every event of every journal.
"""

from __future__ import annotations

import msgspec

from agenthive.core.values import Micros


class Event(
    msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="type", omit_defaults=True
):
    """Base of all events: something that happened, in the past tense."""

    #: When it happened, in microseconds UTC; never decreases within a stream.
    at: Micros
