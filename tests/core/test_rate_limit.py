"""Rate limits: no window above 110 %, nothing late that could go, nobody left behind."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agenthive.core.policies.aimd import DECREASE_INTERVAL, AdaptiveConcurrency
from agenthive.core.policies.fair_queue import AGING_INTERVAL, FairQueue
from agenthive.core.policies.rate_limit import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    NotAdmitted,
    RateLimit,
    RateLimiter,
    Receipt,
)

START = 1_700_000_000 * SECOND
OPEN = RateLimit()


def limiter(**limits: int) -> RateLimiter:
    return RateLimiter(RateLimit(**limits))


def most_in_a_window(admitted: list[tuple[int, int]], period: int) -> int:
    """The largest sum of units in any window of that length (its end included, its start not)."""
    best = total = first = 0
    for at, units in admitted:
        total += units
        while admitted[first][0] <= at - period:
            total -= admitted[first][1]
            first += 1
        best = max(best, total)
    return best


# One tier.


@pytest.mark.parametrize(("limit", "burst"), [(60, 6), (5, 1), (3000, 300)])
def test_a_burst_is_a_tenth(limit: int, burst: int) -> None:
    found = limiter(requests_per_minute=limit)
    admitted = 0
    while not found.acquire(START):
        admitted += 1
    assert admitted == burst


def test_the_wait_is_exact() -> None:
    found = limiter(requests_per_minute=5)
    assert found.acquire(START) == 0
    wait = found.acquire(START)
    assert wait == MINUTE // 5
    assert found.acquire(START + wait - 1) == 1
    assert found.acquire(START + wait) == 0


def test_idle_time_is_not_saved_up() -> None:
    found = limiter(tokens_per_minute=1000)
    late = START + 100 * HOUR
    assert found.acquire(late, 100) == 0
    assert found.acquire(late, 1) > 0


def test_what_is_larger_than_the_burst_waits_until_it_fits_the_limit() -> None:
    found = limiter(tokens_per_minute=1000)
    assert found.acquire(START, 600) == 0
    assert found.acquire(START, 500) == MINUTE * 500 // 1000, "as much as passes in that time"
    wait = found.acquire(START, 600)
    assert wait == MINUTE, "both in one minute are more than 110 %"
    assert found.acquire(START + wait - 1, 600) == 1
    assert found.acquire(START + wait, 600) == 0


def test_what_is_larger_than_the_limit_is_refused_at_once() -> None:
    found = limiter(tokens_per_minute=1000)
    assert found.acquire(START, 1001) is NotAdmitted.NEVER
    assert found.acquire(START, 1000) == 0


@settings(max_examples=300, deadline=None)
@given(
    limit=st.integers(1, 100_000),
    calls=st.lists(st.tuples(st.integers(0, 20 * SECOND), st.integers(1, 200_000)), max_size=80),
)
def test_no_window_holds_more_than_its_limit_and_a_tenth(
    limit: int, calls: list[tuple[int, int]]
) -> None:
    found, now = limiter(tokens_per_minute=limit), START
    admitted: list[tuple[int, int]] = []
    for pause, size in calls:
        now += pause
        size = 1 + size % limit
        wait = found.acquire(now, size)
        assert wait >= 0
        if wait:
            # Not a nanosecond earlier, and then it can go.
            assert found.acquire(now + wait - 1, size) > 0
            now += wait
            assert found.acquire(now, size) == 0
        admitted.append((now, size))
    assert most_in_a_window(admitted, MINUTE) <= limit + max(1, limit // 10)


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 1 << 30), limit=st.integers(100, 10_000))
def test_settled_tokens_keep_the_limit_and_are_used_again(seed: int, limit: int) -> None:
    rng, found, now = Random(seed), limiter(tokens_per_minute=limit), START
    receipts: list[Receipt] = []
    for _ in range(60):
        size = rng.randint(1, limit)
        now += max(found.acquire(now, size), 0) if rng.random() < 0.5 else rng.randint(0, SECOND)
        if found.acquire(now, size) == 0:
            assert found.last_receipt is not None
            receipts.append(found.last_receipt)
        if receipts and rng.random() < 0.7:
            one = rng.choice(receipts)
            found.settle(one, rng.randint(0, one.tokens))
    admitted = [(one.at, one.tokens) for one in receipts]
    assert most_in_a_window(admitted, MINUTE) <= limit + max(1, limit // 10)


def test_more_than_was_reserved_is_owed_and_less_is_free() -> None:
    found = limiter(tokens_per_minute=600)
    assert found.acquire(START, 60) == 0
    found.settle(found.last_receipt, 60)
    receipt = found.last_receipt
    found.settle(receipt, 120)
    assert found.acquire(START, 60) == 12 * SECOND
    found.settle(receipt, 60)
    assert found.acquire(START, 60) == 6 * SECOND
    found.settle(receipt, 0)
    assert found.acquire(START, 60) == 0


def test_what_is_long_past_is_settled_all_the_same() -> None:
    found = limiter(tokens_per_minute=600)
    assert found.acquire(START, 600) == 0
    old = found.last_receipt
    assert found.acquire(START + 2 * MINUTE, 600) == 0
    found.settle(old, 0)
    assert found.acquire(START + 2 * MINUTE, 60) == 0
    assert found.acquire(START + 2 * MINUTE, 1) > 0


def test_three_large_ones_keep_the_window() -> None:
    found = limiter(tokens_per_minute=4)
    assert found.acquire(START, 3) == 0
    assert found.acquire(START, 3) == MINUTE
    assert found.acquire(START, 2) == MINUTE // 2


# All tiers together.


def test_all_or_nothing() -> None:
    found = limiter(requests_per_minute=100, tokens_per_minute=1000, requests_per_day=10)
    assert found.acquire(START, 100) == 0
    before = [(tier.tat) for tier in found._requests]
    assert found.acquire(START, 100) > 0
    assert [(tier.tat) for tier in found._requests] == before
    assert found.in_flight == 1


@pytest.mark.parametrize(
    ("limits", "wait"),
    [
        ({"requests_per_minute": 10, "requests_per_hour": 10}, HOUR // 10),
        ({"requests_per_hour": 10, "requests_per_day": 10}, DAY // 10),
        ({"requests_per_minute": 10, "tokens_per_minute": 10}, MINUTE // 10),
    ],
)
def test_the_slowest_tier_counts(limits: dict[str, int], wait: int) -> None:
    found = limiter(**limits)
    assert found.acquire(START, 1) == 0
    assert found.acquire(START, 1) == wait


def test_calls_at_once() -> None:
    found = limiter(concurrent_requests=2)
    assert [found.acquire(START) for _ in range(3)] == [0, 0, NotAdmitted.FULL]
    found.release()
    assert found.acquire(START) == 0


def test_without_limits_all_may_pass() -> None:
    found = RateLimiter(OPEN)
    assert {found.acquire(START, 10**9) for _ in range(1000)} == {0}
    assert found.last_receipt is None
    found.settle(None, 9)
    assert found.list_marks() == []


def test_who_asked_for_a_pause_gets_it() -> None:
    found = RateLimiter(OPEN)
    found.block(START + 5, START)
    found.block(START + 3, START)
    assert found.acquire(START) == 5
    assert found.acquire(START + 5) == 0


def test_what_is_left_over_there_counts_if_it_is_less() -> None:
    found = limiter(requests_per_minute=60, tokens_per_minute=60_000)
    found.apply_quota(START, 1000, 1_000_000, MINUTE)
    assert found.acquire(START, 1) == 0
    found.apply_quota(START, 2, None, 30 * SECOND)
    found.apply_quota(START, 900, 100, 30 * SECOND)
    assert found.acquire(START, 60) == 0
    assert found.acquire(START, 60) == MINUTE, "there are 40 tokens left"
    assert found.acquire(START, 40) == 0
    assert found.acquire(START) == MINUTE, "there is no call left"
    assert found.acquire(START + MINUTE, 60) == 0
    found.apply_quota(START + MINUTE, 0, None, SECOND)
    assert found.acquire(START + MINUTE) == SECOND


def test_what_is_kept_over_a_restart() -> None:
    found = limiter(requests_per_minute=10, requests_per_day=20)
    assert found.acquire(START) == found.acquire(START + MINUTE) == 0
    again = limiter(requests_per_minute=10, requests_per_day=20)
    again.restore_marks(found.list_marks(), START + MINUTE)
    assert again.acquire(START + 2 * MINUTE) == found.acquire(START + 2 * MINUTE) > HOUR
    changed = limiter(requests_per_minute=10, requests_per_day=30)
    changed.restore_marks(found.list_marks(), START + MINUTE)
    assert changed.acquire(START + 2 * MINUTE) == 0


@pytest.mark.parametrize("limit", [1, 7, 60, 10**9])
def test_every_tier_takes_at_least_one(limit: int) -> None:
    for tier in ("requests_per_minute", "requests_per_day", "tokens_per_minute"):
        assert limiter(**{tier: limit}).acquire(START, 1) == 0


# How many at once.


def test_places_grow_slowly_and_shrink_at_once() -> None:
    found = AdaptiveConcurrency(10)
    assert found.places == 10
    found.record_overload(START)
    assert found.places == 7
    found.record_overload(START + DECREASE_INTERVAL - 1)
    assert found.places == 7, "one wave counts once"
    found.record_overload(START + DECREASE_INTERVAL)
    assert found.places == 4
    for _ in range(5):
        found.record_success(2)
    assert found.places == 4, "nobody asks for more"
    for _ in range(5):
        found.record_success(4)
    assert found.places == 5
    for _ in range(500):
        found.record_success(10)
    assert found.places == 10
    for wave in range(2, 20):
        found.record_overload(START + wave * DECREASE_INTERVAL)
    assert found.places == 1


def test_places_grow_for_who_uses_all_but_one() -> None:
    found = AdaptiveConcurrency(4, 9)
    for _ in range(40):
        found.record_success(2)
    assert found.places == 4
    for _ in range(5):
        found.record_success(3)
    assert found.places == 5


# The line.


def order(line: FairQueue[str], now: int = START) -> list[str]:
    found = []
    while (head := line.peek(now)) is not None:
        found.append(head[0])
        line.dequeue(now)
    assert len(line) == 0
    return found


def test_first_come_first_served() -> None:
    line: FairQueue[str] = FairQueue()
    for name in "abc":
        line.enqueue(name, 1)
    assert order(line) == ["a", "b", "c"]


def test_higher_classes_go_first() -> None:
    line: FairQueue[str] = FairQueue()
    for name, priority in (("a", 1), ("b", 9), ("c", 5)):
        line.enqueue(name, 1, priority=priority)
    assert order(line) == ["b", "c", "a"]


def test_tenants_take_turns_by_size() -> None:
    line: FairQueue[str] = FairQueue()
    for number in range(4):
        line.enqueue(f"small {number}", 10, tenant="s")
    line.enqueue("large", 30, tenant="l")
    line.enqueue("large too", 30, tenant="l")
    assert order(line) == [
        "small 0",
        "large",
        "small 1",
        "small 2",
        "small 3",
        "large too",
    ]


def test_who_leaves_is_passed_over() -> None:
    line: FairQueue[str] = FairQueue()
    tickets = [line.enqueue(name, 1) for name in "abc"]
    line.remove(tickets[0])
    line.remove(tickets[1])
    assert len(line) == 1
    assert order(line) == ["c"]


def test_who_is_passed_over_moves_up() -> None:
    line: FairQueue[str] = FairQueue()
    line.enqueue("low", 1, priority=4)
    now = START
    for number in range(3):
        line.enqueue(f"high {number}", 1, priority=5)
    assert line.peek(now) == ("high 0", 1)
    line.dequeue(now)
    assert line.peek(now + AGING_INTERVAL - 1) == ("high 1", 1)
    assert line.peek(now + 2 * AGING_INTERVAL) == ("low", 1)
    line.dequeue(now + 2 * AGING_INTERVAL)
    line.dequeue(now + 2 * AGING_INTERVAL)
    line.dequeue(now + 2 * AGING_INTERVAL)
    assert line.peek(now) is None
    line.dequeue(now)


def test_who_was_served_begins_to_wait_anew() -> None:
    line: FairQueue[str] = FairQueue()
    for name in ("low 0", "low 1"):
        line.enqueue(name, 1, priority=4)
    for number in range(3):
        line.enqueue(f"high {number}", 1, priority=5)
    line.dequeue(START)
    late = START + 2 * AGING_INTERVAL
    assert line.peek(late) == ("low 0", 1)
    line.dequeue(late)
    assert line.peek(late) == ("high 1", 1)


def test_waiting_alone_is_no_reason_to_move_up() -> None:
    line: FairQueue[str] = FairQueue()
    line.enqueue("low", 1, priority=1)
    line.enqueue("high", 1, priority=9)
    assert line.peek(START + 100 * AGING_INTERVAL) == ("high", 1)


def test_a_large_one_among_small_ones_waits_for_its_share_only() -> None:
    """100,000 tokens a minute, small ones of 2,000 at 150 % of that; one of 60,000 at 300 s."""
    found = limiter(tokens_per_minute=100_000)
    line: FairQueue[tuple[str, int]] = FairQueue()
    now, small, done = START, START, None
    arrival = START + 300 * SECOND
    waiting_before = 0
    arrived = False
    while done is None and now < START + 3600 * SECOND:
        while small <= now:
            line.enqueue(("small", small), 2_000)
            small += int(60 / 75 * SECOND)
        if not arrived and arrival <= now:
            waiting_before = sum(2_000 for _ in range(len(line)))
            line.enqueue(("large", arrival), 60_000)
            arrived = True
        head = line.peek(now)
        if head is None:
            now = small
            continue
        wait = found.acquire(now, head[1])
        if wait:
            now += wait
            continue
        line.dequeue(now)
        if head[0][0] == "large":
            done = now - arrival
    assert done is not None
    bound = (waiting_before + 60_000) * MINUTE // 100_000
    assert done <= bound + MINUTE * 60_000 // 100_000, done / SECOND


def test_equal_tenants_get_equal_parts() -> None:
    found = limiter(tokens_per_minute=60_000)
    line: FairQueue[str] = FairQueue()
    rng, now = Random(1), START
    given = dict.fromkeys("abcd", 0)
    for name in given:
        for _ in range(400):
            line.enqueue(name, rng.choice((100, 1000, 3000)), tenant=name)
    for _ in range(600):
        head = line.peek(now)
        assert head is not None
        wait = found.acquire(now, head[1])
        if wait:
            now += wait
            assert found.acquire(now, head[1]) == 0
        line.dequeue(now)
        given[head[0]] += head[1]
    fair = sum(given.values()) / 4
    assert all(abs(part - fair) <= 0.05 * fair for part in given.values()), given


def test_admissions_are_in_the_order_of_the_line() -> None:
    line: FairQueue[int] = FairQueue()
    for number in range(50):
        line.enqueue(number, 1 + number % 7)
    found = []
    while (head := line.peek(START)) is not None:
        found.append(head[0])
        line.dequeue(START)
    assert all(one < two for one, two in pairwise(found))
