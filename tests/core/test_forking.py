"""Doing a run again from a task on."""

from __future__ import annotations

import msgspec
import pytest

from agenthive.core.graph.graph import Graph
from agenthive.core.history import blobs
from agenthive.core.history.fork import ForkPlan, build_plan
from agenthive.core.journal import run_events as ev
from agenthive.core.model import definition
from agenthive.core.model.control_flow import EachSpec
from agenthive.core.model.workflow import Effect, WorkflowSpec
from agenthive.errors import NotFound
from tests.core.rig import FINAL, Bench, flow, task

DAG = flow(
    task("a"),
    task("b", "a", parameters={"x": "{{ tasks.a.result }}"}),
    task("c", "a", effect=Effect.ONCE),
    task("d", "b", "c"),
)


def done() -> Bench:
    bench = Bench()
    bench.run(DAG)
    for name in "abcd":
        bench.answer(name, name.upper())
    assert bench.status() == "completed"
    return bench


def fork(bench: Bench, at: str, spec: WorkflowSpec | None = None, new: str = "f") -> ForkPlan:
    """Fork the run ``r`` as ``f``."""
    graph = Graph(spec) if spec else bench.graph("r")
    records = bench.disk.records("r")
    found = build_plan(bench.graph("r"), graph, records, bench.disk.contents, at)
    bench.run(graph.spec, new, fork=found.fork)
    return found


@pytest.mark.parametrize(
    ("at", "anew", "again"),
    [("a", "abcd", ["c"]), ("b", "bd", []), ("c", "cd", ["c"]), ("d", "d", [])],
)
def test_what_does_not_depend_on_it_is_taken_over(at: str, anew: str, again: list[str]) -> None:
    bench = done()
    made = len(bench.made)
    assert fork(bench, at).again == again
    while bench.open_calls():
        bench.answer(bench.open_calls()[0].partition("/")[2], "new", run="f")
    assert {one.call.task for one in bench.made[made:]} == set(anew)
    assert bench.status("f") == "completed"
    assert set(bench.states("f").values()) == {"succeeded"}
    last = bench.made[-1].call
    assert last.task == "d"
    assert last.dependencies == {n: "new" if n in anew else n.upper() for n in "bc"}


def test_its_keys_are_its_own() -> None:
    bench = done()
    fork(bench, "d")
    first = next(one.call.key for one in bench.made if one.call.task == "d")
    assert bench.calls["f", "d"].call.key != first


def test_the_process_ends_before_and_after_it_began() -> None:
    bench = done()
    bench.driver.draining = True
    fork(bench, "b")
    bench.crash()
    bench.turn()
    assert bench.open_calls() == ["f/b"]
    bench.crash()
    bench.turn()
    assert bench.calls["f", "b"].call.parameters == {"x": "A"}


def test_under_a_changed_workflow() -> None:
    bench = done()
    b = msgspec.structs.replace(DAG.tasks[1], parameters={"x": 1})
    changed = msgspec.structs.replace(DAG, tasks=(DAG.tasks[0], b, *DAG.tasks[2:], task("e", "a")))
    fork(bench, "d", changed)
    assert sorted(bench.open_calls()) == ["f/b", "f/e"]


def test_a_failed_run_is_done_again_from_where_it_failed() -> None:
    bench = Bench()
    bench.run(DAG)
    bench.answer("a", "A")
    bench.answer("b", fault=FINAL)
    bench.answer("c", "C")
    assert bench.status() == "failed"
    assert fork(bench, "b").again == []
    assert bench.open_calls() == ["f/b"]


def test_what_failed_and_did_no_harm_is_tried_again_and_nobody_else() -> None:
    bench = Bench()
    bench.run(flow(task("a", continue_on_failure=True), task("b", "a"), task("c")))
    bench.answer("a", fault=FINAL)
    bench.answer("b", 1)
    bench.answer("c", 2)
    fork(bench, "c")
    assert sorted(bench.open_calls()) == ["f/a", "f/c"]
    bench.answer("a", 1, run="f")
    bench.answer("c", 1, run="f")
    assert bench.status("f") == "completed"


def test_there_is_no_such_task() -> None:
    with pytest.raises(NotFound, match="has no task 'x'"):
        fork(done(), "x")


def test_a_run_in_a_run_that_acts_once() -> None:
    inner = flow(task("pay", effect=Effect.ONCE))
    outer = flow(task("a"), task("sub", "a", agent="", workflow=inner))
    bench = Bench()
    bench.run(outer)
    bench.answer("a")
    child = next(run for run in bench.driver.runs if run != "r")
    bench.answer("pay", 1, run=child)
    assert fork(bench, "a").again == ["sub"]


def test_large_results_are_taken_over_by_reference() -> None:
    large = "x" * (blobs.LARGE_BYTES + 1)
    each = task("each", for_each=EachSpec(items="{{ [1, 2] }}"))
    bench = Bench()
    bench.run(flow(task("a"), each, task("end", "a", "each")))
    bench.answer("a", large)
    bench.answer("each[0]", large)
    bench.answer("each[1]", 2)
    bench.answer("end", 1)
    fork(bench, "end")
    bench.crash()
    bench.turn()
    assert bench.calls["f", "end"].call.dependencies == {"a": large, "each": [large, 2]}
    fact = bench.events("f")[0]
    assert isinstance(fact, ev.RunSubmitted)
    assert fact.fork is not None
    assert [one.blob is not None for one in fact.fork.taken] == [True, True]
    assert all(len(record.payload) < blobs.LARGE_BYTES for record in bench.disk.records("f"))
    whole = blobs.fill_event(fact, bench.disk.contents)
    assert isinstance(whole, ev.RunSubmitted)
    assert whole.fork is not None
    assert whole.fork.taken[0].result == large


def test_the_definition_is_that_of_the_first_run() -> None:
    bench = done()
    fork(bench, "d")
    assert definition.decode(definition.encode(bench.graph("f").spec)) == DAG
