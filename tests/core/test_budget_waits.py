"""Calls that do not fit their budget: who waits, who is asked, who is cut, who is refused."""

from __future__ import annotations

from typing import Any

import pytest

from agenthive.core.budget.holds import DAY
from agenthive.core.engine import actions as act
from agenthive.core.engine.budget_requests import HoldSettlement
from agenthive.core.engine.human_input import ApprovalDecision, pending_approvals
from agenthive.core.history.report import build_report
from agenthive.core.history.waiting_reasons import list_reasons
from agenthive.core.journal import run_events as ev
from agenthive.core.model.states import ReasonKind, TaskState
from agenthive.core.model.workflow import Effect, OnExceeded, TaskSpec
from agenthive.errors import Conflict, NotFound, RunNotFound
from tests.core.purse import (
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
from tests.core.rig import NO_RETRY, SECOND, START, Bench, agent, flow, task

# Who waits, and for what.


def set_budget(found: Bench, scope: str, amount: int | None, **more: Any) -> list[act.Action]:
    found.driver.set_budget(found.now, scope, amount, "me", "why not", 99, **more)
    return found.turn()


def test_a_limit_that_is_raised_lets_the_blocked_go_on() -> None:
    found = bench()
    found.run(pair(60, OnExceeded.WAIT))
    found.answer("a", usage=used(50))
    assert state_of(found, "b") is TaskState.BLOCKED
    assert facts(found, ev.TaskBlocked)[0].reason == "budget"
    set_budget(found, "run r", 70)
    assert state_of(found, "b") is TaskState.BLOCKED, "that is not enough"
    actions = set_budget(found, "run r", 30, add=True)
    assert act.AcknowledgeRequest(99, about="r") in actions
    assert list(found.calls) == [("r", "b")]
    told = facts(found, ev.BudgetSet, ev.HIVE)
    assert [(one.limit, one.run, one.actor, one.reason) for one in told] == [
        (70, "r", "me", "why not"),
        (100, "r", "me", "why not"),
    ]


def test_a_limit_outlives_a_crash() -> None:
    found = bench()
    found.run(pair(60, OnExceeded.WAIT))
    found.answer("a", usage=used(50))
    found.crash()
    found.turn()
    assert state_of(found, "b") is TaskState.BLOCKED
    set_budget(found, "run r", 100)
    found.crash()
    found.turn()
    assert state_of(found, "b") is TaskState.BLOCKED, "its call was lost and is in doubt"
    assert account(found, "run r") == (50, 50)


def test_a_limit_for_every_day_and_back_again() -> None:
    found = bench(day=1000)
    set_budget(found, "day default", 60)
    found.run(pair(1000, OnExceeded.WAIT))
    assert list(found.calls) == [("r", "a")]
    scope = f"day default/{START // DAY}"
    assert found.driver.budgets.ledger.accounts[scope].limit == 60
    set_budget(found, "day default", None)
    assert len(found.calls) == 2
    assert found.driver.budgets.ledger.accounts[scope].limit == 1000
    with pytest.raises(Conflict, match="has no limit"):
        set_budget(found, "tenant default", 5, add=True)


@pytest.mark.parametrize(
    ("scope", "limit"),
    [("day default", 8), ("tenant default", 7), ("agent default/x", 9), ("run r", None)],
)
def test_what_files_say_can_be_added_to(scope: str, limit: int | None) -> None:
    found = Bench(limits={"tenant": 7, "day": 8, "agent x": 9})
    assert found.driver.budgets.limit_of(scope) == limit


def test_people_are_asked_for_more() -> None:
    found = bench()
    found.run(pair(60, OnExceeded.ASK))
    found.answer("a", usage=used(50))
    found.driver.answer(found.now, "r", "b", ApprovalDecision(actor="ann", approved=True), 7)
    assert act.AcknowledgeRequest(7, about="r") in found.turn()
    assert list(found.calls) == [("r", "b")]
    (told,) = facts(found, ev.BudgetSet, ev.HIVE)
    assert (told.limit, told.actor, told.reason) == (100, "ann", "requested by r/b")


def test_people_may_say_no() -> None:
    found = bench()
    found.run(pair(60, OnExceeded.ASK))
    found.answer("a", usage=used(50))
    no = ApprovalDecision(actor="ann", approved=False, comment="too dear")
    found.driver.answer(found.now, "r", "b", no, 7)
    found.turn()
    (fault,) = facts(found, ev.TaskFaulted)
    assert fault.fault.message == "ann did not approve a higher limit: too dear"
    assert "r" not in found.driver.runs


def test_who_only_waits_asks_nobody() -> None:
    found = bench()
    found.run(pair(60, OnExceeded.WAIT))
    found.answer("a", usage=used(50))
    found.driver.answer(found.now, "r", "b", ApprovalDecision(actor="ann", approved=True), 7)
    assert any(isinstance(action, act.RejectRequest) for action in found.turn())
    assert state_of(found, "b") is TaskState.BLOCKED


def test_the_first_in_line_goes_first_and_the_dead_do_not_count() -> None:
    found = bench(tenant=60)
    for run in "rstu":
        found.run(flow(task("a")), run=run)
    assert list(found.calls) == [("r", "a")]
    found.cancel(run="s")
    found.turn()
    found.answer("a", usage=used(2))
    assert list(found.calls) == [("t", "a")]
    found.answer("a", usage=used(2), run="t")
    assert list(found.calls) == [("u", "a")]


def test_a_run_that_waits_can_be_cancelled() -> None:
    found = bench()
    found.run(pair(60, OnExceeded.WAIT))
    found.answer("a", usage=used(50))
    found.cancel()
    found.turn()
    assert "r" not in found.driver.runs
    set_budget(found, "run r", 100)


# More than was declared.


def test_more_than_was_declared_is_booked_in_full_and_freezes() -> None:
    found = bench()
    found.run(flow(task("a"), task("b", "a"), budget=budget(60, OnExceeded.WAIT)))
    found.answer("a", usage=used(70))
    (told,) = facts(found, ev.BudgetBreached, ev.HIVE)
    assert (told.run, told.task, told.attempt, told.over) == ("r", "a", 1, 20)
    assert told.frozen == ["run r"]
    assert account(found, "run r") == (70, 0)
    assert "run r is frozen" in facts(found, ev.TaskBlocked)[0].detail
    found.crash()
    found.turn()
    assert state_of(found, "b") is TaskState.BLOCKED
    set_budget(found, "run r", 130)
    assert list(found.calls) == [("r", "b")]


def test_more_than_was_declared_that_still_fits_is_told() -> None:
    found = bench()
    found.run(flow(task("a"), task("b", "a"), budget=budget(600)))
    found.answer("a", usage=used(70))
    (told,) = facts(found, ev.BudgetBreached, ev.HIVE)
    assert told.frozen == []
    assert list(found.calls) == [("r", "b")]


def test_alerts_are_told_once_each() -> None:
    found = bench()
    found.run(flow(task("a"), task("b", "a"), task("c", "b"), budget=budget(100)))
    found.answer("a", usage=used(50))
    found.answer("b", usage=used(1))
    told = facts(found, ev.BudgetAlerted, ev.HIVE)
    assert [
        (one.scope, one.percent, one.captured, one.limit, one.run, one.task) for one in told
    ] == [("run r", 50, 50, 100, "r", "a")]


# Shrinking.


def test_the_last_call_is_cut_to_what_is_left() -> None:
    found = bench()
    found.run(flow(task("a"), task("b"), budget=budget(79, shrink=True)))
    assert list(found.calls) == [("r", "a")], "not while something else is held"
    found.answer("a", usage=used(50))
    assert found.calls["r", "b"].call.max_tokens == 2
    started = facts(found, ev.TaskStarted)[-1]
    assert (started.hold, started.max_tokens) == (20, 2)


@pytest.mark.parametrize("shrink", [True, False])
def test_nothing_is_cut_below_a_token(shrink: bool) -> None:
    found = bench()
    found.run(flow(task("a"), task("b"), budget=budget(59, shrink=shrink)))
    found.answer("a", usage=used(50))
    assert facts(found, ev.TaskFaulted)[0].fault.kind == "budget_exceeded"


def test_what_is_declared_is_not_cut() -> None:
    found = bench()
    found.run(flow(task("a", max_cost=50), budget=budget(40, shrink=True)))
    assert facts(found, ev.TaskFaulted)[0].fault.kind == "budget_exceeded"


def test_what_costs_nothing_more_is_not_cut() -> None:
    found = bench()
    found.run(flow(task("a"), task("b", "a"), budget=budget(50, shrink=True)))
    found.answer("a", usage=used(50))
    assert facts(found, ev.TaskFaulted)[0].fault.kind == "budget_exceeded"


# Settling.


def settlement(task: str = "a", reason: str = "", **more: Any) -> HoldSettlement:
    return HoldSettlement(
        **{"run": "r", "task": task, "cost": 15, "actor": "me", "reason": reason} | more
    )


def test_somebody_says_what_it_cost() -> None:
    found = doubtful()
    found.driver.settle_hold(found.now, settlement(reason="the bill"), 8)
    assert act.AcknowledgeRequest(8, about="r") in found.turn()
    assert account(found, "run r") == (15, 0)
    (fact,) = facts(found, ev.HoldSettled)
    assert (fact.attempt, fact.cost, fact.actor, fact.reason) == (1, 15, "me", "the bill")
    with pytest.raises(NotFound, match="no call of task 'a' is in doubt"):
        found.driver.settle_hold(found.now, settlement(), 8)


@pytest.mark.parametrize(("name", "attempt"), [("a", 2), ("x", None)])
def test_what_is_not_in_doubt_is_not_settled(name: str, attempt: int | None) -> None:
    found = doubtful()
    with pytest.raises(NotFound):
        found.driver.settle_hold(found.now, settlement(name, attempt=attempt), 8)
    with pytest.raises(RunNotFound):
        found.driver.settle_hold(found.now, settlement(name, attempt=attempt, run="s"), 8)


def test_a_call_under_way_is_not_settled() -> None:
    found = bench()
    found.run(flow(task("a"), budget=budget(100)))
    with pytest.raises(NotFound):
        found.driver.settle_hold(found.now, settlement(attempt=1), 8)


def test_a_call_that_takes_more_than_a_day_is_not_settled_for_it() -> None:
    found = bench()
    found.run(flow(task("a", retry=NO_RETRY), timeout=None, budget=budget(1000)))
    found.crash()
    found.turn()
    found.wait(90_000)
    assert account(found, "run r") == (50, 50), "the lost call is spent, the one after it is not"


# The store.


def test_a_refused_run_holds_nothing() -> None:
    found = bench()
    found.submit(pair(100))
    batch = found.decide()
    assert batch is not None
    assert {entry.run for entry in batch.entries} == {"r"}
    found.driver.withdraw_runs(batch)
    assert batch.entries == []
    assert account(found, "tenant default") == (0, 0)
    found.commit(batch)
    found.turn()
    assert disk(found) == {}


def test_an_expression_that_cannot_be_had_costs_nothing() -> None:
    found = bench()
    found.run(flow(task("a", parameters={"x": "{{ 1 / 0 }}"}, retry=NO_RETRY), budget=budget(10)))
    assert "r" not in found.driver.runs
    assert disk(found) == {}


def test_what_is_paid_for_is_on_disk_before_it_is_called() -> None:
    found = bench()
    found.run(flow(task("a", effect=Effect.NONE), task("b", "a", effect=Effect.NONE)))
    found.reply("a")
    batch = found.driver.decide(found.now)
    assert batch is not None
    assert found.driver.take_eager_calls() == []
    found.commit(batch)
    assert ("r", "b") in found.calls


def test_a_budget_can_be_added_to_before_anything_is_spent() -> None:
    found = bench()
    waits = task("w", agent="", delay=9.0)
    found.run(flow(waits, task("a", "w"), budget=budget(45)))
    found.run(flow(waits), run="s")
    set_budget(found, "run r", 5, add=True)
    with pytest.raises(Conflict):
        set_budget(found, "run s", 5, add=True)
    found.wait(9)
    assert ("r", "a") in found.calls


def test_only_as_many_are_looked_at_as_there_is_room_for() -> None:
    found = bench(tenant=130)
    for run in "rstu":
        found.run(flow(task("a")), run=run)
    assert list(found.calls) == [("r", "a"), ("s", "a")]
    found.answer("a", usage=used(20))
    assert list(found.calls) == [("s", "a"), ("t", "a")]
    assert found.driver.budgets.awaited_scope("u", 0) == "tenant default"


def test_what_was_settled_in_time_is_not_due() -> None:
    found = doubtful()
    found.reply("a", usage=used(12), attempt=1)
    found.wait(86_400)
    assert facts(found, ev.HoldSettled) == []
    assert account(found, "run r") == (12, 0)


def test_a_call_that_was_stopped_keeps_nobody_waiting() -> None:
    found = bench(tenant=99)
    found.run(flow(task("a")))
    found.run(flow(task("a")), run="s")
    assert state_of(found, "a", "s") is TaskState.READY
    found.cancel()
    found.turn()
    found.stop("a")
    assert account(found, "tenant default") == (50, 0)
    assert found.status("s") == "failed", "nobody is under way any more for whom it could wait"


def test_who_has_gone_on_is_not_looked_at_again() -> None:
    found = bench()
    found.run(pair(60, OnExceeded.WAIT))
    found.answer("a", usage=used(50))
    found.driver.set_budget(found.now, "run r", 200, "me", "", 99)
    assert found.driver.budgets.has_woken_waiters
    found.turn()
    found.answer("b", usage=used(50))
    found.driver.set_budget(found.now, "run r", 300, "me", "", 99)
    assert not found.driver.budgets.has_woken_waiters


def test_a_limit_is_set_for_its_own_scope_alone() -> None:
    found = bench(tenant=500, day=700)
    found.run(pair(60))
    set_budget(found, "run r", 100)
    limits = {scope: one.limit for scope, one in found.driver.budgets.ledger.accounts.items()}
    assert limits["run r"] == 100
    assert limits["tenant default"] == 500
    assert limits[f"day default/{START // DAY}"] == 700
    assert limits["agent default/a"] is None


def test_who_is_gone_meanwhile_is_not_looked_at() -> None:
    found = bench()
    found.run(pair(60))
    found.reply("a", usage=used(5))
    found.cancel()
    found.turn()
    assert "r" not in found.driver.runs


# After a restart.


def test_who_waited_for_money_still_does_and_can_be_answered_at_once() -> None:
    found = bench()
    found.run(pair(60, OnExceeded.ASK))
    found.answer("a", usage=used(50))
    since = found.driver.runs["r"].state.since[1]
    found.crash()
    assert state_of(found, "b") is TaskState.BLOCKED
    assert found.driver.runs["r"].state.since[1] == since
    found.driver.answer(found.now, "r", "b", ApprovalDecision(actor="ann", approved=True), 7)
    found.turn()
    assert list(found.calls) == [("r", "b")]


def test_a_limit_can_be_added_to_right_after_a_restart() -> None:
    found = bench()
    found.run(pair(60, OnExceeded.WAIT))
    found.answer("a", usage=used(50))
    found.crash()
    set_budget(found, "run r", 40, add=True)
    assert list(found.calls) == [("r", "b")]
    assert found.driver.budgets.limit_of("run r") == 100


def test_files_that_allow_more_by_then_let_go_on() -> None:
    found = bench(tenant=60)
    found.run(pair(1000, OnExceeded.WAIT))
    found.answer("a", usage=used(50))
    assert state_of(found, "b") is TaskState.BLOCKED
    found.limits = {"quoter": Quotes(), "limits": {"tenant": 100}}
    found.crash()
    found.turn()
    assert list(found.calls) == [("r", "b")]


def test_the_time_of_a_retry_that_was_never_made_wakes_nobody() -> None:
    """A call that may have acted is not tried again by itself; later it waits for money."""
    found = bench()
    once = task("a", effect=Effect.ONCE)
    found.run(flow(once, budget=budget(60, OnExceeded.WAIT), timeout=None))
    found.answer("a", fault=TIMEOUT)
    found.resolve("a", "retry")
    assert state_of(found, "a") is TaskState.BLOCKED
    found.crash(after=3600 * SECOND)
    found.turn()
    assert state_of(found, "a") is TaskState.BLOCKED
    assert facts(found, ev.TaskWoke) == []


def test_another_day_by_then_lets_go_on() -> None:
    found = bench(day=60)
    found.run(pair(1000, OnExceeded.WAIT, timeout=None))
    found.answer("a", usage=used(50))
    found.crash(after=DAY)
    found.turn()
    assert list(found.calls) == [("r", "b")]


@pytest.mark.parametrize(
    ("scope", "limit"),
    [("run r task a", 5), ("run r agent x", 6), ("run r task b", None), ("run r", 60)],
)
def test_what_the_workflow_says_can_be_added_to(scope: str, limit: int | None) -> None:
    live = bench()
    live.run(
        flow(
            task("w", agent="", delay=9.0),
            task("a", "w", agent="x", cost_limit=5),
            task("b", "w"),
            agents=[agent("x", cost_limit=6)],
            budget=budget(60),
        )
    )
    assert live.driver.budgets.limit_of(scope) == limit


def test_people_see_what_they_are_asked_for() -> None:
    found = bench()
    found.run(pair(60, OnExceeded.ASK))
    found.answer("a", usage=used(50))
    (asked,) = pending_approvals(found.driver.runs["r"].state)
    assert asked.task == "b"
    assert asked.payload == {"scope": "run r", "may_cost_usd": 5e-8}
    assert asked.asked == found.now
    other = ApprovalDecision(actor="ann", approved=True, digest="0" * 9)
    with pytest.raises(Conflict, match="another amount"):
        found.driver.answer(found.now, "r", "b", other, 7)
    same = ApprovalDecision(actor="ann", approved=True, digest=asked.digest[:12])
    found.driver.answer(found.now, "r", "b", same, 7)
    found.turn()
    assert list(found.calls) == [("r", "b")]


@pytest.mark.parametrize(
    ("how", "unblock"),
    [(OnExceeded.WAIT, "budget top-up"), (OnExceeded.ASK, "agenthive approve r b")],
)
def test_why_says_what_is_lacking(how: OnExceeded, unblock: str) -> None:
    found = bench()
    found.run(pair(60, how))
    (_, ready) = list_reasons(found.driver.runs["r"].state)
    assert ready.kind is ReasonKind.SLOT
    assert "budget that other calls have reserved" in ready.detail
    found.answer("a", usage=used(50))
    (reason,) = list_reasons(found.driver.runs["r"].state)
    assert reason.kind is ReasonKind.BUDGET
    assert "left of run r" in reason.detail
    assert unblock in reason.unblock


def test_a_sub_run_without_money_is_told_as_such() -> None:
    found = bench()
    found.run(flow(TaskSpec(name="sub", workflow=flow(task("x"))), budget=budget(40)))
    (ended,) = facts(found, ev.ChildEnded)
    assert ended.kind == "budget_exceeded"
    graph = found.graph("r")
    told = build_report(graph, found.disk.records("r"))
    assert (told.over_budget, told.exit_code, told.status) == (True, 6, "failed")
