"""The clock is set: dates go by the new clock, lengths of time go on, and nothing is lost."""

from __future__ import annotations

import pytest

from agenthive.core.engine.handled_times import MAX_INTERVALS, HandledTimes
from agenthive.core.engine.recovery import order_parents_first
from agenthive.core.graph.graph import Graph
from agenthive.core.history.clock_marks import RecordedStep, correct_time, decode_steps
from agenthive.core.history.replay import replay
from agenthive.core.history.retention import older_than
from agenthive.core.history.snapshots import restore_state
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.run_events import Parent
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.calls import Fault, Usage
from agenthive.core.model.control_flow import ApprovalSpec, OnDeadline, WaitSpec
from agenthive.core.model.workflow import OnExceeded
from agenthive.core.policies.circuit_breaker import BreakerPolicy
from agenthive.core.policies.rate_limit import MINUTE, RateLimit, RateLimiter
from agenthive.core.policies.schedule import Rule, format_utc
from agenthive.core.values import SECOND
from agenthive.infra.calendar import SystemCalendar
from agenthive.queries.retention import find_due_runs
from tests.core import purse
from tests.core.rig import AT_ONCE, FAULT, START, Bench, agent, flow, task

DAY = 86_400 * SECOND
YEAR = 365 * DAY
EVERY_UNIT = Rule(every=1)
CALENDAR = SystemCalendar()


class SteppedBench(Bench):
    """A bench whose clock can be set, seen by the process or while there was none."""

    def set_clock(self, by: int) -> None:
        self.now += by
        self.driver.record_clock_step(self.now, by)
        self.turn()


def waiting(by: str, bench: Bench) -> float:
    """Seconds until the driver wakes."""
    wake = bench.driver.next_wake()
    assert wake is not None, by
    return (wake - bench.now) / SECOND


@pytest.mark.parametrize("by", [YEAR, DAY, -DAY, 90 * SECOND])
@pytest.mark.parametrize("seen", [True, False])
def test_a_date_goes_by_the_clock(by: int, seen: bool) -> None:
    """Ten days from the true now, in a run that begins after the clock was ahead and is right."""
    bench = SteppedBench()
    bench.now += by
    bench.run(flow(task("a")), "before")
    if seen:
        bench.set_clock(-by)
    else:
        bench.crash(after=-by)
    until = format_utc(START + 10 * DAY)
    bench.run(flow(task("t", until=until), timeout=None), "r")
    assert bench.status() == "waiting"
    bench.now = START + 10 * DAY - 2 * SECOND
    bench.turn()
    assert "r/t" not in bench.open_calls()
    bench.wait(2)
    assert "r/t" in bench.open_calls()


@pytest.mark.parametrize("by", [YEAR, DAY, 3600 * SECOND, -DAY, -3600 * SECOND])
def test_lengths_of_time_go_on_when_a_process_sees_it(by: int) -> None:
    bench = SteppedBench()
    deadline = ApprovalSpec(message="?", deadline=100.0, on_deadline=OnDeadline.APPROVE)
    signal = WaitSpec(signal="s", timeout=100.0, default="none", has_default=True)
    bench.run(flow(task("a", approval=deadline), timeout=None), "approval")
    bench.run(flow(task("a", delay=100.0), timeout=None), "delay")
    bench.run(flow(task("a", wait_for=signal), timeout=None), "signal")
    bench.run(flow(task("a"), timeout=100.0), "time-out")
    bench.wait(40)
    bench.set_clock(by)
    bench.wait(30)
    bench.set_clock(-by)
    bench.wait(29)
    assert bench.open_calls() == ["time-out/a"]
    bench.wait(1)
    assert set(bench.open_calls()) >= {"approval/a", "delay/a", "signal/a"}
    assert any(isinstance(e, ev.RunTimeoutReached) for e in bench.events("time-out"))


@pytest.mark.parametrize("by", [YEAR, DAY])
def test_lengths_of_time_are_not_longer_if_no_process_saw_it(by: int) -> None:
    bench = SteppedBench()
    bench.now += by
    bench.run(flow(task("a", delay=100.0), timeout=None), "delay")
    bench.run(flow(task("a"), timeout=100.0), "time-out")
    bench.crash(after=-by)
    bench.turn()
    bench.wait(99)
    assert bench.open_calls() == ["time-out/a"]
    bench.wait(1)
    assert "delay/a" in bench.open_calls()
    assert any(isinstance(e, ev.RunTimeoutReached) for e in bench.events("time-out"))
    # A further process finds the same, and waits no longer for it.
    assert [e.by for e in bench.hive() if isinstance(e, ev.ClockSteppedBack)] == [by]


