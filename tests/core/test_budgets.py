"""Budgets at the driver: what is put aside before a call, what comes of it, from which scopes."""

from __future__ import annotations

import pytest

from agenthive.core.budget.holds import DAY
from agenthive.core.engine.invariants import find_driver_violations
from agenthive.core.journal import run_events as ev
from agenthive.core.model.calls import Fault
from agenthive.core.model.control_flow import EachSpec
from agenthive.core.model.states import TaskState
from agenthive.core.model.workflow import Effect, OnExceeded, TaskSpec
from agenthive.core.values import SECOND
from tests.core.purse import (
    BROKEN,
    LIMITED,
    TIMEOUT,
    Quotes,
    account,
    bench,
    budget,
    disk,
    doubtful,
    facts,
    pair,
    state_of,
    used,
)
from tests.core.rig import AT_ONCE, NO_RETRY, START, Bench, agent, flow, task


def test_a_call_is_held_for_before_and_captured_after() -> None:
    found = bench()
    found.run(pair(100))
    day = START // DAY
    scopes = ("run r", "agent default/a", "tenant default", f"day default/{day}")
    assert [account(found, scope) for scope in scopes] == [(0, 100)] * 4
    assert disk(found) == dict.fromkeys(scopes, (0, 100))
    assert [fact.hold for fact in facts(found, ev.TaskStarted)] == [50, 50]
    found.answer("a", usage=used(30))
    found.answer("b", usage=used(1))
    assert disk(found) == dict.fromkeys(scopes, (31, 0))
    assert facts(found, ev.TaskSucceeded)[0].usage.cost == 30


def test_what_does_not_fit_waits_while_others_are_under_way() -> None:
    found = bench()
    found.run(pair(99))
    assert list(found.calls) == [("r", "a")]
    assert state_of(found, "b") is TaskState.READY
    assert found.driver.budgets.awaited_scope("r", 1) == "run r"
    assert found.driver.budgets.awaited_scope("r", 0) == ""
    found.answer("a", usage=used(49))
    assert list(found.calls) == [("r", "b")]


def test_only_when_nothing_is_held_is_the_budget_exceeded() -> None:
    found = bench()
    found.run(pair(99))
    found.answer("a", usage=used(50))
    assert found.calls == {}
    assert "r" not in found.driver.runs
    (fault,) = facts(found, ev.TaskFaulted)
    assert fault.fault.kind == "budget_exceeded"
    assert "$0.00000005, which is $0.000000001 more than is left of run r" in fault.fault.message


def test_a_call_that_costs_nothing_asks_nobody() -> None:
    found = bench()
    found.run(flow(task("a", agent="free"), budget=budget(0)))
    found.answer("a")
    assert disk(found) == {}


def test_no_price_under_a_limit_is_refused() -> None:
    found = bench()
    found.run(flow(task("a", agent="unknown"), budget=budget(1000)))
    (fault,) = facts(found, ev.TaskFaulted)
    assert fault.fault.kind == "unpriced"
    assert "agent 'unknown'" in fault.fault.message
    found.run(flow(task("a", agent="unknown")), run="s")
    found.answer("a", run="s", usage=used(7))
    assert disk(found)["run s"] == (7, 0), "without a limit it is only counted"


def test_what_the_workflow_declares_is_the_worst_case() -> None:
    found = Bench()
    calls = flow(
        task("a", agent="x"),
        task("b", agent="x", max_cost=3),
        agents=[agent("x", max_cost=20)],
        budget=budget(100),
    )
    found.run(calls)
    assert account(found, "run r") == (0, 23)
    found.answer("a")
    assert account(found, "run r") == (20, 3), "who says nothing costs what was put aside"
    found.answer("b", usage=used(None))
    assert account(found, "run r") == (23, 0)


@pytest.mark.parametrize(
    ("fault", "captured", "held"),
    [(LIMITED, 0, 0), (BROKEN, 0, 50), (TIMEOUT, 0, 50)],
    ids=["nothing was done", "it may have", "nobody knows"],
)
def test_what_a_failure_costs(fault: Fault, captured: int, held: int) -> None:
    found = bench()
    spec = flow(task("a", retry=NO_RETRY), task("z", agent="free"), budget=budget(100))
    found.run(spec)
    found.answer("a", fault=fault)
    assert account(found, "run r") == (captured, held)


