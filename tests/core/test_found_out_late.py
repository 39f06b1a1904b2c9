"""What somebody finds out about a call while its run is being stopped or undone."""

from __future__ import annotations

import pytest

from agenthive.core.model.control_flow import ReconcileSpec
from agenthive.core.model.workflow import Effect
from agenthive.errors import Conflict
from tests.core.rig import FINAL, Bench, flow, task, undo

ONCE = Effect.ONCE


def lost(*outcomes: str) -> Bench:
    """Two calls that act once, both lost; then what somebody says came of each."""
    bench = Bench()
    tasks = [task(name, effect=ONCE, compensate=undo()) for name in ("a", "b")]
    bench.run(flow(task("first", compensate=undo()), *tasks, task("end", "a", "b")))
    bench.answer("first")
    bench.crash()
    bench.turn()
    for name, outcome in zip(("a", "b"), outcomes, strict=False):
        bench.resolve(name, outcome)
    return bench


def test_what_has_acted_is_undone_though_that_is_known_late() -> None:
    bench = lost("failed", "succeeded")
    assert bench.status() == "compensating"
    assert bench.open_calls() == ["r/first#undo"]
    bench.answer("first#undo")
    assert bench.open_calls() == ["r/b#undo"]
    bench.crash()
    bench.turn()
    bench.answer("b#undo")
    assert bench.status() == "compensated"
    assert bench.states()["b"] == "compensated"


@pytest.mark.parametrize(("outcome", "state"), [("failed", "failed"), ("retry", "skipped")])
def test_what_has_not_acted_is_not_undone(outcome: str, state: str) -> None:
    bench = lost("failed", outcome)
    assert bench.states()["b"] == state
    bench.answer("first#undo")
    assert bench.status() == "compensated"


def test_a_compensation_whose_turn_is_over_cannot_be_resolved() -> None:
    bench = Bench()
    bench.run(
        flow(
            task("a", compensate=undo()),
            task("b", "a", compensate=undo(effect=ONCE)),
            task("c", "b"),
        )
    )
    bench.answer("a")
    bench.answer("b")
    bench.answer("c", fault=FINAL)
    assert bench.open_calls() == ["r/b#undo"]
    bench.crash()
    bench.turn()
    assert bench.open_calls() == ["r/a#undo"]
    with pytest.raises(Conflict, match="does not wait for its outcome"):
        bench.resolve("b#undo", "succeeded")
    bench.answer("a#undo")
    assert bench.status() == "compensation_failed"


def test_nobody_waits_for_an_agent_when_the_run_is_cancelled() -> None:
    bench = Bench()
    ask = ReconcileSpec(agent="bank", action="look")
    bench.run(flow(task("a", agent="x", effect=ONCE, reconcile=ask)))
    bench.crash(missing={"x": "bring x"})
    bench.turn()
    bench.cancel()
    bench.resolve("a", "retry")
    assert bench.states()["a"] == "cancelled"


def test_an_answer_to_an_older_question_does_not_count() -> None:
    bench = Bench()
    ask = ReconcileSpec(agent="bank", action="look")
    bench.run(flow(task("a", effect=ONCE, reconcile=ask)))
    bench.crash()
    bench.turn()
    bench.resolve("a", "retry")
    bench.crash()
    bench.turn()
    assert sorted(bench.open_calls()) == ["r/a#reconcile", "r/a#reconcile2"]
    bench.answer("a#reconcile", True)
    assert bench.states()["a"] == "unknown_outcome"
    bench.answer("a#reconcile2", True)
    assert bench.status() == "completed"
