"""A run that fails inside the engine is set apart: it stops, and all others continue."""

from __future__ import annotations

from typing import Any

import pytest

from agenthive.core.engine import actions as act
from agenthive.core.engine import command_handlers
from agenthive.core.history.run_index import list_set_apart
from agenthive.core.journal import run_events as ev
from agenthive.core.model.states import TaskState
from agenthive.core.values import MOST_AMOUNT
from agenthive.errors import RunUnusable
from tests.core.purse import account, bench, disk, pair, used
from tests.core.rig import Bench, flow, task


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