def test_a_late_answer_settles_what_was_in_doubt() -> None:
    found = bench()
    found.run(flow(task("a", retry=NO_RETRY), task("z", agent="free"), budget=budget(100)))
    found.answer("a", fault=TIMEOUT)
    found.reply("a", usage=used(12), attempt=1)
    found.reply("a", usage=used(12), attempt=1)
    found.turn()
    assert account(found, "run r") == (12, 0)
    assert len(facts(found, ev.LateReply)) == 1


def test_every_attempt_has_its_own_hold() -> None:
    found = bench()
    found.run(flow(task("a", retry=AT_ONCE), budget=budget(120)))
    found.answer("a", fault=TIMEOUT)
    found.wait(1)
    assert account(found, "run r") == (0, 100)
    found.answer("a", fault=TIMEOUT)
    found.wait(1)
    assert facts(found, ev.TaskFaulted)[0].fault.kind == "budget_exceeded"


def test_who_honours_keys_is_held_for_once() -> None:
    found = bench()
    found.run(flow(task("a", retry=AT_ONCE, effect=Effect.KEYED), budget=budget(60)))
    found.answer("a", fault=TIMEOUT)
    found.wait(1)
    assert account(found, "run r") == (0, 50)
    found.reply("a", usage=used(40), attempt=1)
    found.turn()
    assert account(found, "run r") == (0, 50), "the earlier attempt is the same call"
    found.answer("a", usage=used(40))
    assert disk(found)["run r"] == (40, 0)


def test_a_hold_outlives_a_crash() -> None:
    found = bench()
    found.run(flow(task("a", retry=NO_RETRY), budget=budget(60)))
    found.crash()
    found.turn()
    assert facts(found, ev.TaskFaulted)[0].fault.kind == "budget_exceeded"
    assert disk(found)["run r"] == (50, 0), "what was in doubt at the end is spent"
    assert disk(found)["tenant default"] == (50, 0)


def test_after_a_crash_the_same_key_is_the_same_call() -> None:
    found = bench()
    found.run(flow(task("a", effect=Effect.KEYED), budget=budget(60)))
    found.crash()
    found.turn()
    found.answer("a", usage=used(10))
    assert disk(found)["run r"] == (10, 0)


def test_a_stopped_call_is_in_doubt_and_one_that_was_not_made_is_not() -> None:
    found = bench()
    found.run(pair(200))
    found.cancel()
    found.turn()
    found.stop("a")
    assert account(found, "run r") == (0, 100)
    found.stop("b")
    assert disk(found)["run r"] == (100, 0)
    late = bench()
    late.submit(pair(200), run="s")
    batch = late.decide()
    assert batch is not None
    late.cancel(run="s")
    late.commit(batch)
    while (more := late.decide()) is not None:
        late.commit(more)
    assert late.made == []
    assert [fact.unmade for fact in facts(late, ev.TaskCancelled, "s")] == [True, True]
    assert disk(late)["run s"] == (0, 0)


def test_a_late_answer_after_the_end_corrects_what_was_booked() -> None:
    found = bench()
    found.run(flow(task("a", retry=NO_RETRY), budget=budget(100)))
    found.answer("a", fault=TIMEOUT)
    assert disk(found)["tenant default"] == (50, 0)
    found.reply("a", usage=used(8), attempt=1)
    found.turn()
    (fact,) = facts(found, ev.UsageAfterEnd, ev.HIVE)
    assert (fact.usage.cost, fact.booked) == (8, 50)
    assert disk(found)["tenant default"] == (8, 0)


def test_a_late_answer_without_a_price_leaves_what_was_booked() -> None:
    found = bench()
    found.run(flow(task("a", retry=NO_RETRY), budget=budget(100)))
    found.answer("a", fault=TIMEOUT)
    found.reply("a", usage=used(None), attempt=1)
    found.turn()
    assert disk(found)["tenant default"] == (50, 0)


def test_a_day_later_what_nobody_told_is_spent() -> None:
    found = doubtful()
    assert found.driver.next_wake() == START + DAY
    found.wait(86_400)
    (fact,) = facts(found, ev.HoldSettled)
    assert (fact.cost, fact.actor) == (50, "engine")
    assert account(found, "run r") == (50, 0)
    found.reply("a", usage=used(8), attempt=1)
    found.turn()
    assert account(found, "run r") == (50, 0)


def test_after_a_crash_doubts_are_still_due() -> None:
    found = doubtful()
    found.crash()
    found.turn()
    found.wait(86_400)
    assert account(found, "run r") == (50, 0)


