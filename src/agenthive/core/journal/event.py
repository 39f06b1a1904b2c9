"""What every fact has: a time of its own. The facts are in `events` and `hive_events`."""

from __future__ import annotations

import msgspec

from agenthive.core.values import Micros


class Event(
    msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="type", omit_defaults=True
):
    """Base of all facts."""

    at: Micros
