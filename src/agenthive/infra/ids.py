"""Ids: UUID version 7 (RFC 9562), which sort by the time of their creation.

Never used where a decision depends on the value: those ids come from the journal.
"""

from __future__ import annotations

import os
import time
import uuid


def uuid7() -> str:
    """A new id as text: 48 bits of milliseconds since the epoch, version, 74 random bits."""
    millis = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    value = (millis & ((1 << 48) - 1)) << 80 | random
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))