def test_a_run_that_ends_when_its_doubts_are_due_books_them_once() -> None:
    """Its last call is lost in a crash; a day later it ends as soon as it is loaded."""
    found = bench()
    late = task("w", agent="free", retry=NO_RETRY)
    found.run(flow(task("a", retry=NO_RETRY), late, budget=budget(100), timeout=None))
    found.answer("a", fault=TIMEOUT)
    found.crash(after=DAY + SECOND)
    found.turn()
    assert found.driver.runs == {}, "it has ended"
    assert account(found, "run r") == (50, 0)
    assert account(found, "tenant default") == (50, 0)
    assert facts(found, ev.HoldSettled) == []


# Scopes.


def test_tasks_and_agents_have_limits_of_their_own() -> None:
    found = bench()
    both = flow(
        task("a", cost_limit=60, retry=AT_ONCE),
        task("b", agent="x"),
        task("c", agent="x"),
        agents=[agent("x", cost_limit=70)],
    )
    found.run(both)
    assert disk(found)["run r task a"] == (0, 50)
    assert disk(found)["run r agent x"] == (0, 50)
    assert ("r", "c") not in found.calls, "two of that agent's calls do not fit"
    found.answer("b", usage=used(20))
    assert ("r", "c") in found.calls
    found.answer("a", fault=TIMEOUT)
    found.wait(1)
    assert facts(found, ev.TaskFaulted)[0].fault.message.endswith("left of run r task a")


def test_items_share_the_limit_of_their_task() -> None:
    found = bench()
    found.run(flow(task("t", for_each=EachSpec(items=[1, 2]), cost_limit=99)))
    assert list(found.calls) == [("r", "t[0]")]
    assert disk(found)["run r task t"] == (0, 50)


def test_a_sub_run_spends_what_is_its_parents() -> None:
    found = bench()
    inner = flow(task("x"), task("y"))
    outer = flow(
        TaskSpec(name="sub", workflow=inner, cost_limit=80), task("z"), budget=budget(1000)
    )
    found.run(outer)
    (child,) = [run for run in found.driver.runs if run != "r"]
    held = disk(found)
    assert held["run r task sub"] == (0, 50)
    assert held[f"run {child}"] == (0, 50)
    assert held["run r"] == (0, 100)
    found.answer("x", usage=used(20), run=child)
    assert ("r", "z") in found.calls
    assert (child, "y") in found.calls
    found.answer("y", usage=used(20), run=child)
    assert disk(found)["run r"] == (40, 50)


def test_the_nearest_budget_says_what_happens() -> None:
    found = bench()
    inner = flow(task("x"))
    found.run(flow(TaskSpec(name="sub", workflow=inner), budget=budget(40, OnExceeded.WAIT)))
    (child,) = [run for run in found.driver.runs if run != "r"]
    assert state_of(found, "x", child) is TaskState.BLOCKED


def test_limits_of_all_runs() -> None:
    found = bench(tenant=60, day=1000)
    found.run(flow(task("a")))
    found.run(flow(task("a")), run="s")
    assert list(found.calls) == [("r", "a")]
    assert found.driver.budgets.awaited_scope("s", 0) == "tenant default"
    found.answer("a", usage=used(5))
    assert list(found.calls) == [("s", "a")]


def test_an_agent_of_all_runs_has_a_limit() -> None:
    found = Bench(quoter=Quotes(), limits={"agent a": 60})
    found.run(flow(task("a"), task("b"), task("x", agent="x")))
    assert sorted(found.calls) == [("r", "a"), ("r", "x")]


def test_a_day_is_that_of_the_hold() -> None:
    found = bench(day=60)
    spec = pair(1000, OnExceeded.WAIT, timeout=None)
    found.run(spec)
    day = START // DAY
    found.now = (day + 1) * DAY - SECOND
    found.answer("a", usage=used(50))
    assert state_of(found, "b") is TaskState.BLOCKED
    assert found.driver.next_wake() == (day + 1) * DAY
    found.wait(1)
    assert list(found.calls) == [("r", "b")]
    assert disk(found)[f"day default/{day + 1}"] == (0, 50)
    assert disk(found)[f"day default/{day}"] == (50, 0)


def test_what_is_in_doubt_at_the_end_is_no_fault_of_the_books() -> None:
    found = bench()
    found.run(flow(task("a", retry=NO_RETRY), budget=budget(100)))
    found.reply("a", fault=TIMEOUT)
    assert found.driver.runs["r"].state.holds
    assert find_driver_violations(found.driver) == []
    found.driver.budgets.ledger.accounts["run r"].held = 7
    assert find_driver_violations(found.driver) == [
        "run r: captured 50, held 7 not 0, under way 0 not 0"
    ]
