"""Circuit breakers: one alone, then all of a hive with the lanes behind them."""

from __future__ import annotations

import pytest

from agenthive.core.engine.circuit_breakers import BreakerRegistry
from agenthive.core.engine.ready_queue import ReadyQueue
from agenthive.core.journal import run_events as ev
from agenthive.core.model.calls import Fault
from agenthive.core.policies.circuit_breaker import Breaker, BreakerPolicy, BreakerState
from agenthive.core.values import SECOND

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
POLICY = BreakerPolicy(failure_threshold=2, recovery_timeout=9)
DOWN = Fault(kind="connection", message="gone")
BUSY = Fault(kind="rate_limited", message="slow down", counts=False)
T, LATER = 1000 * SECOND, 1009 * SECOND


def test_defaults() -> None:
    policy = BreakerPolicy()
    assert policy.failure_threshold == 5
    assert policy.recovery_timeout == 60.0
    assert policy.half_open_max_calls == 1


def opened() -> Breaker:
    breaker = Breaker(POLICY)
    breaker.record_failure(T)
    breaker.record_failure(T)
    return breaker


def test_opens_after_as_many_failures_in_a_row() -> None:
    breaker = Breaker(POLICY)
    breaker.record_failure(T)
    assert (breaker.state, breaker.failures) == (CLOSED, 1)
    breaker.record_success()
    breaker.record_failure(T)
    assert breaker.state is CLOSED
    assert breaker.allows_call(T)
    breaker.record_failure(T)
    assert (breaker.state, breaker.failures, breaker.until) == (OPEN, 2, LATER)
    assert not breaker.allows_call(LATER - 1)
    assert breaker.allows_call(LATER)


def test_failures_of_calls_under_way_do_not_keep_it_open_longer() -> None:
    breaker = opened()
    breaker.record_failure(T + SECOND)
    assert (breaker.until, breaker.failures) == (LATER, 2)


def test_a_call_that_starts_too_early_is_no_probe() -> None:
    breaker = opened()
    breaker.record_start(LATER - 1)
    assert (breaker.state, breaker.probes) == (OPEN, 0)


@pytest.mark.parametrize("most", [1, 2])
def test_as_many_probes_as_allowed(most: int) -> None:
    breaker = Breaker(BreakerPolicy(failure_threshold=1, half_open_max_calls=most))
    breaker.record_failure(T)
    at = breaker.until
    for number in range(1, most + 1):
        assert breaker.allows_call(at)
        breaker.record_start(at)
        assert (breaker.state, breaker.probes) == (HALF_OPEN, number)
    assert not breaker.allows_call(at)


def test_a_probe_that_goes_well_closes() -> None:
    breaker = opened()
    breaker.record_start(LATER)
    breaker.record_success()
    assert (breaker.state, breaker.failures, breaker.probes) == (CLOSED, 0, 0)
    breaker.record_start(LATER)
    assert breaker.probes == 0


def test_a_probe_that_fails_opens_again() -> None:
    breaker = opened()
    breaker.record_start(LATER)
    breaker.record_failure(LATER + 5)
    assert (breaker.state, breaker.until) == (OPEN, LATER + 5 + 9 * SECOND)
    assert (breaker.probes, breaker.failures) == (0, 3)


def test_a_probe_that_says_nothing_gives_its_place_back() -> None:
    breaker = opened()
    breaker.release_probe()
    assert (breaker.state, breaker.probes) == (OPEN, 0)
    breaker.record_start(LATER)
    breaker.release_probe()
    assert (breaker.state, breaker.probes) == (HALF_OPEN, 0)
    assert breaker.allows_call(LATER)
    breaker.release_probe()
    assert breaker.probes == 0


# With lanes.


class Hive:
    """Breakers over a queue with two lanes to one endpoint and one to another."""

    def __init__(self, policy: BreakerPolicy | None = POLICY) -> None:
        self.queue = ReadyQueue()
        self.breakers = BreakerRegistry(self.queue)
        self.queue.add_run("r", 99)
        self.policy = policy

    def attach(self, now: int = T) -> None:
        for lane, where in (("x1", "x"), ("x2", "x"), ("y", "y")):
            self.queue.get_lane(lane)
            self.breakers.attach_lane(where, lane, self.policy, now)

    def free(self) -> set[str]:
        return {name for name in ("x1", "x2", "y") if self.queue.get_lane(name).has_room}


def hive(policy: BreakerPolicy | None = POLICY) -> Hive:
    made = Hive(policy)
    made.attach()
    return made


EVERY, ONLY_Y = {"x1", "x2", "y"}, {"y"}
OPENED = ev.BreakerOpened(at=T, endpoint="x", until=LATER, failures=2)


def broken() -> Hive:
    made = hive()
    assert made.breakers.record_failure("x", DOWN, T) == []
    assert made.breakers.record_failure("x", DOWN, T) == [OPENED]
    return made


def test_opening_closes_every_lane_to_that_endpoint() -> None:
    made = hive()
    assert made.free() == EVERY
    made = broken()
    assert made.free() == ONLY_Y
    assert made.breakers.record_failure("x", DOWN, T) == []
    state = made.breakers.state("x")
    assert state is not None
    assert state.state is OPEN
    assert made.breakers.state("z") is None


