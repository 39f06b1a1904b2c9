"""Workflows with flow are rehearsed: people answer, signals come, items and sub-runs are told."""

from __future__ import annotations

from typing import Any

import pytest

from agenthive.core.engine.human_input import pending_approvals
from agenthive.core.model.control_flow import (
    ApprovalSpec,
    EachSpec,
    OnReject,
    ReconcileSpec,
    RepeatSpec,
    WaitSpec,
)
from agenthive.core.model.workflow import (
    AgentSpec,
    BudgetSpec,
    CompensationSpec,
    Effect,
    InputSpec,
    OnExceeded,
    TaskSpec,
    WorkflowSpec,
)
from agenthive.errors import ConfigurationError
from agenthive.simulation.people import SimulatedPeople, parse_patience
from agenthive.simulation.runner import SimulatedRun
from agenthive.testing import simulate

AGENTS = (AgentSpec(name="shop", type="custom", endpoint="custom://shop", max_concurrency=2),)
HOUR = 3600.0


def task(name: str, *after: str, **more: Any) -> TaskSpec:
    return TaskSpec(name=name, agent="shop", action=name, depends_on=after, **more)


def waits(name: str, *after: str, **more: Any) -> TaskSpec:
    """A task that calls nobody."""
    return TaskSpec(name=name, depends_on=after, **more)


def flow(*tasks: TaskSpec, **more: Any) -> WorkflowSpec:
    given = {"name": "flow", "agents": AGENTS, "max_parallel": 4, "timeout": None} | more
    return WorkflowSpec(tasks=tasks, **given)


KID = flow(
    task("first", estimated_duration=5.0),
    task("second", "first", approval=ApprovalSpec(message="really?")),
    name="kid",
    inputs={"x": InputSpec()},
)
EVERYTHING = flow(
    task("list"),
    task(
        "each",
        "list",
        for_each=EachSpec(items="tasks.list.result.items", max_parallel=2),
        parameters={"item": "{{ item }}"},
        effect=Effect.ONCE,
        reconcile=ReconcileSpec(agent="shop", action="ask"),
    ),
    task("yes", "list", when="tasks.list.result.go"),
    task("no", "list", when="not tasks.list.result.go"),
    task("after_no", "no"),
    waits("ask", "yes", approval=ApprovalSpec(approvers=("ann", "bob"), quorum=2)),
    task(
        "pay",
        "ask",
        effect=Effect.ONCE,
        approval=ApprovalSpec(approvers=("ann",), deadline=7200.0, on_reject=OnReject.SKIP),
    ),
    waits("paid", "pay", wait_for=WaitSpec(signal="paid")),
    waits("pause", "paid", delay=30.0),
    task("poll", "pause", repeat_until=RepeatSpec(until="round >= 3", max_rounds=5)),
    waits("kid", "poll", workflow=KID, parameters={"x": 1}),
    task(
        "join",
        "after_no",
        "kid",
        "each",
        compensate=CompensationSpec(agent="shop", action="undo"),
    ),
)
ANSWERS = {"list": {"result": {"items": [1, 2, 3], "go": True}}}


@pytest.mark.slow
@pytest.mark.parametrize("faults", ["none", "some", "hostile"])
def test_every_promise_is_kept(faults: str) -> None:
    found = simulate(EVERYTHING, seeds=150, faults=faults, answers=ANSWERS)
    found.check()
    assert found.statuses["completed"] > 0
    assert {"completed", "failed", "waiting (outcome)"} >= set(found.statuses)
    figures = found.tasks
    assert figures["no"].calls == figures["after_no"].calls == figures["ask"].calls == 0
    assert figures["kid/first"].calls > 0
    assert figures["each"].acted_twice == 0
    assert (figures["each#reconcile"].calls > 0) == (faults != "none")


def test_what_each_part_is_told_of() -> None:
    found = simulate(EVERYTHING, seeds=60, faults="none", answers=ANSWERS)
    assert found.statuses == {"completed": 60}
    assert found.tasks["each"].calls == 180
    assert found.tasks["each"].most == 3
    assert found.tasks["kid/first"].source == "declared"
    assert found.tasks["ask"].source == "no call"
    assert found.tasks["ask"].critical > 40
    polled = found.tasks["poll"].calls
    assert polled == 3 * found.tasks["kid/first"].calls
    assert found.duration(0.5) > HOUR


@pytest.mark.slow
def test_the_same_seed_is_the_same_story() -> None:
    first = simulate(EVERYTHING, seeds=20, faults="hostile", answers=ANSWERS)
    again = simulate(EVERYTHING, seeds=20, faults="hostile", answers=ANSWERS)
    assert [SimulatedRun(first.options, s).build_outcome() for s in range(20)] == [
        SimulatedRun(again.options, s).build_outcome() for s in range(20)
    ]
    told = {one.type for seed in range(20) for one in first.story(seed)}
    assert {"task.approval_given", "run.signal_received", "task.expanded"} <= told


# People.


def test_people_take_their_time_or_never_come() -> None:
    spec = flow(waits("ask", approval=ApprovalSpec()), task("go", "ask"))
    quick = simulate(spec, seeds=200, faults="none", people="90s")
    slow = simulate(spec, seeds=200, faults="none", people="2h")
    assert 60 < quick.duration(0.5) < 140
    assert 5000 < slow.duration(0.5) < 10_000
    assert quick.tasks["ask"].critical == 200
    never = simulate(spec, seeds=20, faults="some", people="never")
    never.check()
    assert never.statuses == {"waiting (approval)": 20}
    late = flow(waits("ask", approval=ApprovalSpec(deadline=60.0)))
    assert simulate(late, seeds=20, faults="none", people="never").statuses == {"failed": 20}


