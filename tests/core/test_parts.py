"""What tasks are made of: items, rounds, sub-workflows."""

from __future__ import annotations

import pytest

from agenthive.core.journal import run_events as ev
from agenthive.core.model.control_flow import (
    ApprovalSpec,
    EachSpec,
    RepeatSpec,
)
from agenthive.core.model.workflow import TaskSpec, WorkflowSpec
from tests.core.rig import AT_ONCE, FAULT, FINAL, NO_RETRY, Bench, flow, task, undo


def waits(name: str, *after: str, **more: object) -> TaskSpec:
    """A task that calls nobody."""
    return TaskSpec(name=name, depends_on=after, **more)  # type: ignore[arg-type]


def gate(**more: object) -> ApprovalSpec:
    return ApprovalSpec(**({"approvers": ("ann", "bob")} | more))  # type: ignore[arg-type]


# Items.


def test_every_item_is_a_task() -> None:
    bench = Bench()
    each = EachSpec(items="tasks.a.result", max_parallel=2)
    spec = flow(
        task("a"),
        task("b", "a", for_each=each, parameters={"x": "{{ item * 2 + index }}"}, retry=AT_ONCE),
        task("c", "b"),
    )
    bench.run(spec)
    bench.answer("a", [5, 6, 7])
    assert bench.open_calls() == ["r/b[0]", "r/b[1]"]
    assert bench.calls["r", "b[1]"].call.parameters == {"x": 13}
    assert bench.calls["r", "b[1]"].call.dependencies == {"a": [5, 6, 7]}
    bench.answer("b[1]", "one")
    assert bench.open_calls() == ["r/b[0]", "r/b[2]"]
    bench.crash()
    bench.turn()
    bench.answer("b[0]", fault=FAULT)
    bench.answer("b[0]", "zero")
    bench.answer("b[2]", "two")
    assert bench.calls["r", "c"].call.dependencies == {"b": ["zero", "one", "two"]}
    bench.answer("c")
    assert bench.status() == "completed"
    assert bench.state().succeeded_count == 3


@pytest.mark.parametrize(
    ("items", "what"), [({"x": 1}, "needs a list"), ([1] * 4, "at most 3 are allowed")]
)
def test_items_that_are_none(items: object, what: str) -> None:
    bench = Bench()
    bench.run(
        flow(task("a"), task("b", "a", for_each=EachSpec(items="tasks.a.result", max_items=3)))
    )
    bench.answer("a", items)
    assert bench.status() == "failed"
    assert what in bench.state().faults[1].message


def test_no_items() -> None:
    bench = Bench()
    bench.run(flow(task("a", for_each=EachSpec(items=[])), task("b", "a")))
    assert bench.calls["r", "b"].call.dependencies == {"a": []}


def test_a_failed_item_fails_its_task_and_begins_no_more() -> None:
    bench = Bench()
    each = EachSpec(items=[1, 2, 3, 4], max_parallel=2)
    bench.run(flow(task("a", for_each=each, retry=NO_RETRY)))
    bench.answer("a[0]", fault=FINAL)
    assert bench.open_calls() == ["r/a[1]"]
    bench.answer("a[1]")
    assert bench.states() == {
        "a": "failed",
        "a[0]": "failed",
        "a[1]": "succeeded",
        "a[2]": "skipped",
        "a[3]": "skipped",
    }
    assert "a[0]: no" in bench.state().faults[0].message


def test_a_failed_item_is_tolerated_where_the_task_says_so() -> None:
    bench = Bench()
    each = EachSpec(items=[1, 2])
    spec = flow(
        task("a", for_each=each, retry=NO_RETRY, continue_on_failure=True),
        task("b", "a", parameters={"bad": "{{ tasks.a.errors }}"}),
    )
    bench.run(spec)
    bench.answer("a[0]", fault=FINAL)
    bench.answer("a[1]", 2)
    assert bench.calls["r", "b"].call.dependencies == {"a": [None, 2]}
    assert bench.calls["r", "b"].call.parameters == {"bad": {"0": "no"}}


def test_items_with_approvals_of_their_own() -> None:
    bench = Bench()
    bench.run(
        flow(
            task(
                "a",
                for_each=EachSpec(items=[1, 2]),
                parameters={"n": "{{ item }}"},
                approval=gate(),
            )
        )
    )
    asked = [e.payload for e in bench.events() if isinstance(e, ev.ApprovalRequested)]
    assert [p["parameters"] for p in asked] == [{"n": 1}, {"n": 2}]  # type: ignore[index, call-overload]
    bench.approve("a[1]")
    assert bench.open_calls() == ["r/a[1]"]
    bench.answer("a[1]")
    bench.cancel()
    bench.turn()
    assert bench.status() == "cancelled"