def test_time_opens_the_lanes_for_a_probe() -> None:
    made = broken()
    assert made.breakers.next_wake() == LATER
    made.breakers.tick(LATER - 1)
    assert made.free() == ONLY_Y
    made.breakers.tick(LATER)
    assert made.free() == EVERY
    assert made.breakers.next_wake() is None
    made.breakers.record_start("x", LATER)
    assert made.free() == ONLY_Y
    assert made.breakers.record_success("x", LATER + 1) == [
        ev.BreakerClosed(at=LATER + 1, endpoint="x")
    ]
    assert made.free() == EVERY
    assert made.breakers.record_success("x", LATER + 2) == []


def test_a_probe_of_two_leaves_the_lanes_open() -> None:
    made = hive(BreakerPolicy(failure_threshold=1, recovery_timeout=9, half_open_max_calls=2))
    made.breakers.record_failure("x", DOWN, T)
    made.breakers.tick(LATER)
    made.breakers.record_start("x", LATER)
    assert made.free() == EVERY
    made.breakers.record_start("x", LATER)
    assert made.free() == ONLY_Y
    assert made.breakers.record_failure("x", BUSY, LATER) == []
    assert made.free() == EVERY


def test_a_probe_that_fails_is_told_and_waits_again() -> None:
    made = broken()
    made.breakers.tick(LATER)
    made.breakers.record_start("x", LATER)
    again = made.breakers.record_failure("x", DOWN, LATER)
    assert again == [ev.BreakerOpened(at=LATER, endpoint="x", until=LATER + 9 * SECOND, failures=3)]
    assert made.free() == ONLY_Y
    assert made.breakers.next_wake() == LATER + 9 * SECOND


def test_faults_that_do_not_count() -> None:
    made = hive()
    for _ in range(9):
        assert made.breakers.record_failure("x", BUSY, T) == []
    assert made.free() == EVERY
    made = broken()
    assert made.breakers.record_failure("x", BUSY, T) == []
    assert made.free() == ONLY_Y


def test_an_old_wake_up_does_not_open_what_has_opened_anew() -> None:
    made = broken()
    assert made.breakers.record_success("x", T + 1) != []
    made.breakers.record_failure("x", DOWN, T + 5 * SECOND)
    made.breakers.record_failure("x", DOWN, T + 5 * SECOND)
    made.breakers.tick(LATER)
    assert made.free() == ONLY_Y
    made.breakers.tick(LATER + 5 * SECOND)
    assert made.free() == EVERY


def test_a_wake_up_leaves_a_probe_alone() -> None:
    made = broken()
    made.breakers.record_start("x", LATER)
    made.breakers.tick(LATER)
    assert made.free() == ONLY_Y


def test_starting_while_closed_changes_nothing() -> None:
    made = hive()
    made.breakers.record_start("x", T)
    assert made.free() == EVERY


def test_the_first_policy_counts() -> None:
    made = hive()
    made.queue.get_lane("x3")
    made.breakers.attach_lane("x", "x3", BreakerPolicy(failure_threshold=99), T)
    made.breakers.record_failure("x", DOWN, T)
    assert made.breakers.record_failure("x", DOWN, T) == [OPENED]
    assert not made.queue.get_lane("x3").has_room


def test_without_a_policy_the_default_counts() -> None:
    made = hive(None)
    for _ in range(4):
        assert made.breakers.record_failure("x", DOWN, T) == []
    assert made.breakers.record_failure("x", DOWN, T) != []


@pytest.mark.parametrize(("now", "free"), [(LATER - 1, ONLY_Y), (LATER, EVERY)])
def test_remembered_after_a_restart(now: int, free: set[str]) -> None:
    made = Hive()
    made.breakers.restore_breaker(ev.RunOpened(at=T, run="r"))
    made.breakers.restore_breaker(OPENED)
    made.attach(now)
    assert made.free() == free
    assert made.breakers.next_wake() == LATER
    state = made.breakers.state("x")
    assert state is not None
    assert (state.state, state.failures, state.until) == (OPEN, 2, LATER)
    made.breakers.tick(LATER)
    assert made.free() == EVERY


def test_closed_before_the_restart() -> None:
    made = Hive()
    for fact in (
        ev.BreakerClosed(at=T, endpoint="x"),
        OPENED,
        ev.BreakerClosed(at=T, endpoint="x"),
    ):
        made.breakers.restore_breaker(fact)
    made.attach()
    assert made.free() == EVERY


def test_a_lane_that_comes_while_open_is_closed() -> None:
    made = broken()
    made.queue.get_lane("x3")
    made.breakers.attach_lane("x", "x3", None, T)
    assert not made.queue.get_lane("x3").has_room
    made.queue.open_lane("x3")
    made.breakers.attach_lane("x", "x3", None, T)
    assert made.queue.get_lane("x3").has_room, "attached once only"


def test_failures_count_in_a_row_only() -> None:
    made = hive()
    for _ in range(3):
        assert made.breakers.record_failure("x", DOWN, T) == []
        assert made.breakers.record_success("x", T) == []
    assert made.free() == EVERY