def test_what_a_right_clock_began_keeps_its_time() -> None:
    """The clock is ahead by a day for one process; a wait of three days began before."""
    bench = SteppedBench()
    bench.run(flow(task("a", delay=3 * 86_400.0), timeout=None), "r")
    bench.crash(after=DAY)
    bench.turn()
    bench.crash(after=-DAY + SECOND)
    bench.turn()
    assert waiting("the delay", bench) == 3 * 86_400 - 1


def test_the_order_never_goes_back_and_a_right_clock_adds_nothing() -> None:
    bench = SteppedBench()
    bench.run(flow(task("a"), task("b", "a"), timeout=None))
    payloads = b"".join(record.payload for record in bench.disk.records("r"))
    assert b"wall" not in payloads
    assert not bench.disk.get_marks()
    bench.set_clock(-YEAR)
    bench.answer("a")
    events = bench.events()
    assert [e.at for e in events] == sorted(e.at for e in events)
    assert [e.time for e in events[-2:]] == [bench.now] * 2
    hive = bench.hive()
    assert [e.at for e in hive] == sorted(e.at for e in hive)
    bench.run(flow(task("a")), "new")
    assert {e.at for e in bench.events("new")} == {bench.now}, "a new run has the right time"
    assert b"wall" not in b"".join(record.payload for record in bench.disk.records("new"))


def test_a_state_is_the_same_from_a_snapshot() -> None:
    bench = SteppedBench(snapshot_every=1)
    bench.run(flow(task("a", retry=AT_ONCE, max_cost=1), task("b"), timeout=100.0))
    bench.set_clock(-DAY)
    bench.reply("b", fault=FAULT)
    bench.turn()
    records, graph = bench.disk.records("r"), bench.graph("r")
    from_snapshot = restore_state(graph, records, bench.disk.contents)
    replayed = replay(graph, records, bench.disk.contents)
    for name in ("ahead", "expiries", "last_at", "wake_at", "away", "since", "holds"):
        assert getattr(from_snapshot, name) == getattr(replayed, name), name
    assert replayed.ahead == DAY


def test_a_step_of_less_than_a_second_is_waited_out() -> None:
    bench = Bench()
    bench.run(flow(task("a")))
    bench.now -= SECOND - 1
    bench.answer("a")
    assert not [e for e in bench.hive() if isinstance(e, ev.ClockSteppedBack)]
    assert bench.events()[-1].time == START


def test_money_of_a_day_is_that_of_the_clock() -> None:
    bench = purse.bench(day=100)
    bench.now += YEAR
    bench.run(flow(task("a"), timeout=None), "ahead")
    bench.reply("a", run="ahead", usage=Usage(model="m", cost=60))
    bench.turn()
    bench.now -= YEAR
    bench.run(flow(task("a"), timeout=None), "today")
    days = {a.scope: a.captured + a.held for a in bench.disk.accounts() if "/" in a.scope}
    today = f"day default/{bench.now // DAY}"
    assert days[today] == 50
    assert days[f"day default/{(bench.now + YEAR) // DAY}"] == 60


def test_who_waits_for_tomorrow_waits_for_that_of_the_clock() -> None:
    bench = purse.bench(day=60)
    bench.now += YEAR
    spec = purse.pair(1000, OnExceeded.WAIT)
    bench.run(spec)
    first = next(iter(bench.open_calls())).partition("/")[2]
    bench.reply(first, usage=Usage(model="m", cost=50))
    bench.turn()
    assert bench.open_calls() == []
    bench.now -= YEAR
    bench.driver.record_clock_step(bench.now, -YEAR)
    bench.turn()
    assert len(bench.open_calls()) == 1, "today's money is not spent"


def test_a_hold_in_doubt_is_booked_after_a_day() -> None:
    bench = purse.bench(tenant=1000)
    bench.now += YEAR
    bench.run(flow(task("a"), timeout=None))
    bench.reply("a", fault=Fault(kind="timeout", message="late"))
    bench.turn()
    bench.now -= YEAR
    bench.driver.record_clock_step(bench.now, -YEAR)
    bench.turn()
    bench.wait(86_399)
    assert not [e for e in bench.events() if isinstance(e, ev.HoldSettled)]
    bench.crash(after=SECOND)
    bench.turn()
    # Of the attempt that timed out, and of the one that the process left behind.
    settled = [e for e in bench.events() if isinstance(e, ev.HoldSettled)]
    assert [(e.attempt, e.cost) for e in settled] == [(1, 50), (2, 50)]


