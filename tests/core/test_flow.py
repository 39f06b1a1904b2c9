"""What stands around calls: conditions, waits, approvals, items, rounds, sub-workflows."""

from __future__ import annotations

import pytest

from agenthive.core.journal import run_events as ev
from agenthive.core.model.control_flow import (
    ApprovalSpec,
    OnDeadline,
    OnReject,
    ReconcileSpec,
    WaitSpec,
)
from agenthive.core.model.workflow import Effect, FailureStrategy, TaskSpec
from agenthive.errors import Conflict, NotFound, RunNotFound
from tests.core.rig import NO_RETRY, Bench, flow, task


def waits(name: str, *after: str, **more: object) -> TaskSpec:
    """A task that calls nobody."""
    return TaskSpec(name=name, depends_on=after, **more)  # type: ignore[arg-type]


# Conditions.


def test_a_condition_that_holds() -> None:
    bench = Bench()
    bench.run(flow(task("a"), task("b", "a", when="tasks.a.result.ok")))
    bench.answer("a", {"ok": True})
    assert bench.open_calls() == ["r/b"]


def test_a_chain_behind_a_false_condition_is_bypassed_and_a_join_is_not() -> None:
    bench = Bench()
    spec = flow(
        task("a"),
        task("yes", "a", when="tasks.a.result"),
        task("no", "a", when="not tasks.a.result"),
        task("after_no", "no"),
        task("join", "yes", "after_no"),
    )
    bench.run(spec)
    bench.answer("a", True)
    bench.answer("yes", 1)
    assert bench.states()["no"] == bench.states()["after_no"] == "bypassed"
    assert bench.calls["r", "join"].call.dependencies == {"yes": 1, "after_no": None}
    bench.answer("join")
    assert bench.status() == "completed"


def test_a_condition_that_cannot_be_evaluated_fails_its_task() -> None:
    bench = Bench()
    bench.run(flow(task("a"), task("b", "a", when="tasks.a.result.x.y")))
    bench.answer("a", {})
    assert bench.states() == {"a": "succeeded", "b": "failed"}
    assert bench.status() == "failed"


# Times.


def test_a_task_that_only_waits() -> None:
    bench = Bench()
    bench.run(flow(waits("pause", delay=60.0), task("b", "pause")))
    assert bench.status() == "waiting"
    assert not bench.driver.runs["r"].is_parked
    bench.wait(59)
    assert not bench.calls
    bench.wait(1)
    assert bench.open_calls() == ["r/b"]
    bench.answer("b")
    assert bench.status() == "completed"


def test_a_time_survives_the_process() -> None:
    bench = Bench()
    bench.run(flow(task("a", until="2023-11-14T23:13:30+01:00")))
    bench.crash()
    bench.turn()
    assert bench.driver.next_wake() == 1_700_000_010_000_000
    bench.wait(9)
    assert bench.open_calls() == ["r/a"]


@pytest.mark.parametrize("delay", ["{{ inputs.x }}", "soon"])
def test_a_delay_that_is_none(delay: str) -> None:
    bench = Bench()
    bench.run(flow(task("a", delay=delay)), inputs={"x": -1})
    assert bench.states() == {"a": "failed"}


# Signals.


def test_a_signal_that_is_waited_for() -> None:
    bench = Bench()
    bench.run(flow(waits("paid", wait_for=WaitSpec(signal="paid")), task("ship", "paid")))
    assert bench.status() == "waiting"
    assert bench.driver.runs["r"].is_parked
    bench.signal("paid", {"amount": 3}, id="1")
    assert bench.calls["r", "ship"].call.dependencies == {"paid": {"amount": 3}}
    bench.signal("paid", {"amount": 4}, id="1")
    assert sum(isinstance(e, ev.SignalReceived) for e in bench.events()) == 1


def test_a_signal_that_comes_early_is_kept_or_refused() -> None:
    bench = Bench()
    kept, refused = WaitSpec(signal="kept"), WaitSpec(signal="refused", keep=False)
    bench.run(flow(task("a"), task("b", "a", wait_for=kept), waits("c", "a", wait_for=refused)))
    bench.signal("kept", 1)
    with pytest.raises(Conflict):
        bench.signal("refused", 2)
    with pytest.raises(NotFound, match="waits for a signal 'unknown'"):
        bench.signal("unknown")
    bench.crash()
    bench.turn()
    bench.answer("a")
    assert bench.open_calls() == ["r/b"]
    bench.signal("refused", 2)
    bench.answer("b")
    assert bench.results() == {"a": None, "b": None, "c": 2}


def test_a_signal_that_does_not_come() -> None:
    bench = Bench()
    with_default = WaitSpec(signal="s", timeout=5.0, default=7, has_default=True)
    spec = flow(
        waits("a", wait_for=with_default),
        waits("b", wait_for=WaitSpec(signal="t", timeout=6.0)),
        failure_strategy=FailureStrategy.CONTINUE,
    )
    bench.run(spec)
    bench.crash(after=0)
    bench.wait(5)
    assert bench.states() == {"a": "succeeded", "b": "blocked"}
    bench.wait(1)
    assert bench.states() == {"a": "succeeded", "b": "failed"}
    assert bench.results()["a"] == 7


# Approvals.


