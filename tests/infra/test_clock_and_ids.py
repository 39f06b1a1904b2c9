"""Time that follows the system and says when it was set, and ids that sort by it."""

from __future__ import annotations

import time
import uuid

import pytest

from agenthive.infra.clock import SystemClock
from agenthive.infra.ids import uuid7


def test_the_clock_gives_microseconds_since_the_epoch() -> None:
    assert abs(SystemClock().now() - time.time_ns() // 1000) < 1_000_000


@pytest.mark.parametrize("seconds", [365 * 86_400, 86_400, 2, -2, -86_400, -365 * 86_400])
def test_the_clock_follows_the_system_and_says_so(
    monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    clock, steps = SystemClock(), list[tuple[int, int]]()
    clock.on_step = lambda now, by: steps.append((now, by))
    before = clock.now()
    read_time = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: read_time() + seconds * 10**9)
    readings = [clock.now() for _ in range(1000)]
    assert readings == sorted(readings)
    assert abs(readings[0] - before - seconds * 10**6) < 1_000_000
    assert len(steps) == 1, "told once"
    assert abs(steps[0][1] - seconds * 10**6) < 1_000_000
    assert steps[0][0] <= readings[0], "before anybody saw the new time"


def test_the_clock_does_not_follow_a_small_step(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, steps = SystemClock(), list[int]()
    clock.on_step = lambda now, by: steps.append(by)
    before = clock.now()
    read_time = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: read_time() - 500_000_000)
    assert clock.now() >= before
    assert steps == []


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
