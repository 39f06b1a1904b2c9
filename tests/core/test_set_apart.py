"""A run that fails inside the engine is set apart: it stops, and all others continue."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agenthive.core.engine import actions as act
from agenthive.core.engine import command_handlers, outbox, task_preparation
from agenthive.core.engine.active_run import ActiveRun
from agenthive.core.engine.admission import Admission
from agenthive.core.engine.budget_requests import BudgetRequests
from agenthive.core.engine.call_results import CallResults
from agenthive.core.engine.outbox import check_storable
from agenthive.core.history.run_index import list_set_apart
from agenthive.core.journal import run_events as ev
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.states import RunStatus, TaskState
from agenthive.core.values import MOST_AMOUNT
from agenthive.errors import RunUnusable
from tests.core.purse import account, bench, disk, pair, used
from tests.core.rig import FAULT, Bench, flow, task


def hive_events(bench: Bench) -> list[ev.HiveEvent]:
    return [
        event
        for record in bench.disk.records(ev.HIVE)
        for event in ev.decode_hive_events(record.payload)
    ]


@pytest.fixture
def two() -> Bench:
    """Two runs, `bad` and `good`, each with a call under way."""
    bench = Bench()
    for run in ("bad", "good"):
        bench.run(flow(task("a"), task("b", "a")), run)
    return bench


def expect_set_apart(bench: Bench, says: str) -> None:
    assert says in bench.driver.set_apart_runs["bad"]
    assert "bad" not in bench.driver.runs
    [event] = [event for event in hive_events(bench) if isinstance(event, ev.RunSetApart)]
    assert (event.run, event.events) == ("bad", len(bench.events("bad")))
    assert list_set_apart(bench.disk.get_marks()) == {"bad": (event.events, event.reason)}
    with pytest.raises(RunUnusable, match="run bad is set apart"):
        bench.driver.cancel(bench.now, "bad", "me", "", 99)
    bench.answer("a", run="good")
    bench.answer("b", run="good")
    assert bench.driver.used_run_slots == 0
    assert bench.driver.queue.used == 0
    assert any(isinstance(event, ev.RunClosed) for event in hive_events(bench))
    bench.run(flow(task("c")), "new")
    bench.answer("c", run="new")
    assert "new" not in bench.driver.runs


@pytest.mark.parametrize("value", ["\ud800", {"a": ["b", "\udfff"]}, {"\ud800": 1}, object()])
def test_events_that_cannot_be_encoded(two: Bench, value: Any) -> None:
    before = two.events("bad")
    two.answer("a", value, run="bad")
    assert two.events("bad") == before
    expect_set_apart(two, "")


def test_a_step_that_fails(two: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    step = command_handlers.step

    def fail(state: Any, event: ev.RunEvent) -> Any:
        if state.run == "bad":
            raise KeyError("broken")
        return step(state, event)

    monkeypatch.setattr(command_handlers, "step", fail)
    two.answer("a", run="bad")
    expect_set_apart(two, "KeyError: 'broken'")


def test_requests_about_it_are_rejected(two: Bench) -> None:
    """Also those that came in with the event that brought the run down."""
    driver = two.driver
    driver.cancel(two.now, "bad", "\ud800", "", 41)
    driver.cancel(two.now, "good", "me", "", 42)
    actions = two.turn()
    settled = {action.token: action for action in actions if hasattr(action, "token")}
    assert isinstance(settled[41], act.RejectRequest)
    assert "run bad was set apart" in settled[41].reason
    assert isinstance(settled[42], act.AcknowledgeRequest)
    assert any(isinstance(action, act.ReportUnusableRun) for action in actions)


def test_a_new_run_that_cannot_be_written_was_never_accepted() -> None:
    bench = Bench()
    bench.run(flow(task("a")), "good")
    bench.run(flow(task("a")), "bad", inputs={"n": "\ud800"})
    assert bench.driver.set_apart_runs == {}
    assert bench.disk.records("bad") == []
    assert not [event for event in hive_events(bench) if getattr(event, "run", "") == "bad"]
    assert [row.run for row in bench.disk.rows()] == ["good"]
    bench.answer("a", run="good")
    assert bench.driver.used_run_slots == 0


def test_its_calls_are_cancelled_and_their_replies_change_nothing(two: Bench) -> None:
    two.driver.cancel(two.now, "bad", "\ud800", "", 41)
    assert act.CancelCall("bad", "a", 1) in two.turn()
    before = len(two.disk.records("bad"))
    two.answer("a", run="bad")
    assert len(two.disk.records("bad")) == before
    assert two.driver.runs["good"].state.state[0] is TaskState.RUNNING


def test_a_call_that_was_committed_with_it_is_not_made(two: Bench) -> None:
    """The run fails while the batch with the intent of its next call is being written."""
    two.reply("a", run="bad")
    batch = two.decide()
    assert batch is not None
    two.driver.cancel(two.now, "bad", "\ud800", "", 41)
    two.driver._handlers.set_apart_run(two.driver.runs["bad"], KeyError("broken"), two.now)
    actions = two.commit(batch)
    assert not [one for one in actions if isinstance(one, act.PerformCall)]
    two.turn()
    assert two.disk.records("bad")[-1].payload.endswith(b"}]")
    expect_set_apart(two, "KeyError")


def test_what_it_holds_stays_reserved() -> None:
    found = bench(tenant=1000)
    found.run(pair(100), "bad")
    found.run(pair(100), "good")
    before = disk(found)
    assert before["tenant default"] == (0, 200)
    found.answer("a", "\ud800", usage=used(30), run="bad")
    assert disk(found) == before, "its events are not written, so neither is their cost"
    assert {scope: account(found, scope) for scope in before} == before
    assert found.driver.budgets.ledger.accounts["tenant default"].pending == 100
    for name in ("a", "b"):
        found.answer(name, usage=used(10), run="good")
    assert disk(found)["tenant default"] == (20, 100)
    found.crash_without_set_apart()
    assert account(found, "tenant default") == (20, 100)


def test_a_sum_without_end_stays_where_it_is() -> None:
    """Its true value is not known any more: what is taken back must not make it smaller."""
    found = bench(tenant=1000)
    found.run(pair(100), "bad")
    found.driver.budgets.ledger.adjust_captured("bad", ["tenant default"], 2**70)
    found.answer("a", "\ud800", usage=used(10), run="bad")
    assert found.driver.set_apart_runs.keys() == {"bad"}
    assert account(found, "tenant default")[0] == MOST_AMOUNT
    assert account(found, "run bad") == (0, 100)


def test_it_continues_only_by_its_id(two: Bench) -> None:
    two.answer("a", "\ud800", run="bad")
    two.crash_without_set_apart()
    assert two.driver.set_apart_runs.keys() == {"bad"}
    assert two.driver.runs.keys() == {"good"}
    state = two.state("bad")
    two.driver.load_run(two.now, state, {})
    two.turn()
    assert two.driver.set_apart_runs == {}
    two.answer("a", 1, run="bad")
    two.answer("b", 2, run="bad")
    assert two.status("bad") == "completed"


def fail_for_bad(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    """Let a function of the engine fail whenever the run `bad` is among its arguments."""
    original = getattr(owner, name)

    def fail(*arguments: Any, **more: Any) -> Any:
        if any(getattr(one, "id", getattr(one, "run", "")) == "bad" for one in arguments):
            raise KeyError("broken")
        return original(*arguments, **more)

    monkeypatch.setattr(owner, name, fail)


def test_a_task_that_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_for_bad(monkeypatch, Admission, "_start_task")
    bench = Bench()
    for run in ("good", "bad"):
        bench.run(flow(task("a"), task("b", "a")), run)
    assert bench.disk.records("bad") == [] or "bad" in bench.driver.set_apart_runs
    assert bench.open_calls() == ["good/a"]


def test_a_reply_that_cannot_be_taken(two: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_for_bad(monkeypatch, CallResults, "complete_call")
    two.answer("a", run="bad")
    expect_set_apart(two, "KeyError: 'broken'")


def test_a_cancellation_that_cannot_be_taken(two: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_for_bad(monkeypatch, CallResults, "record_cancellation")
    two.driver.record_cancellation(two.now, "bad", "a", 1)
    two.turn()
    expect_set_apart(two, "KeyError: 'broken'")


def test_a_step_that_cannot_be_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    bench.run(flow(task("z"), task("a", "z", when="true")), "bad")
    fail_for_bad(monkeypatch, task_preparation, "evaluate_step")
    bench.answer("z", run="bad")
    assert "broken" in bench.driver.set_apart_runs["bad"]


def test_a_settlement_that_cannot_be_booked(monkeypatch: pytest.MonkeyPatch) -> None:
    found = bench(tenant=1000)
    found.run(pair(100), "bad")
    found.answer("a", fault=FAULT, run="bad")
    fail_for_bad(monkeypatch, BudgetRequests, "_apply_settlement")
    found.wait(25 * 3600)
    assert "broken" in found.driver.set_apart_runs["bad"]


def test_a_run_that_was_set_apart_takes_no_events(two: Bench) -> None:
    run, handlers = two.driver.runs["bad"], two.driver._handlers
    handlers.set_apart_run(run, KeyError("broken"), two.now)
    handlers.set_apart_run(run, KeyError("again"), two.now)
    seq = run.state.seq
    handlers.apply_event(run, ev.CancelRequested(at=two.now), two.now)
    assert run.state.seq == seq
    two.turn()
    expect_set_apart(two, "broken")
    two.driver.clear_set_apart("bad")
    assert two.driver.set_apart_runs == {}
    two.driver.set_apart("bad", "it cannot be read")
    assert two.driver.set_apart_runs == {"bad": "it cannot be read"}


def test_what_a_store_cannot_hold(two: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    record = two.disk.records("good")[0]
    check_storable(record)
    with pytest.raises(ValueError, match="more than 64 bits"):
        check_storable(msgspec.structs.replace(record, at=2**63))
    monkeypatch.setattr(outbox, "MAX_STORED_BYTES", 10)
    with pytest.raises(ValueError, match="bytes"):
        check_storable(record)
    two.answer("a", run="good")
    assert "bytes" in two.driver.set_apart_runs["good"]


def test_waiters_that_nothing_wakes_are_named() -> None:
    found = bench(tenant=100)
    found.run(pair(90), "first")
    found.run(pair(90), "second")
    budgets = found.driver.budgets
    assert budgets.list_forgotten_waiters() == []
    of_first = budgets.ledger.accounts["run first"]
    of_first.held = of_first.pending = 0
    assert "fit" in budgets.list_forgotten_waiters()[0]
    of_first.held = 90
    assert "no call holds money" in budgets.list_forgotten_waiters()[0]


def test_a_child_that_cannot_be_written_fails_its_task(monkeypatch: pytest.MonkeyPatch) -> None:
    build_record = ActiveRun.build_record

    def fail(run: ActiveRun, batch: Any) -> Any:
        if run.state.parent is not None:
            raise KeyError("broken")
        return build_record(run, batch)

    monkeypatch.setattr(ActiveRun, "build_record", fail)
    found = Bench()
    found.run(flow(task("c", agent="", workflow=flow(task("t")))), "parent")
    found.turn()
    last = found.events("parent")
    ended = [event for event in last if isinstance(event, ev.ChildEnded)]
    assert "could not be written" in ended[0].error
    assert found.driver.set_apart_runs == {}


def test_a_parent_that_was_set_apart_hears_of_its_child_later() -> None:
    found = Bench()
    found.run(flow(task("c", agent="", workflow=flow(task("t")))), "parent")
    child = next(run for run in found.driver.runs if run != "parent")
    state = RunState(found.driver.runs[child].state.graph)
    state.run, state.parent = child, found.driver.runs[child].state.parent
    found.driver.deliver_child_end(found.now, found.driver.runs["parent"].state)
    state.status = RunStatus.COMPLETED
    found.driver.deliver_child_end(found.now, state)
    ended = [e for e in found.driver.runs["parent"].pending_events if isinstance(e, ev.ChildEnded)]
    assert [event.status for event in ended] == ["completed"]
    found.driver.deliver_child_end(found.now, state)
    state.run = "another"
    found.driver.deliver_child_end(found.now, state)


def test_a_run_that_another_one_brings_down_while_a_batch_is_built(
    two: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_record = ActiveRun.build_record

    def fail(run: ActiveRun, batch: Any) -> Any:
        if run.id == "good":
            handlers = two.driver._handlers
            handlers.set_apart_run(two.driver.runs["bad"], KeyError("broken"), two.now)
        return build_record(run, batch)

    before = two.events("bad")
    monkeypatch.setattr(ActiveRun, "build_record", fail)
    two.reply("a", run="good")
    two.reply("a", run="bad")
    two.turn()
    assert two.events("bad") == before
    assert two.driver.set_apart_runs.keys() == {"bad"}


def test_a_command_that_brings_its_run_down_is_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    carried_out = []

    def fail(self: Any, run: ActiveRun, command: Any, now: int) -> None:
        carried_out.append(command)
        self.set_apart_run(run, KeyError("broken"), now)

    monkeypatch.setattr(command_handlers.CommandHandlers, "_execute_command", fail)
    found = Bench()
    found.run(flow(task("a"), task("b"), task("c")), "r")
    assert len(carried_out) == 1


def test_a_child_whose_parent_is_brought_down_is_not_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step = command_handlers.step

    def fail(state: Any, event: ev.RunEvent) -> Any:
        if isinstance(event, ev.ChildOpened):
            raise KeyError("broken")
        return step(state, event)

    monkeypatch.setattr(command_handlers, "step", fail)
    found = Bench()
    found.run(flow(task("c", agent="", workflow=flow(task("t")))), "parent")
    assert found.driver.runs == {}


def test_lanes_of_a_run_that_is_gone(two: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = two.driver
    monkeypatch.setattr(driver._handlers._breakers, "take_closed_lanes", lambda: ["x"])
    monkeypatch.setattr(driver.queue, "list_waiting", lambda lane: [("gone", 0)])
    two.answer("a", run="good")
    assert two.open_calls() == ["bad/a", "good/b"]


def test_a_call_in_doubt_of_another_run_does_not_count_as_pending() -> None:
    found = bench(tenant=1000)
    for run in ("good", "bad"):
        found.run(pair(100), run)
    found.answer("a", fault=FAULT, run="good")
    found.answer("a", "\ud800", run="bad")
    assert found.driver.set_apart_runs.keys() == {"bad"}
    of_all = found.driver.budgets.ledger.accounts["tenant default"]
    assert of_all.pending <= of_all.held


def test_a_queue_whose_tasks_have_left_is_empty() -> None:
    found = bench(tenant=100)
    found.run(pair(90), "first")
    budgets, run = found.driver.budgets, found.driver.runs["first"]
    budgets.remove_departed(run)
    assert list(run.waiting_calls) == [1]
    run.waiting_calls.clear()
    assert budgets.list_forgotten_waiters() == []
    assert "run first" not in budgets.queues.by_scope
