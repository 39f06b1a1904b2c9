"""Habits are folded from a journal made by hand, fact by fact."""

from __future__ import annotations

import pytest

from agenthive.core.graph.graph import Graph
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Record
from agenthive.core.model.calls import Fault, Usage
from agenthive.core.model.control_flow import EachSpec, ReconcileSpec, RepeatSpec
from agenthive.core.model.workflow import AgentSpec, CompensationSpec, TaskSpec, WorkflowSpec
from agenthive.insights import agent_statistics
from agenthive.insights.agent_statistics import Fit

S = 1_000_000
HERE = AgentSpec(name="here", type="http_api", endpoint="http://h")
MOVED = AgentSpec(name="here", type="http_api", endpoint="http://elsewhere")
RENAMED = AgentSpec(name="other", type="http_api", endpoint="http://h")
STRANGER = AgentSpec(name="stranger", type="custom", endpoint="custom://s")
DOWN = Fault(kind="connection", message="no", counts=False)
SLOW = Fault(kind="timeout", message="Request timeout")


def graph(name: str = "w") -> Graph:
    tasks = (
        TaskSpec(name="a", agent="here", action="read"),
        TaskSpec(name="b", agent="here", action="write"),
    )
    return Graph(WorkflowSpec(name=name, agents=(HERE,), tasks=tasks))


def record(stream: str, *events: ev.Event) -> Record:
    return Record(
        stream=stream, seq=1, count=len(events), at=0, type="t", payload=ev.encode(events)
    )


def started(at: float, task: str) -> ev.TaskStarted:
    return ev.TaskStarted(at=round(at * S), task=task, attempt=1, agent="here", key="k")


def done(at: float, task: str, cost: int | None = None, result: object = None) -> ev.TaskSucceeded:
    usage = Usage(input_tokens=7, output_tokens=3, cost=cost)
    return ev.TaskSucceeded(at=round(at * S), task=task, attempt=1, usage=usage, result=result)


def failed(at: float, task: str, fault: Fault = DOWN) -> ev.TaskFailed:
    return ev.TaskFailed(at=round(at * S), task=task, attempt=1, fault=fault)


def folded(*events: ev.Event, name: str = "w", into: Fit | None = None) -> Fit:
    found = into or Fit("w", {"a", "b"})
    found.open_run("r", graph(name))
    found.add_records([record("r", *events)])
    return found


def test_times_costs_and_failures() -> None:
    found = folded(
        ev.RunStarted(at=0),
        started(0, "a"),
        done(2, "a", cost=5),
        started(3, "a"),
        failed(9, "a"),
        started(10, "a"),
        failed(40, "a", SLOW),
        started(50, "a"),
        done(54, "a"),
    )
    known = found.estimate_call(HERE, "read")
    assert known is not None
    assert (known.own, known.calls) == (True, 4)
    assert known.fail == known.hang == 0.25
    assert known.traits == ((("connection", True, False), 1),)
    assert known.time is not None
    assert known.time.quantile(0.5) == pytest.approx((2 * 4) ** 0.5)
    assert known.cost is not None
    assert known.cost.values == (5,)
    assert known.tokens is not None
    assert known.tokens.values == (10, 10)


def test_a_call_that_was_lost_or_never_made_says_nothing() -> None:
    expression = Fault(kind="expression", message="no")
    found = folded(
        started(0, "a"),
        ev.TaskLost(at=9 * S, task="a", attempt=1),
        started(10, "a"),
        ev.TaskCancelled(at=11 * S, task="a", attempt=1),
        started(12, "a"),
        failed(12, "a", expression),
        done(13, "a"),
        started(14, "gone"),
        done(15, "gone"),
    )
    assert found.estimate_call(HERE, "read") is None
    assert found.estimate_call(STRANGER, "read") is None


