"""Schedules: what fires when, what is missed, what overlaps, and what a restart knows of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from agenthive.core.engine import actions as act
from agenthive.core.engine.driver import Driver
from agenthive.core.engine.schedules import MAX_CAUGHT_UP, MAX_COUNTED, Schedules
from agenthive.core.graph.graph import Graph
from agenthive.core.journal import run_events as ev
from agenthive.core.model import definition
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.policies.schedule import (
    CatchUp,
    Overlap,
    Rule,
    check_interval,
    format_utc,
    next_interval,
)
from agenthive.core.values import SECOND
from agenthive.errors import DefinitionError
from agenthive.infra.calendar import SystemCalendar
from tests.core.rig import START, Bench, flow, task

MINUTE = 60 * SECOND
BEGIN = START // MINUTE * MINUTE
"""A whole minute; the bench begins half a minute after it."""
EVERY_MINUTE = Rule(every=MINUTE)
BY_CRON = Rule(cron="* * * * *")
ONE_TASK = flow(task("a"))
NOTHING = flow()


class Timetable(Bench):
    """A bench with a calendar, one schedule ``s`` and what became of its times."""

    def __init__(
        self, spec: WorkflowSpec = NOTHING, rule: Rule = EVERY_MINUTE, **more: Any
    ) -> None:
        super().__init__()
        self.limits = {"calendar": SystemCalendar()}  # type: ignore[dict-item]
        self.driver = Driver(calendar=SystemCalendar())
        self.driver.schedules.active = True
        self.now = BEGIN + MINUTE // 2
        self.problem = ""
        self.set(spec, rule, **more)
        self.turn()

    def set(self, spec: WorkflowSpec = NOTHING, rule: Rule = EVERY_MINUTE, **more: Any) -> None:
        self.spec, body = spec, definition.encode(spec)
        name = definition.compute_digest(body)
        self.change(ev.ScheduleSet, body, rule=rule, workflow=spec.name, definition=name, **more)
        self.equip()

    def equip(self) -> None:
        graph = Graph(self.spec)
        for one in self.driver.schedules.by_name.values():
            one.attach_graph(graph, self.problem)

    def change(self, kind: Any, body: bytes = b"", **more: Any) -> int:
        self.tokens += 1
        fact = kind(at=self.now, since=self.now, **{"schedule": "s"} | more)
        self.driver.change_schedule(self.now, fact, self.tokens, body)
        return self.tokens

    def turn(self) -> list[act.Action]:
        done = super().turn()
        wake = self.driver.next_wake()
        while wake is not None and wake <= self.now:
            done += super().turn()
            wake = self.driver.next_wake()
        return done

    def sound(self) -> None:
        for run in self.driver.runs:
            self.graphs.setdefault(run, Graph(self.spec))
        super().sound()

    def restart(self, after: int = SECOND) -> None:
        """The process is gone; another one owns the schedules ``after`` microseconds later."""
        for row in self.disk.rows():
            self.graphs.setdefault(row.run, Graph(self.spec))
        self.crash(after=after)
        self.equip()
        self.driver.schedules.active = True
        self.turn()

    def to(self, minute: float) -> None:
        """The clock shows that many minutes after BEGIN."""
        self.now = BEGIN + round(minute * MINUTE)
        self.turn()

    @property
    def story(self) -> list[str]:
        """What became of the planned times: minutes after BEGIN."""
        found = []
        for event in self.hive():
            if isinstance(event, ev.ScheduleFired):
                found.append(f"fired {(event.planned - BEGIN) / MINUTE:g}")
            elif isinstance(event, ev.ScheduleQueued):
                found.append(f"queued {(event.planned - BEGIN) / MINUTE:g}")
            elif isinstance(event, ev.ScheduleSkipped):
                first, last = ((t - BEGIN) / MINUTE for t in (event.first, event.last))
                found.append(f"skipped {first:g}-{last:g} ({event.count}): {event.reason}")
        return found


RULES = pytest.mark.parametrize("rule", [EVERY_MINUTE, BY_CRON], ids=["interval", "cron"])


@RULES
def test_each_time_starts_one_run(rule: Rule) -> None:
    bench = Timetable(rule=rule)
    assert bench.driver.next_wake() == BEGIN + MINUTE
    bench.to(0.99)
    assert bench.story == []
    bench.to(1)
    assert bench.story == ["fired 1"]
    bench.turn()
    bench.to(1.5)
    bench.to(2.1)
    assert bench.story == ["fired 1", "fired 2"]
    assert bench.driver.next_wake() == BEGIN + 3 * MINUTE
    runs = [row.run for row in bench.disk.rows()]
    assert runs == ["schedule:s:2023-11-14T22:15:00Z", "schedule:s:2023-11-14T22:14:00Z"]
    assert {row.status for row in bench.disk.rows()} == {"completed"}


def test_a_firing_and_its_run_are_in_one_batch() -> None:
    bench = Timetable(ONE_TASK)
    bench.now = BEGIN + MINUTE
    batch = bench.decide()
    assert batch is not None
    [run] = [row.run for row in batch.runs]
    assert {record.stream for record in batch.records} == {run, "hive"}
    # The process dies before the commit, and the next one decides the same.
    bench.restart()
    assert [row.run for row in bench.disk.rows()] == [run]
    bench.restart()
    bench.to(1.5)
    assert bench.story == ["fired 1"]


def test_inputs_and_the_planned_time_are_given() -> None:
    bench = Timetable(ONE_TASK, inputs={"who": "bees"}, time_input="when", owner="ann", tenant="t")
    bench.to(1)
    [run] = bench.driver.runs
    submitted = bench.events(run)[0]
    assert isinstance(submitted, ev.RunSubmitted)
    assert submitted.inputs == {"who": "bees", "when": "2023-11-14T22:14:00Z"}
    assert (submitted.owner, submitted.tenant) == ("ann", "t")


def test_nothing_fires_where_nobody_is_to_fire() -> None:
    bench = Timetable()
    bench.driver.schedules.active = False
    assert bench.driver.next_wake() is None
    bench.to(5)
    assert bench.story == []
    bench.driver.schedules.active = True
    bench.to(5.5)
    assert bench.story == ["skipped 1-4 (4): missed", "fired 5"]


def test_nothing_fires_while_the_owner_drains() -> None:
    bench = Timetable()
    bench.driver.draining = True
    bench.now = BEGIN + MINUTE
    assert bench.driver.next_wake() is None
    assert bench.decide() is None


def test_a_rule_that_ends_is_no_reason_to_wake() -> None:
    bench = Timetable(rule=Rule(cron="@daily", zone="gone/away"))
    assert bench.driver.next_wake() is None
    assert Schedules().calendar.next_after("* * * * *", "UTC", 0) is None


def test_intervals_have_an_anchor() -> None:
    assert next_interval(EVERY_MINUTE, 0) == MINUTE
    assert next_interval(EVERY_MINUTE, MINUTE) == 2 * MINUTE
    assert next_interval(EVERY_MINUTE, MINUTE - 1) == MINUTE
    later = Rule(every=MINUTE, anchor=START + 7 * SECOND)
    assert next_interval(later, START) == START + 7 * SECOND
    assert next_interval(later, START + 7 * SECOND) == START + 67 * SECOND
    assert next_interval(later, START - 60 * SECOND) == START - 53 * SECOND
    check_interval(later)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (Rule(every=SECOND // 2), "at least 1"),
        (Rule(every=-SECOND), "at least 1"),
        (Rule(every=SECOND * 3 // 2), "whole number of seconds"),
        (Rule(every=SECOND, anchor=1), "whole number of seconds"),
        (Rule(every=SECOND, cron="@daily"), "not both"),
    ],
)
def test_intervals_that_make_no_sense_are_refused(rule: Rule, says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        check_interval(rule)


@given(some.integers(-10_000_000_000, 200_000_000_000))
def test_times_are_written_as_iso_8601(second: int) -> None:
    told = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
    assert format_utc(second * SECOND + 5) == told.isoformat()[:19] + "Z"


# Missed times.


@RULES
@pytest.mark.parametrize(
    ("catch_up", "back", "told"),
    [
        (CatchUp.NONE, 4.5, ["skipped 1-4 (4): missed"]),
        (CatchUp.NONE, 4.1, ["skipped 1-3 (3): missed", "fired 4"]),
        (CatchUp.NONE, 1.1, ["fired 1"]),
        (CatchUp.ONE, 4.5, ["skipped 1-3 (3): missed", "fired 4"]),
        (CatchUp.ONE, 4.1, ["skipped 1-3 (3): missed", "fired 4"]),
        (CatchUp.ONE, 1.5, ["fired 1"]),
        (CatchUp.ALL, 3.5, ["fired 1", "queued 2", "queued 3", "fired 2", "fired 3"]),
        (CatchUp.ALL, 2.1, ["fired 1", "skipped 2-2 (1): the run before has not ended"]),
    ],
)
def test_catching_up(rule: Rule, catch_up: CatchUp, back: float, told: list[str]) -> None:
    overlap = Overlap.SKIP if back == 2.1 else Overlap.QUEUE
    bench = Timetable(rule=rule, catch_up=catch_up, overlap=overlap)
    bench.restart(after=round((back - 0.5) * MINUTE))
    assert bench.story == told
    bench.restart()
    assert bench.story == told, "once is enough"


@RULES
def test_catching_up_is_bounded(rule: Rule) -> None:
    bench = Timetable(rule=rule, catch_up=CatchUp.ALL, overlap=Overlap.ALLOW)
    bench.restart(after=365 * 24 * 60 * MINUTE)
    year = 365 * 24 * 60
    skipped, *fired = bench.story
    count = "None" if rule.cron else str(year - MAX_CAUGHT_UP)
    assert skipped == f"skipped 1-{year - MAX_CAUGHT_UP:g} ({count}): missed"
    assert fired == [f"fired {year - MAX_CAUGHT_UP + i:g}" for i in range(1, 101)]
    assert len(bench.disk.rows()) == MAX_CAUGHT_UP


def test_few_skipped_times_are_counted() -> None:
    bench = Timetable(rule=BY_CRON, catch_up=CatchUp.NONE)
    bench.restart(after=MAX_COUNTED * MINUTE)
    assert bench.story == [f"skipped 1-{MAX_COUNTED} ({MAX_COUNTED}): missed"]


def test_a_burst_within_the_grace_is_not_missed() -> None:
    bench = Timetable(rule=Rule(every=SECOND), catch_up=CatchUp.NONE, overlap=Overlap.ALLOW)
    bench.wait(8)
    assert len(bench.story) == 8
    bench.wait(30)
    assert len(bench.story) == 8 + 1 + 10
    assert "missed" in bench.story[8]


def test_all_that_was_missed_waits_in_line() -> None:
    bench = Timetable(ONE_TASK, catch_up=CatchUp.ALL)
    bench.restart(after=3 * MINUTE)
    assert bench.story == ["fired 1", "queued 2", "queued 3"]
    bench.to(4)
    assert bench.story[3:] == ["skipped 4-4 (1): the run before has not ended"]
    for _ in range(3):
        [(run, _)] = bench.calls
        bench.answer("a", run=run)
    assert bench.story[4:] == ["fired 2", "fired 3"]


def test_many_that_were_missed_get_a_run_each() -> None:
    bench = Timetable(rule=Rule(every=SECOND), catch_up=CatchUp.ALL, overlap=Overlap.ALLOW)
    bench.restart(after=75 * SECOND)
    assert [line.split()[0] for line in bench.story] == ["fired"] * 75


def test_where_one_run_does_for_all_that_was_missed_none_waits_in_line() -> None:
    bench = Timetable(ONE_TASK, catch_up=CatchUp.ONE)
    bench.to(1)
    for _ in range(3):
        bench.restart(after=MINUTE + 15 * SECOND)
    assert bench.story[:2] == ["fired 1", "queued 2"]
    assert all("the run before has not ended" in line for line in bench.story[2:])


# Overlap.


def finish(bench: Timetable) -> None:
    [(run, _)] = bench.calls
    bench.answer("a", run=run)


@pytest.mark.parametrize(
    ("overlap", "told", "after"),
    [
        (
            Overlap.SKIP,
            [
                "fired 1",
                "skipped 2-2 (1): the run before has not ended",
                "skipped 3-3 (1): the run before has not ended",
            ],
            ["fired 4"],
        ),
        (
            Overlap.QUEUE,
            ["fired 1", "queued 2", "skipped 3-3 (1): the run before has not ended"],
            ["fired 2", "queued 4"],
        ),
    ],
)
def test_overlap(overlap: Overlap, told: list[str], after: list[str]) -> None:
    bench = Timetable(ONE_TASK, overlap=overlap)
    bench.to(1)
    bench.restart()
    bench.to(2)
    bench.restart()
    bench.to(3)
    assert bench.story == told
    finish(bench)
    bench.to(4)
    assert bench.story[len(told) :] == after


def test_overlap_may_be_allowed() -> None:
    bench = Timetable(ONE_TASK, overlap=Overlap.ALLOW)
    bench.to(1)
    bench.to(2)
    bench.restart()
    bench.to(3)
    assert bench.story == ["fired 1", "fired 2", "fired 3"]
    assert len(bench.driver.schedules.by_name["s"].open_runs) == 3


def test_the_run_before_may_be_cancelled() -> None:
    bench = Timetable(ONE_TASK, overlap=Overlap.CANCEL)
    bench.to(1)
    first, second = "schedule:s:2023-11-14T22:14:00Z", "schedule:s:2023-11-14T22:16:00Z"
    bench.to(2)
    bench.to(3)
    told = ["fired 1", "queued 2", "skipped 2-2 (1): overtaken by the next one", "queued 3"]
    assert bench.story == told
    requests = [e for e in bench.events(first) if isinstance(e, ev.CancelRequested)]
    assert [(e.actor, e.reason) for e in requests] == [("schedule s", "overtaken")]
    bench.stop("a", run=first)
    bench.graphs[second] = bench.graphs[first]
    assert bench.status(first) == "cancelled"
    assert bench.story[4:] == ["fired 3"]
    assert list(bench.driver.runs) == [second]


def test_a_run_that_ends_at_once_when_cancelled() -> None:
    bench = Timetable(ONE_TASK, overlap=Overlap.CANCEL)
    bench.driver._engine.max_runs = 0  # so that the run has not begun
    bench.to(1)
    bench.to(2)
    assert bench.story == ["fired 1", "queued 2", "fired 2"]


def test_a_run_that_is_not_in_hand_cannot_be_cancelled() -> None:
    bench = Timetable(ONE_TASK, overlap=Overlap.CANCEL)
    bench.to(1)
    bench.driver = Driver(calendar=SystemCalendar())
    bench.driver.load_hive(bench.disk.records(ev.HIVE))
    bench.equip()
    bench.driver.schedules.active = True
    bench.to(2)
    assert bench.story == ["fired 1", "queued 2"]


def test_what_cannot_start_is_recorded() -> None:
    bench = Timetable(ONE_TASK)
    bench.to(1)
    bench.to(2)
    bench.problem = "nobody has agent a"
    bench.equip()
    finish(bench)
    bench.to(3)
    told = ["skipped 2-2 (1): nobody has agent a", "skipped 3-3 (1): nobody has agent a"]
    assert bench.story[2:] == told


# Clocks that step.


def test_a_clock_that_steps_back_fires_nothing_again() -> None:
    bench = Timetable()
    bench.to(1)
    bench.to(2)
    bench.to(1)
    assert any(isinstance(event, ev.ClockSteppedBack) for event in bench.hive())
    assert bench.driver.next_wake() == BEGIN + 3 * MINUTE
    bench.to(2)
    bench.restart()
    assert bench.story == ["fired 1", "fired 2"]
    bench.to(3)
    assert bench.story == ["fired 1", "fired 2", "fired 3"], "by the clock, not by hive time"


def test_setting_it_again_on_a_clock_that_stepped_back_fires_nothing_twice() -> None:
    bench = Timetable()
    bench.to(2)
    bench.to(0.5)
    bench.change(ev.ScheduleRemoved)
    bench.set()
    bench.to(2.5)
    bench.to(3)
    # Time 1 had seemed to be missed; by the clock of now it was still to come.
    assert bench.story == ["skipped 1-1 (1): missed", "fired 2", "fired 1", "fired 3"]


def test_a_time_that_waits_is_still_to_come_when_the_clock_is_set_back() -> None:
    bench = Timetable(ONE_TASK)
    bench.to(1)
    bench.to(60)
    assert bench.story[-1] == "queued 60"
    bench.to(2.5)
    assert bench.driver.schedules.by_name["s"].queued_times == []
    finish(bench)
    bench.to(3)
    assert bench.story[-1] == "fired 3", "60 is still to come"
    finish(bench)
    bench.restart()
    assert bench.driver.schedules.by_name["s"].queued_times == []
    bench.to(60)
    assert bench.story[-1] == "fired 60"


def test_no_time_fires_twice_after_two_steps_back() -> None:
    bench = Timetable()
    bench.to(3)
    bench.to(0.5)
    bench.to(5)
    bench.to(0.5)
    for minute in (1, 2, 3, 4, 5, 6):
        bench.to(minute)
    fired = [line for line in bench.story if line.startswith("fired")]
    assert fired == [f"fired {minute}" for minute in (3, 5, 1, 2, 4, 6)]


def test_another_rule_gives_no_time_a_second_run() -> None:
    bench = Timetable()
    bench.to(3)
    bench.to(0.5)
    bench.set(rule=Rule(every=2 * MINUTE))
    bench.to(1)
    bench.to(0.5)
    for minute in (1, 3, 5):
        bench.to(minute)
    fired = [line for line in bench.story if line.startswith("fired")]
    assert fired == ["fired 3", "fired 1", "fired 5"]
