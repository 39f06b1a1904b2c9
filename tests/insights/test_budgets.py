"""Which calls hold money."""

from __future__ import annotations

from agenthive.core.model.workflow import BudgetSpec, FailureStrategy
from agenthive.insights.budgets import open_holds
from tests.core.rig import FAULT, NO_RETRY, Bench, agent, flow, task


def test_what_is_in_doubt_holds_until_the_run_has_ended() -> None:
    bench = Bench()
    spec = flow(
        task("a", retry=NO_RETRY),
        task("b"),
        agents=[agent("a", max_cost=10)],
        budget=BudgetSpec(limit=100),
        failure_strategy=FailureStrategy.CONTINUE,
    )
    bench.run(spec)
    assert [(one.task, one.held, one.under_way) for one in open_holds(bench.state())] == [
        ("a", 10, True),
        ("b", 10, True),
    ]
    bench.answer("a", fault=FAULT)
    assert [(one.task, one.under_way) for one in open_holds(bench.state())] == [
        ("a", False),
        ("b", True),
    ]
    bench.answer("b")
    assert bench.status() == "failed"
    assert bench.state().holds
    assert open_holds(bench.state()) == []
