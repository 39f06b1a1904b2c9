"""What people do to schedules."""

from __future__ import annotations

import pytest

from agenthive.core.engine import actions as act
from agenthive.core.engine.schedules import MAX_SCHEDULES
from agenthive.core.journal import run_events as ev
from agenthive.core.policies.schedule import (
    Rule,
)
from agenthive.errors import Conflict, NotFound
from agenthive.infra.calendar import SystemCalendar
from tests.core.test_schedules import BEGIN, MINUTE, ONE_TASK, Timetable, finish

# What people do.


def test_pausing() -> None:
    bench = Timetable()
    bench.to(1)
    bench.change(ev.SchedulePaused)
    bench.change(ev.SchedulePaused)
    bench.turn()
    assert bench.driver.schedules.next_wake() is None
    bench.to(4)
    bench.restart()
    bench.change(ev.ScheduleResumed, schedule="s")
    token = bench.change(ev.ScheduleResumed)
    actions = bench.turn()
    assert act.AcknowledgeRequest(token) in actions
    bench.to(5)
    assert bench.story == ["fired 1", "skipped 2-4 (3): paused", "fired 5"]
    assert sum(isinstance(event, ev.SchedulePaused) for event in bench.hive()) == 1


def test_pausing_keeps_who_waits() -> None:
    bench = Timetable(ONE_TASK)
    bench.to(1)
    bench.to(2)
    bench.change(ev.SchedulePaused)
    finish(bench)
    bench.restart()
    assert bench.story == ["fired 1", "queued 2"]
    bench.change(ev.ScheduleResumed)
    bench.turn()
    assert bench.story == ["fired 1", "queued 2", "fired 2"]


def test_one_that_is_paused_does_not_hold_up_the_others() -> None:
    bench = Timetable(paused=True)
    bench.set(schedule="t")
    bench.to(1)
    assert [row.run for row in bench.disk.rows()] == ["schedule:t:2023-11-14T22:14:00Z"]


def test_a_schedule_may_begin_paused() -> None:
    bench = Timetable(paused=True)
    bench.to(3)
    assert bench.story == []
    [row] = [
        one.build_row(bench.driver.schedules.calendar)
        for one in bench.driver.schedules.by_name.values()
    ]
    assert (row.paused, row.next, row.last_run) == (True, None, None)


def test_removing() -> None:
    bench = Timetable(ONE_TASK)
    bench.to(1)
    bench.to(2)
    bench.now += 2 * MINUTE
    bench.change(ev.ScheduleRemoved)
    bench.turn()
    told = ["fired 1", "queued 2", "skipped 3-4 (2): removed", "skipped 2-2 (1): removed"]
    assert bench.story == told
    finish(bench)
    bench.restart()
    assert bench.driver.schedules.by_name == {}
    bench.to(9)
    assert bench.story == told


def test_replacing_keeps_what_is_under_way() -> None:
    bench = Timetable(ONE_TASK)
    bench.to(1)
    bench.to(2)
    bench.now = BEGIN + round(3.5 * MINUTE)
    bench.set(ONE_TASK, Rule(every=5 * MINUTE, anchor=BEGIN))
    bench.turn()
    told = ["fired 1", "queued 2", "skipped 3-3 (1): replaced"]
    assert bench.story == told
    bench.restart()
    finish(bench)
    bench.to(5)
    assert bench.story == [*told, "fired 2", "queued 5"]
    [row] = [one.build_row(SystemCalendar()) for one in bench.driver.schedules.by_name.values()]
    assert (row.last_planned, row.next) == (BEGIN + 2 * MINUTE, BEGIN + 10 * MINUTE)
    assert (row.last_skipped, row.last_reason) == (BEGIN + 3 * MINUTE, "replaced")
    assert row.queued == [BEGIN + 5 * MINUTE]
    assert row.open_runs == [row.last_run]


@pytest.mark.parametrize(
    "kind", [ev.SchedulePaused, ev.ScheduleResumed, ev.ScheduleRemoved, ev.ScheduleTriggered]
)
def test_there_must_be_one(kind: type[ev.ScheduleChange]) -> None:
    bench = Timetable()
    more = {"run": "schedule:t:1"} if kind is ev.ScheduleTriggered else {}
    with pytest.raises(NotFound, match="no schedule 't'"):
        bench.change(kind, schedule="t", **more)


def test_triggering() -> None:
    bench = Timetable(ONE_TASK)
    token = bench.change(ev.ScheduleTriggered, run="schedule:s:now")
    assert act.AcknowledgeRequest(token, "schedule:s:now") in bench.turn()
    assert bench.open_calls() == ["schedule:s:now/a"]
    with pytest.raises(Conflict, match="has not ended"):
        bench.change(ev.ScheduleTriggered, run="schedule:s:again")
    bench.restart()
    bench.to(1)
    assert bench.story == ["queued 1"], "it counts as the run before, and moves no planned time"
    finish(bench)
    assert bench.story == ["queued 1", "fired 1"]
    bench.problem = "nobody has agent a"
    bench.equip()
    with pytest.raises(Conflict, match="nobody has agent a"):
        bench.change(ev.ScheduleTriggered, run="schedule:s:again")


def test_a_trigger_that_the_store_refuses_is_forgotten() -> None:
    bench = Timetable(ONE_TASK)
    token = bench.change(ev.ScheduleTriggered, run="schedule:s:now")
    batch = bench.decide()
    assert batch is not None
    assert bench.driver.withdraw_runs(batch) == [token]
    bench.commit(batch)
    bench.to(1)
    assert bench.story == ["fired 1"]
    assert not any(isinstance(event, ev.ScheduleTriggered) for event in bench.hive())


def test_a_firing_that_the_store_refuses_is_written_later() -> None:
    bench = Timetable(ONE_TASK)
    bench.now = BEGIN + MINUTE
    batch = bench.decide()
    assert batch is not None
    assert bench.driver.withdraw_runs(batch) == []
    bench.commit(batch)
    assert bench.story == ["fired 1"]
    assert len(bench.calls) == 1


def test_there_are_only_so_many() -> None:
    bench = Timetable()
    for number in range(MAX_SCHEDULES - 1):
        bench.set(schedule=f"s{number}")
    with pytest.raises(Conflict, match="1000 schedules"):
        bench.set(schedule="more")
    bench.set()
