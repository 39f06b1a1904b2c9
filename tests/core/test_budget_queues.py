"""Tasks that wait for money: who is woken, in which order, and how often each is tried."""

from __future__ import annotations

from typing import Any

import pytest

from agenthive.core.engine.admission import Admission
from agenthive.core.engine.budget_queues import BudgetQueues
from agenthive.core.model.calls import Usage
from agenthive.core.model.workflow import OnExceeded
from agenthive.core.policies.rate_limit import RateLimit
from tests.core.purse import bench, budget, used
from tests.core.rig import Bench, agent, flow, task


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of the tasks that were attempted to start, in order."""
    tried: list[str] = []
    start_task = Admission._start_task

    def watch(self: Admission, run: Any, index: int, now: int) -> None:
        tried.append(f"{run.id}/{run.state.graph.keys[index]}")
        start_task(self, run, index, now)

    monkeypatch.setattr(Admission, "_start_task", watch)
    return tried


def fan_out(count: int, room: int, declared: int | None = 100, **more: Any) -> Bench:
    """``count`` tasks under a budget with room for so many calls of 100 (a quote is 50)."""
    found = bench()
    cost = declared or 50
    paid = agent(max_cost=declared)
    tasks = [task(f"t{i}") for i in range(count)]
    found.run(flow(*tasks, agents=(paid,), budget=budget(room * cost), max_parallel=10**6, **more))
    return found


def end_all(found: Bench, at_once: int) -> int:
    """End the calls, so many in each turn; the most that were open at a time."""
    most = 0
    while found.calls:
        most = max(most, len(found.calls))
        for run, name in list(found.calls)[:at_once]:
            found.reply(name, run=run, usage=used(0))
        found.turn()
    return most


@pytest.mark.slow
@pytest.mark.parametrize("declared", [100, None], ids=["declared", "quoted"])
@pytest.mark.parametrize("at_once", [1, 7, 50])
def test_a_freed_place_is_tried_once(starts: list[str], at_once: int, declared: int | None) -> None:
    found = fan_out(300, 20, declared)
    assert len(found.calls) == 20
    assert end_all(found, at_once) == 20
    assert found.status() == "completed"
    assert len(starts) <= 1.02 * 300


def test_the_queue_keeps_the_order_of_the_tasks(starts: list[str]) -> None:
    end_all(fan_out(40, 3), 2)
    begun = list(dict.fromkeys(starts))
    assert begun == [f"r/t{i}" for i in range(40)]


def test_runs_take_turns() -> None:
    found = bench(tenant=100)
    paid = agent(max_cost=100)
    for run, count in (("r", 20), ("s", 3)):
        found.run(flow(*[task(f"t{i}") for i in range(count)], agents=(paid,)), run=run)
    order = []
    while found.calls:
        ((run, name),) = found.calls
        order.append(run)
        found.answer(name, run=run, usage=used(0))
    assert len(order) == 23
    assert max(i for i, run in enumerate(order) if run == "s") < 8, order


def test_what_needs_less_does_not_overtake_and_what_needs_much_does_not_starve() -> None:
    found = bench(tenant=100)
    agents = (agent("small", max_cost=30), agent("large", max_cost=90))
    found.run(flow(task("a", agent="small"), agents=agents), run="r")
    found.run(flow(task("b", agent="large"), agents=agents), run="s")
    found.run(flow(task("c", agent="small"), agents=agents), run="t")
    assert list(found.calls) == [("r", "a")], "c would fit, but b came first"
    found.answer("a", run="r", usage=used(5))
    assert list(found.calls) == [("s", "b")]
    found.answer("b", run="s", usage=used(5))
    assert list(found.calls) == [("t", "c")]


def test_a_task_of_higher_priority_is_the_first_in_the_queue() -> None:
    found = bench(tenant=100)
    paid = agent(max_cost=100)
    found.run(flow(task("a"), task("b"), agents=(paid,)), run="r")
    found.run(flow(task("c", priority=9), agents=(paid,)), run="s")
    found.answer("a", run="r", usage=used(0))
    assert list(found.calls) == [("s", "c")]


def test_a_promise_that_is_not_kept_goes_to_the_next() -> None:
    found = bench(tenant=100)
    slow = agent("slow", max_cost=100, rate_limit=RateLimit(requests_per_minute=1))
    agents = (slow, agent("other", max_cost=100))
    found.run(flow(task("a", agent="slow"), agents=agents), run="r")
    found.run(flow(task("b", agent="slow"), agents=agents), run="s")
    found.run(flow(task("c", agent="other"), agents=agents), run="t")
    assert list(found.calls) == [("r", "a")]
    found.answer("a", run="r", usage=used(0))
    while found.driver.has_work:
        found.turn()
    assert list(found.calls) == [("t", "c")], "the rate limit delays b: c has its money"


def test_a_limit_that_is_raised_wakes_as_many_as_fit(starts: list[str]) -> None:
    found = fan_out(30, 2)
    found.driver.set_budget(found.now, "run r", 700, "me", "more", 99)
    found.turn()
    assert len(found.calls) == 7
    assert len(starts) <= 9


def test_all_are_decided_about_when_no_call_holds_money() -> None:
    found = bench()
    paid = agent(max_cost=60)
    tasks = [task(f"t{i}", continue_on_failure=True) for i in range(20)]
    found.run(flow(*tasks, agents=(paid,), budget=budget(100, OnExceeded.FAIL)))
    found.answer("t0", usage=Usage(model="m", cost=60))
    assert found.states()["t19"] == "failed"


def test_what_is_empty_is_forgotten() -> None:
    found = fan_out(30, 2)
    end_all(found, 1)
    queues = found.driver.budgets.queues
    assert not queues.by_scope
    assert not queues.promised
    assert isinstance(queues, BudgetQueues)
    assert not queues.freed


def test_a_task_of_a_run_that_stops_leaves_the_queue_to_the_next() -> None:
    found = bench(tenant=100)
    expensive = agent(max_cost=90)
    found.run(flow(task("a"), agents=(expensive,)), "holder")
    found.run(flow(task("a"), agents=(expensive,)), "first")
    found.run(flow(task("a"), agents=(agent(max_cost=10),)), "second")
    assert found.calls.keys() == {("holder", "a")}
    found.driver.cancel(found.now, "first", "ann", "", 7)
    found.turn()
    assert ("second", "a") in found.calls