def test_a_signal_brings_its_example() -> None:
    spec = flow(
        waits("paid", wait_for=WaitSpec(signal="paid", keep=False)),
        task("ship", "paid", when="tasks.paid.result.amount > 3"),
    )
    with pytest.raises(ConfigurationError, match="result of paid: it is needed for the condition"):
        simulate(spec)
    for amount, calls in ((2, 0), (4, 30)):
        answers = {"paid": {"result": {"amount": amount}}}
        found = simulate(spec, seeds=30, faults="none", answers=answers)
        assert found.statuses == {"completed": 30}
        assert found.tasks["ship"].calls == calls


def test_the_time_of_a_run_does_not_pass_while_only_people_are_awaited() -> None:
    spec = flow(waits("ask", approval=ApprovalSpec()), task("go", "ask"), timeout=60.0)
    found = simulate(spec, seeds=30, faults="none", people="1h")
    found.check()
    assert found.statuses == {"completed": 30}


def test_who_does_not_answer_though_people_do_is_a_violation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(SimulatedPeople, "review_runs", lambda self, runtime: None)
    found = simulate(flow(waits("ask", approval=ApprovalSpec())), seeds=3, faults="none")
    assert {(v.invariant, v.detail) for v in found.violations} == {
        ("everything_ends", f"run-{seed}: waits, but no person or agent is missing")
        for seed in range(3)
    }


def test_a_task_that_waits_for_a_higher_limit_is_no_violation() -> None:
    spec = flow(
        task("a", max_cost=60),
        task("b", "a", max_cost=60),
        budget=BudgetSpec(limit=100, on_exceeded=OnExceeded.WAIT),
    )
    found = simulate(spec, seeds=5, faults="none")
    found.check()
    assert found.statuses == {"waiting (budget)": 5}


def test_an_answer_that_a_crash_has_swallowed_is_given_again() -> None:
    spec = flow(*(waits(f"ask{n}", approval=ApprovalSpec()) for n in range(4)))
    found = simulate(spec, seeds=60, faults="crash=0.2", people="60s")
    found.check()
    assert found.statuses == {"completed": 60}
    played = SimulatedRun(found.options, 0)
    assert not any(pending_approvals(state) for state in played.states.values())


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("15m", 900), ("1.5 h", 5400), ("2d", 172_800)]
)
def test_lengths_of_time(text: str, seconds: float) -> None:
    takes = parse_patience(text)
    assert takes is not None
    assert takes.quantile(0.5) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "-1h", "1w", "1h30m", "9" * 30])
def test_bad_lengths_of_time(text: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a duration"):
        parse_patience(text)


# Examples that are missing.


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"when": "tasks.a.result.ok"}, "the condition"),
        ({"delay": "{{ tasks.a.result.seconds }}"}, "the delay"),
        ({"until": "{{ tasks.a.result }}"}, "the time"),
        ({"for_each": EachSpec(items="tasks.a.result")}, "the items"),
        ({"repeat_until": RepeatSpec(until="tasks.a.result.ok")}, "the end of its iterations"),
    ],
)
def test_a_decision_needs_an_example(more: dict[str, Any], what: str) -> None:
    spec = flow(task("a"), task("b", "a", **more))
    with pytest.raises(ConfigurationError) as refused:
        simulate(spec)
    assert refused.value.problems == (f"give an example result of a: it is needed for {what} of b",)
    assert "--answers" in refused.value.hint


def test_a_round_needs_an_example_of_its_own_result() -> None:
    spec = flow(task("a", repeat_until=RepeatSpec(until="result.done")))
    with pytest.raises(
        ConfigurationError, match="result of a: it is needed for the end of its iterations"
    ):
        simulate(spec)
    found = simulate(spec, seeds=5, faults="none", answers={"a": {"result": {"done": True}}})
    assert found.statuses == {"completed": 5}


def test_a_sub_workflow_needs_examples_too() -> None:
    child = flow(
        task("x"),
        task("y", "x", when="tasks.x.result.ok"),
        name="child",
        inputs={"n": InputSpec(type="integer", required=True)},
    )
    spec = flow(
        task("a"),
        waits("c", "a", workflow=child, parameters={"n": "{{ tasks.a.result.n }}"}),
        task("z", "c", parameters={"from": "{{ tasks.c.result.y.deep.er }}"}),
    )
    with pytest.raises(ConfigurationError) as refused:
        simulate(spec)
    assert refused.value.problems == (
        "give an example result of a: it is needed for the inputs of c",
        "give an example result of c/x: it is needed for the condition of c/y",
    )
    answers = {"a": {"result": {"n": 1}}, "c/x": {"result": {"ok": True}}}
    found = simulate(spec, seeds=10, faults="none", answers=answers)
    assert found.statuses == {"completed": 10}
    assert found.notes[-1].startswith("give an example result of c/y: the parameters of z read it")


def test_what_people_are_shown_may_be_left_out() -> None:
    asked = ApprovalSpec(
        message="pay {{ tasks.a.result.sum }}?", payload="{{ tasks.a.result.sum }}"
    )
    spec = flow(task("a"), waits("ask", "a", approval=asked))
    found = simulate(spec, seeds=10, faults="none")
    assert found.statuses == {"completed": 10}
    assert len(found.notes) == 3