def gate(**more: object) -> ApprovalSpec:
    return ApprovalSpec(**({"approvers": ("ann", "bob")} | more))  # type: ignore[arg-type]


def test_what_was_approved_is_what_runs() -> None:
    bench = Bench()
    spec = flow(
        task("a"), task("pay", "a", parameters={"sum": "{{ tasks.a.result }}"}, approval=gate())
    )
    bench.run(spec)
    bench.answer("a", 12)
    asked = next(e for e in bench.events() if isinstance(e, ev.ApprovalRequested))
    assert asked.payload == {"agent": "a", "action": "do", "parameters": {"sum": 12}}
    bench.crash()
    bench.turn()
    assert not bench.calls
    assert bench.approve("pay", "eve") == "'eve' is not an approver; approvers: ann, bob"
    assert "another payload" in bench.approve("pay", digest="0000")
    assert bench.approve("pay", digest=asked.digest) == ""
    assert bench.calls["r", "pay"].call.parameters == {"sum": 12}
    assert "does not wait for an approval" in bench.approve("pay", "bob")
    bench.answer("pay")
    assert bench.status() == "completed"


def test_a_quorum() -> None:
    bench = Bench()
    bench.run(flow(waits("ok", approval=gate(quorum=2, payload={"x": 1}))))
    assert bench.approve("ok") == ""
    assert bench.approve("ok") == "'ann' has approved already"
    bench.crash()
    assert bench.approve("ok", "bob", comment="fine") == ""
    assert bench.results()["ok"] == {
        "approved": True,
        "by": ["ann", "bob"],
        "payload": {"x": 1},
        "comments": {"bob": "fine"},
    }
    assert bench.status() == "completed"


def test_a_rejection_fails_or_skips() -> None:
    bench = Bench()
    skip = gate(on_reject=OnReject.SKIP)
    spec = flow(
        task("a", approval=skip),
        waits("b", approval=skip),
        task("c", approval=gate()),
        failure_strategy=FailureStrategy.CONTINUE,
    )
    bench.run(spec)
    for name in ("a", "b", "c"):
        bench.approve(name, approved=False, comment="no")
    assert bench.states() == {"a": "bypassed", "b": "succeeded", "c": "failed"}
    assert bench.results()["b"]["approved"] is False
    assert bench.state().faults[2].message == "rejected by ann: no"


def test_escalation_and_deadline() -> None:
    bench = Bench()
    late = gate(escalate_after=10.0, escalate_to=("boss",), deadline=20.0)
    bench.run(
        flow(
            task("a", approval=late),
            task("b", approval=gate(deadline=5.0, on_deadline=OnDeadline.APPROVE)),
        )
    )
    assert "not an approver" in bench.approve("a", "boss")
    bench.wait(5)
    assert bench.open_calls() == ["r/b"]
    bench.wait(5)
    bench.crash(after=0)
    bench.turn()
    bench.wait(10)
    assert bench.states()["a"] == "failed"


def test_the_boss_answers_after_the_escalation() -> None:
    bench = Bench()
    bench.run(flow(task("a", approval=gate(escalate_after=10.0, escalate_to=("boss",)))))
    bench.wait(10)
    assert bench.approve("a", "boss") == ""
    assert bench.open_calls() == ["r/a"]


# Unknown outcomes.


@pytest.mark.parametrize(
    ("outcome", "state"), [("succeeded", "completed"), ("failed", "failed"), ("retry", "running")]
)
def test_somebody_finds_out(outcome: str, state: str) -> None:
    bench = Bench()
    bench.run(flow(task("a", effect=Effect.ONCE)))
    bench.crash()
    bench.turn()
    assert bench.states() == {"a": "unknown_outcome"}
    bench.resolve("a", outcome, 3)
    assert bench.status() == state
    if outcome == "retry":
        bench.answer("a", 3)
    with pytest.raises((Conflict, RunNotFound)):
        bench.resolve("a", "retry")


@pytest.mark.parametrize("answer", [True, {"happened": True, "result": 8}])
def test_the_outside_world_says_that_it_happened(answer: object) -> None:
    bench = Bench()
    ask = ReconcileSpec(agent="bank", action="look")
    bench.run(flow(task("a", effect=Effect.ONCE, reconcile=ask), task("b", "a")))
    bench.crash()
    bench.turn()
    assert bench.open_calls() == ["r/a#reconcile"]
    bench.answer("a#reconcile", answer)
    got = 8 if isinstance(answer, dict) else None
    assert bench.calls["r", "b"].call.dependencies == {"a": got}


def test_the_outside_world_says_that_it_did_not() -> None:
    bench = Bench()
    ask = ReconcileSpec(agent="bank", action="look")
    bench.run(flow(task("a", effect=Effect.ONCE, reconcile=ask, retry=NO_RETRY)))
    bench.crash()
    bench.turn()
    bench.answer("a#reconcile", False)
    assert bench.open_calls() == ["r/a"]
    bench.crash()
    bench.turn()
    bench.answer("a#reconcile2", None)
    assert bench.states()["a"] == "unknown_outcome"
    bench.resolve("a", "succeeded")
    assert bench.status() == "completed"


def test_calls_with_nothing_around_them_need_no_memory_for_flow() -> None:
    bench = Bench()
    bench.run(flow(task("a"), task("b", "a")))
    bench.answer("a")
    assert bench.driver.runs["r"].state.flow is None
