"""What random simulations of flow have found: each of these once went wrong."""

from __future__ import annotations

from agenthive.core.engine import actions as act
from agenthive.core.engine.human_input import ApprovalDecision
from agenthive.core.history.blobs import LARGE_BYTES
from agenthive.core.model.control_flow import (
    ApprovalSpec,
    EachSpec,
    ReconcileSpec,
    RepeatSpec,
    WaitSpec,
)
from agenthive.core.model.workflow import Effect
from tests.core.rig import FAULT, FINAL, Bench, flow, task, undo

APPROVED = ApprovalDecision(actor="ann", approved=True)


def test_a_pure_read_waits_until_its_approval_is_on_disk() -> None:
    bench = Bench()
    bench.run(flow(task("read", effect=Effect.NONE, approval=ApprovalSpec())))
    bench.tokens += 1
    bench.driver.answer(bench.now, "r", "read", APPROVED, bench.tokens)
    batch = bench.decide()
    assert not bench.calls
    assert batch is not None
    bench.commit(batch)
    assert bench.open_calls() == ["r/read"]


def test_what_undoes_an_item_is_given_no_results_that_may_be_gone() -> None:
    bench = Bench()
    each = EachSpec(items=[1])
    bench.run(flow(task("a"), task("b", "a", for_each=each, compensate=undo()), task("c", "b")))
    bench.answer("a", 5)
    assert bench.calls["r", "b[0]"].call.dependencies == {"a": 5}
    bench.answer("b[0]")
    bench.answer("c", fault=FINAL)
    assert bench.calls["r", "b[0]#undo"].call.dependencies == {}


def test_what_was_said_to_a_run_that_is_dropped_is_not_acknowledged() -> None:
    bench = Bench()
    first = bench.submit(flow(task("a", wait_for=WaitSpec(signal="s"))))
    bench.driver.signal_run(bench.now, "r", "s", 1, "", "me", first + 1)
    bench.driver.answer(bench.now, "r", "a", APPROVED, first + 2)
    batch = bench.decide()
    assert batch is not None
    assert bench.driver.withdraw_runs(batch) == [first, first + 1, first + 2]
    bench.commit(batch)
    assert bench.seen == []
    assert act.run_of(act.AcknowledgeRequest(1, about="r")) == "r"


def test_a_large_answer_about_what_came_of_a_call_can_be_replayed() -> None:
    bench = Bench()
    ask = ReconcileSpec(agent="a", action="look")
    bench.run(flow(task("pay", effect=Effect.ONCE, reconcile=ask), task("b", "pay")))
    bench.crash()
    bench.turn()
    bench.answer("pay#reconcile", {"happened": True, "result": "x" * 2 * LARGE_BYTES})
    assert bench.open_calls() == ["r/b"]
    bench.crash()
    bench.turn()
    assert bench.calls["r", "b"].call.dependencies == {"pay": "x" * 2 * LARGE_BYTES}


def test_a_round_of_unknown_outcome_does_not_hold_up_a_run_that_stops() -> None:
    bench = Bench()
    again = RepeatSpec(until="true")
    bench.run(flow(task("a", effect=Effect.ONCE, repeat_until=again), task("b")))
    bench.answer("b", fault=FINAL)
    bench.answer("a~1", fault=FAULT)
    assert bench.states() == {"a": "failed", "b": "failed", "a~1": "unknown_outcome"}
    assert bench.status() == "failed"


def test_a_run_that_is_dropped_prepares_nothing_any_more() -> None:
    bench = Bench()
    bench.submit(flow(task("a", wait_for=WaitSpec(signal="s"), approval=ApprovalSpec())))
    batch = bench.decide()
    assert batch is not None
    bench.driver.signal_run(bench.now, "r", "s", 1, "", "me", 9)
    bench.driver.withdraw_runs(batch)
    bench.commit(batch)
    assert bench.turn() == []
    assert bench.disk.records("r") == []