def test_a_cancelled_run_with_items() -> None:
    bench = Bench()
    bench.run(flow(task("a", for_each=EachSpec(items=[1, 2, 3], max_parallel=1))))
    bench.cancel()
    bench.turn()
    bench.stop("a[0]")
    assert bench.status() == "cancelled"
    assert set(bench.states().values()) == {"cancelled"}


def test_items_are_undone_the_latest_first() -> None:
    bench = Bench()
    back = undo(parameters={"n": "{{ tasks.a.result }}"})
    spec = flow(
        task("a", for_each=EachSpec(items=[1, 2]), compensate=back),
        task("b", "a", retry=NO_RETRY),
    )
    bench.run(spec)
    bench.answer("a[1]", "one")
    bench.answer("a[0]", "zero")
    bench.answer("b", fault=FINAL)
    assert bench.open_calls() == ["r/a[0]#undo"]
    assert bench.calls["r", "a[0]#undo"].call.parameters == {"n": "zero"}
    bench.crash()
    bench.turn()
    bench.answer("a[0]#undo")
    bench.answer("a[1]#undo")
    assert bench.status() == "compensated"


# Rounds.


def test_rounds_until_the_condition_holds() -> None:
    bench = Bench()
    spec = flow(
        task(
            "a",
            repeat_until=RepeatSpec(until="result >= 3"),
            parameters={"r": "{{ round }}", "p": "{{ previous }}"},
        ),
        task("b", "a"),
    )
    bench.run(spec)
    assert bench.calls["r", "a~1"].call.parameters == {"r": 1, "p": None}
    bench.answer("a~1", 1)
    bench.crash()
    bench.turn()
    assert bench.calls["r", "a~2"].call.parameters == {"r": 2, "p": 1}
    bench.answer("a~2", 2)
    bench.answer("a~3", 3)
    assert bench.calls["r", "b"].call.dependencies == {"a": 3}


def test_rounds_that_are_used_up() -> None:
    bench = Bench()
    bench.run(
        flow(task("a", repeat_until=RepeatSpec(until="result", max_rounds=2), retry=NO_RETRY))
    )
    bench.answer("a~1", False)
    bench.answer("a~2", False)
    assert bench.status() == "failed"
    assert "did not hold after 2 iterations" in bench.state().faults[0].message


def test_a_round_that_fails_fails_its_task() -> None:
    bench = Bench()
    bench.run(flow(task("a", repeat_until=RepeatSpec(until="result"), retry=NO_RETRY)))
    bench.answer("a~1", fault=FINAL)
    assert bench.states() == {"a": "failed", "a~1": "failed"}


def test_rounds_of_every_item() -> None:
    bench = Bench()
    bench.run(
        flow(
            task(
                "a",
                for_each=EachSpec(items=[1, 2]),
                repeat_until=RepeatSpec(until="result == item"),
            )
        )
    )
    bench.answer("a[0]~1", 1)
    bench.answer("a[1]~1", 1)
    bench.answer("a[1]~2", 2)
    assert bench.status() == "completed"
    assert bench.results()["a"] == [1, 2]


# Sub-workflows.


def child(*tasks: TaskSpec, **more: object) -> WorkflowSpec:
    return flow(*tasks, **more)  # type: ignore[arg-type]


def test_a_run_within_a_run() -> None:
    bench = Bench(max_runs=1)
    inner = child(
        task("x", parameters={"v": "{{ inputs.v }}"}), outputs={"got": "{{ tasks.x.result }}"}
    )
    bench.run(
        flow(
            task("a"),
            waits("sub", "a", workflow=inner, parameters={"v": "{{ tasks.a.result }}"}),
            task("b", "sub"),
        )
    )
    bench.answer("a", 4)
    (run,) = [r for r in bench.driver.runs if r != "r"]
    assert bench.status() == "running"
    assert bench.calls[run, "x"].call.parameters == {"v": 4}
    bench.crash()
    bench.turn()
    bench.answer("x", 5, run=run)
    assert bench.status(run) == "completed"
    assert bench.calls["r", "b"].call.dependencies == {"sub": {"got": 5}}


def test_a_child_that_fails_or_waits() -> None:
    bench = Bench()
    inner = child(waits("ok", approval=gate()), task("x", "ok", retry=NO_RETRY))
    bench.run(flow(waits("sub", workflow=inner)))
    (run,) = [r for r in bench.driver.runs if r != "r"]
    assert bench.status() == bench.status(run) == "waiting"
    assert bench.driver.runs["r"].is_parked
    bench.approve("ok", run=run)
    assert bench.status() == "running"
    bench.answer("x", fault=FINAL, run=run)
    assert bench.status() == "failed"
    assert f"run {run} failed: x: no" in bench.state().faults[0].message


def test_cancelling_reaches_the_children() -> None:
    bench = Bench()
    bench.run(flow(waits("sub", workflow=child(task("x")))))
    (run,) = [r for r in bench.driver.runs if r != "r"]
    bench.cancel()
    bench.turn()
    bench.stop("x", run=run)
    assert bench.status() == bench.status(run) == "cancelled"