@pytest.mark.parametrize("seen", [True, False])
def test_an_open_breaker_opens_no_longer(seen: bool) -> None:
    policy = BreakerPolicy(failure_threshold=1, recovery_timeout=60.0)
    spec = flow(task("a"), agents=[agent(circuit_breaker=policy)], timeout=None)
    bench = SteppedBench()
    bench.now += YEAR
    bench.run(spec, "r")
    bench.reply("a", fault=FAULT)
    bench.turn()
    assert any(isinstance(e, ev.BreakerOpened) for e in bench.hive())
    bench.run(spec, "r2")
    if seen:
        bench.set_clock(-YEAR)
    else:
        bench.crash(after=-YEAR)
        bench.turn()
    bench.wait(59)
    assert bench.open_calls() == []
    bench.wait(2)
    assert bench.open_calls()


@pytest.mark.parametrize("seen", [True, False])
def test_a_rate_limit_counts_no_longer(seen: bool) -> None:
    spec = flow(
        task("a"),
        task("b"),
        agents=[agent(rate_limit=RateLimit(requests_per_minute=10))],
        timeout=None,
    )
    bench = SteppedBench()
    bench.now += YEAR
    bench.run(spec, "r")
    assert len(bench.open_calls()) == 1
    if seen:
        bench.set_clock(-YEAR)
    else:
        bench.crash(after=-YEAR)
        bench.turn()
        bench.wait(6)
    bench.wait(5)
    made = len(bench.open_calls())
    bench.wait(2)
    assert (made, len(bench.open_calls())) == (1, 2)


@pytest.mark.parametrize("by", [YEAR, -YEAR])
def test_a_rate_limit_still_counts_after_a_step_and_a_restart(by: int) -> None:
    limited = agent(rate_limit=RateLimit(requests_per_hour=10))
    bench = SteppedBench()
    bench.run(flow(task("a"), agents=[limited], timeout=None), "r")
    bench.answer("a")
    bench.set_clock(by)
    bench.crash(after=0)
    bench.run(flow(task("b"), agents=[limited], timeout=None), "next")
    assert bench.open_calls() == [], "the call before the step was a moment ago"
    bench.wait(361)
    assert len(bench.open_calls()) == 1


def test_a_limit_admits_no_more_for_a_step() -> None:
    for by in (None, -YEAR * 1000):
        limiter = RateLimiter(RateLimit(requests_per_minute=10, tokens_per_minute=100))
        ahead = (START + YEAR) * 1000
        assert limiter.acquire(ahead, 60) == 0
        limiter.set_clock(START * 1000, by)
        waits = [limiter.acquire(START * 1000, 60)]
        assert 0 < waits[0] <= MINUTE


def test_planned_times_after_a_step_back() -> None:
    handled = HandledTimes(10)
    handled.record_skipped(900, now=950)
    handled.record_run(901, now=950)
    handled.record_run(950, now=950)
    handled.set_back(20)
    assert handled.until == 20
    assert handled.has_gaps
    assert handled.next_after(CALENDAR, EVERY_UNIT, 20) == 21
    assert handled.next_after(CALENDAR, EVERY_UNIT, 899) == 900
    assert handled.next_after(CALENDAR, EVERY_UNIT, 900) == 902, "901 had a run"
    assert handled.next_after(CALENDAR, EVERY_UNIT, 949) == 951
    handled.record_skipped(960, now=960)
    assert not handled.has_gaps
    handled.set_back(900)
    assert handled.next_after(CALENDAR, EVERY_UNIT, 900) == 902, "also after a second step back"
    handled.withdraw_run(901)
    assert handled.next_after(CALENDAR, EVERY_UNIT, 900) == 901


def test_a_time_ahead_of_the_clock_leaves_those_before_it() -> None:
    handled = HandledTimes(10)
    handled.record_run(900, now=12)
    assert handled.next_after(CALENDAR, EVERY_UNIT, handled.until) == 11
    assert handled.next_after(CALENDAR, EVERY_UNIT, 899) == 901