def test_who_is_near() -> None:
    found = folded(started(0, "a"), done(2, "a"), started(2, "b"), done(12, "b"))
    moved = found.estimate_call(MOVED, "read")
    assert moved is not None
    assert moved.own
    renamed = found.estimate_call(RENAMED, "write")
    assert renamed is not None
    assert renamed.own
    other = found.estimate_call(HERE, "delete")
    assert other is not None
    assert (other.own, other.calls, other.cost, other.tokens) == (False, 2, None, None)
    assert found.estimate_call(MOVED, "delete") is None
    assert found.estimate_call(STRANGER, "read") is None


def test_rates_of_few_calls_are_pulled_towards_all() -> None:
    many = [event for i in range(100) for event in (started(i, "a"), done(i + 0.5, "a"))]
    found = folded(*many, started(200, "b"), failed(201, "b"))
    one = found.estimate_call(HERE, "write")
    assert one is not None
    assert one.time is None
    assert 0.3 < one.fail < 0.4
    hundred = found.estimate_call(HERE, "read")
    assert hundred is not None
    assert hundred.fail < 0.001


def test_the_last_result_of_this_workflow_else_of_any() -> None:
    found = folded(started(0, "a"), done(1, "a", result={"n": 1}), name="other")
    assert found.result("a") == ({"n": 1},)
    folded(started(0, "a"), done(1, "a", result={"n": 2}), into=found)
    folded(started(2, "a"), done(3, "a", result=None), into=found)
    folded(started(0, "a"), done(1, "a", result={"n": 4}), name="other", into=found)
    assert found.result("a") == (None,)
    assert found.result("b") is None
    nobody = Fit()
    folded(started(0, "a"), done(1, "a", result=1), into=nobody)
    assert nobody.result("a") is None


def test_runs_that_are_over_or_unknown_are_passed_over() -> None:
    found = Fit()
    found.add_records([record("r", started(0, "a"), done(1, "a"))])
    assert found.estimate_call(HERE, "read") is None
    found.open_run("r", graph())
    found.add_records([record("r", started(0, "a"))])
    closed = ev.RunClosed(at=S, run="r", status="completed", events=3)
    found.add_records([record(ev.HIVE, ev.RunOpened(at=0, run="r"), closed)])
    found.add_records([record("r", done(1, "a"))])
    assert found.estimate_call(HERE, "read") is None


def test_items_rounds_and_what_is_done_about_them_count_for_their_task() -> None:
    ask = ReconcileSpec(agent="here", action="ask")
    undo = CompensationSpec(agent="here", action="undo")
    each = TaskSpec(
        name="a",
        agent="here",
        action="read",
        for_each=EachSpec(items="inputs.x"),
        reconcile=ask,
        repeat_until=RepeatSpec(until="round > 1"),
        compensate=undo,
    )
    found = Fit("w", {"a"})
    found.open_run("r", Graph(WorkflowSpec(name="w", agents=(HERE,), tasks=(each,))))
    keys = ("a[0]~1", "a[0]~2", "a[11]", "a~3", "a[0]~2#undo", "a#reconcile2", "a[2]#other", "b[1]")
    for key in keys:
        found.add_records([record("r", started(0, key), done(4, key, result=key))])
    calls = {}
    for action in ("read", "undo", "ask"):
        known = found.estimate_call(HERE, action)
        assert known is not None
        calls[action] = known.calls
    assert calls == {"read": 4, "undo": 1, "ask": 1}
    assert found.result("a") == ("a~3",)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_statistics, "MOST_KINDS", 3)
    monkeypatch.setattr(agent_statistics, "KEPT", 1)
    found = folded(started(0, "a"), done(1, "a"), started(1, "b"), done(2, "b"))
    read = found.estimate_call(HERE, "read")
    assert read is not None
    assert not read.own
    other = Fault(kind="agent_error", message="no")
    folded(started(3, "b"), failed(4, "b"), started(5, "b"), failed(6, "b", other), into=found)
    write = found.estimate_call(HERE, "write")
    assert write is not None
    assert write.traits == ((("connection", True, False), 1),)
