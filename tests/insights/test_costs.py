"""Costs are folded from a journal made by hand: each call once, however late it answers."""

from __future__ import annotations

import pytest

from agenthive.core.journal import run_events as ev
from agenthive.core.model.calls import Fault, Usage
from agenthive.insights.costs import BY, Costs, CostTotals, sum_totals
from tests.insights.test_metrics import record

DAY = 86_400_000_000
DOWN = Fault(kind="timeout", message="no")


def used(cost: int | None, model: str = "m") -> Usage:
    return Usage(model=model, input_tokens=10, output_tokens=5, cost=cost)


def started(at: int, task: str, attempt: int = 1, agent: str = "one") -> ev.TaskStarted:
    return ev.TaskStarted(at=at, task=task, attempt=attempt, agent=agent, key="k")


def submitted(run: str, name: str) -> ev.RunSubmitted:
    return ev.RunSubmitted(at=0, run=run, name=name, definition="d")


JOURNAL = [
    record(
        "r",
        submitted("r", "flow"),
        started(0, "a"),
        ev.TaskFailed(at=5, task="a", attempt=1, fault=DOWN),
        started(DAY, "a", 2, "two"),
        ev.TaskSucceeded(at=DAY, task="a", attempt=2, usage=used(3)),
        ev.LateReply(at=2 * DAY, task="a", attempt=1, succeeded=True, usage=used(4, "n")),
        started(DAY, "b"),
        ev.TaskFailed(at=DAY, task="b", attempt=1, fault=DOWN, usage=used(None, "")),
        started(DAY, "free"),
        ev.TaskSucceeded(at=DAY, task="free", attempt=1),
        ev.ChildOpened(at=DAY, task="c", run="q"),
        started(DAY, "late"),
        ev.TaskCancelled(at=DAY, task="late", attempt=1),
    ),
    record(
        "q",
        submitted("q", "inner"),
        started(DAY, "a"),
        ev.TaskSucceeded(at=DAY, task="a", attempt=1, usage=used(20)),
    ),
    record(
        "other",
        submitted("other", "flow"),
        started(DAY, "x"),
        ev.TaskSucceeded(at=DAY, task="x", attempt=1, usage=used(100)),
    ),
    record(
        ev.HIVE,
        ev.RunOpened(at=0, run="r"),
        ev.UsageAfterEnd(at=3 * DAY, run="r", task="late", attempt=1, usage=used(1)),
    ),
]

EXPECTED = {
    "run": {("other",): 100, ("q",): 20, ("r",): 8},
    "workflow": {("flow",): 108, ("inner",): 20},
    "task": {
        ("r", "a"): 7,
        ("r", "b"): 0,
        ("r", "late"): 1,
        ("q", "a"): 20,
        ("other", "x"): 100,
    },
    "agent": {("one",): 125, ("two",): 3},
    "model": {("m",): 124, ("n",): 4, ("?",): 0},
    "day": {("1970-01-01",): 4, ("1970-01-02",): 124},
}


def folded(by: str, since: str = "", until: str = "9999") -> Costs:
    costs = Costs(by, since, until)
    costs.add_records(JOURNAL)
    return costs


@pytest.mark.parametrize("by", BY)
def test_every_way_of_summing_has_the_same_total(by: str) -> None:
    rows = folded(by).sum_rows()
    assert {key: spent.cost for key, spent in rows} == EXPECTED[by]
    assert [spent.cost for _, spent in rows] == sorted(EXPECTED[by].values(), reverse=True)
    assert sum_totals(rows) == CostTotals(
        calls=6, input_tokens=60, output_tokens=30, cost=128, unpriced=1
    )


def test_a_run_is_told_with_the_runs_below_it() -> None:
    assert {key: spent.cost for key, spent in folded("run").sum_rows("r")} == {
        ("r",): 8,
        ("q",): 20,
    }
    assert {key: spent.cost for key, spent in folded("run").sum_rows("q")} == {("q",): 20}
    assert folded("run").sum_rows("nobody") == []


def test_sums_can_be_asked_for_while_calls_are_under_way() -> None:
    """What is held is told as long as it is, and what is booked for a silent call afterwards."""
    costs = Costs("run")
    intent = ev.TaskStarted(at=0, task="a", attempt=1, agent="one", key="k", hold=50)
    costs.add_records([record("r", submitted("r", "flow"), intent)])
    for _ in range(2):
        assert sum_totals(costs.sum_rows()) == CostTotals(held=50)
    costs.add_records([record("r", ev.TaskSucceeded(at=1, task="a", attempt=1))])
    assert sum_totals(costs.sum_rows()) == CostTotals(assumed=50)


def test_days_are_those_of_the_calls() -> None:
    assert sum_totals(folded("run", since="1970-01-02").sum_rows()).cost == 124
    assert sum_totals(folded("run", until="1970-01-01").sum_rows()).cost == 4


def test_an_unknown_way_of_summing() -> None:
    with pytest.raises(ValueError, match="not by 'moon'"):
        Costs("moon")
