"""Time that never goes back, and ids that sort by it."""

from __future__ import annotations

import time
import uuid

import pytest

from agenthive.infra.clock import SystemClock
from agenthive.infra.ids import uuid7


def test_the_clock_gives_microseconds_since_the_epoch() -> None:
    assert abs(SystemClock().now() - time.time_ns() // 1000) < 1_000_000


def test_the_clock_does_not_follow_a_step_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SystemClock()
    before = clock.now()
    monkeypatch.setattr(time, "time_ns", lambda: 0)  # the system's clock is set back to 1970
    readings = [clock.now() for _ in range(1000)]
    assert readings == sorted(readings)
    assert before <= readings[0] < before + 5_000_000


def test_ids_are_uuids_of_version_7() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid.UUID(uuid7())
    after = time.time_ns() // 1_000_000
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert before <= made.int >> 80 <= after


def test_ids_differ_and_sort() -> None:
    earlier = [uuid7() for _ in range(1000)]
    time.sleep(0.002)
    later = [uuid7() for _ in range(1000)]
    assert len({*earlier, *later}) == 2000
    assert max(earlier) < min(later)
    bits = [uuid.UUID(one).int & ((1 << 62) - 1) for one in earlier]
    assert 0.4 < sum(bit.bit_count() for bit in bits) / (62 * 1000) < 0.6
