"""What random simulations of flow have found: each of these once went wrong."""

from __future__ import annotations

from agenthive.core import actions as act
from agenthive.core.flow_spec import ApprovalSpec, EachSpec, WaitSpec
from agenthive.core.people import Verdict
from agenthive.core.spec import Effect
from tests.core.rig import FINAL, Bench, flow, task, undo

APPROVED = Verdict(actor="ann", approved=True)


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
    bench.driver.signal(bench.now, "r", "s", 1, "", "me", first + 1)
    bench.driver.answer(bench.now, "r", "a", APPROVED, first + 2)
    batch = bench.decide()
    assert batch is not None
    assert bench.driver.withdraw(batch) == [first, first + 1, first + 2]
    bench.commit(batch)
    assert bench.seen == []
    assert act.run_of(act.Acknowledge(1, about="r")) == "r"