def test_of_many_times_with_a_run_the_closest_are_joined() -> None:
    handled = HandledTimes(0)
    for planned in [5, *range(1000, 1000 + 2 * MAX_INTERVALS), 9000]:
        handled.record_run(planned, now=planned)
    handled.set_back(1)
    assert handled.next_after(CALENDAR, EVERY_UNIT, 4) == 6
    assert handled.next_after(CALENDAR, EVERY_UNIT, 999) == 1000 + 2 * MAX_INTERVALS
    assert handled.next_after(CALENDAR, EVERY_UNIT, 8999) == 9001
    handled.withdraw_run(1001)
    assert handled.next_after(CALENDAR, EVERY_UNIT, 999) == 1001
    assert handled.next_after(CALENDAR, EVERY_UNIT, 1001) == 1000 + 2 * MAX_INTERVALS


def test_a_step_back_after_a_pause_keeps_the_times_with_a_run() -> None:
    handled = HandledTimes(10)
    handled.record_run(500, now=500)
    handled.set_back(20)
    handled.set_back(900)
    assert handled.until == 20
    assert handled.next_after(CALENDAR, EVERY_UNIT, 499) == 501


def test_a_parent_is_loaded_first_though_its_child_looks_older() -> None:
    states = []
    for number, parent in enumerate(("b", "a", "")):
        state = RunState(Graph(flow(task("t"))))
        state.run, state.created = "cba"[number], number
        state.parent = Parent(parent, "t") if parent else None
        states.append(state)
    assert [state.run for state in order_parents_first(states)] == ["a", "b", "c"]
    assert [state.run for state in order_parents_first(states[:2])] == ["b", "c"]


def test_an_age_is_by_the_clock_of_now() -> None:
    steps = [RecordedStep(shown=100, by=1000, after=0)]
    assert correct_time(1050, steps) == 50
    assert correct_time(1150, steps) == 100, "not later than the step"
    assert correct_time(90, steps) == 90
    assert decode_steps("") == decode_steps("?") == []


def test_steps_that_cancel_each_other_change_no_age() -> None:
    back, forward = (
        RecordedStep(shown=100, by=1000, after=0),
        RecordedStep(shown=1100, by=-1000, after=0),
    )
    assert correct_time(1050, [back, forward]) == 1050, "behind for a while"
    assert correct_time(1050, [forward]) == 1050, "a machine that slept looks the same"
    assert correct_time(50, [forward, back]) == 50, "ahead for a while"
    assert correct_time(1050, [back, forward, back]) == 50
    year = RecordedStep(shown=5000, by=-5000, after=0), RecordedStep(shown=110, by=5000, after=0)
    assert correct_time(1050, [back, *year]) == 50, "ahead twice, recorded the first time"
    half = RecordedStep(shown=600, by=-400, after=0)
    assert correct_time(1050, [back, half]) == 450


@pytest.mark.parametrize("by", [YEAR, DAY, 3600 * SECOND])
async def test_no_run_is_collected_early_after_a_clock_that_was_behind(by: int) -> None:
    bench = SteppedBench()
    bench.run(flow(task("a")), "r")
    bench.reply("a", run="r")
    bench.turn()
    bench.wait(60)
    bench.set_clock(-by)
    bench.wait(60)
    bench.set_clock(by)
    bench.wait(60)
    policy = older_than(200 * SECOND)
    assert await find_due_runs(bench.disk, policy, bench.now) == []
    due = await find_due_runs(bench.disk, policy, bench.now + 20 * SECOND)
    assert [row.run for row in due] == ["r"]


@pytest.mark.parametrize("by", [YEAR, DAY])
async def test_a_run_of_the_future_is_collected_in_time(by: int) -> None:
    bench = SteppedBench()
    bench.now += by
    bench.run(flow(task("a")), "ahead")
    bench.reply("a", run="ahead")
    bench.turn()
    bench.set_clock(-by)
    bench.wait(60)
    bench.run(flow(task("a")), "right")
    bench.reply("a", run="right")
    bench.turn()
    policy = older_than(30 * DAY)
    due = await find_due_runs(bench.disk, policy, bench.now + 30 * DAY - 30 * SECOND)
    assert [row.run for row in due] == ["ahead"]
    due = await find_due_runs(bench.disk, policy, bench.now + 30 * DAY)
    assert [row.run for row in due] == ["ahead", "right"]
