"""Flow at its bounds and in its corners: what is refused, forgotten, asked again, said."""

from __future__ import annotations

import pytest

from agenthive.core.engine import actions as act
from agenthive.core.engine import child_runs, human_input, human_requests
from agenthive.core.engine.driver import Driver
from agenthive.core.engine.human_input import ApprovalDecision
from agenthive.core.engine.reply_validation import to_plain_json
from agenthive.core.history import blobs
from agenthive.core.history.story import build_story
from agenthive.core.history.waiting_reasons import list_reasons
from agenthive.core.journal import run_events as ev
from agenthive.core.machine import state_actions
from agenthive.core.model.calls import Fault, Usage
from agenthive.core.model.control_flow import (
    ApprovalSpec,
    EachSpec,
    ReconcileSpec,
    RepeatSpec,
    WaitSpec,
)
from agenthive.core.model.states import Reason, ReasonKind
from agenthive.core.model.workflow import AgentSpec, CompensationSpec, Effect, TaskSpec
from agenthive.errors import Conflict, DefinitionError
from tests.core.rig import FINAL, Bench, Machine, flow, task

ASK = ReconcileSpec(agent="a", action="look")


def only(bench: Bench, name: str) -> Reason:
    return next(one for one in list_reasons(bench.state()) if one.task == name)


# Bounds.


def test_refusals_are_recorded_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(human_requests, "MAX_REFUSALS", 2)
    bench = Bench()
    bench.run(flow(task("a", approval=ApprovalSpec(approvers=("ann",)))))
    for _ in range(3):
        assert "is not an approver" in bench.approve("a", "mallory")
    assert sum(isinstance(e, ev.ApprovalRefused) for e in bench.events()) == 2


def test_signals_are_kept_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(human_input, "MAX_KEPT_SIGNALS", 2)
    bench = Bench()
    bench.run(flow(task("a"), task("b", "a", wait_for=WaitSpec(signal="go"))))
    bench.signal("go", 1)
    bench.signal("go", 2)
    with pytest.raises(Conflict, match="can keep no more signals 'go'"):
        bench.signal("go", 3)


def test_who_says_what_is_known_already_is_told_so_at_once() -> None:
    bench = Bench()
    bench.run(flow(task("a"), task("b", "a", wait_for=WaitSpec(signal="go"))))
    facts = {"signal": lambda: bench.signal("go", 1, id="x"), "cancel": bench.cancel}
    for say in facts.values():
        for _ in range(2):
            say()
            bench.turn()
            assert bench.seen[-1] == act.AcknowledgeRequest(
                bench.tokens, about=bench.seen[-1].about
            )
    kinds = [type(event) for event in bench.events()]
    assert kinds.count(ev.SignalReceived) == kinds.count(ev.CancelRequested) == 1


def test_an_outcome_that_is_none() -> None:
    bench = Bench()
    bench.run(flow(task("a", effect=Effect.ONCE)))
    with pytest.raises(Conflict, match="'perhaps' is not an outcome; use one of"):
        bench.resolve("a", "perhaps")


def test_the_outside_world_is_asked_so_often_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_actions, "MAX_RECONCILE_CALLS", 2)
    bench = Bench()
    bench.run(flow(task("pay", effect=Effect.ONCE, reconcile=ASK)))
    for number in ("", "2"):
        bench.crash()
        bench.turn()
        reason = only(bench, "pay")
        assert (reason.kind, reason.unblock) == (
            ReasonKind.OUTCOME,
            f"the reconcile call 'pay#reconcile{number}' has ended",
        )
        bench.answer(f"pay#reconcile{number}", {"happened": False})
    bench.crash()
    bench.turn()
    assert bench.open_calls() == []
    assert only(bench, "pay").unblock.endswith("resolve r pay --succeeded, --failed or --retry")


def test_graphs_of_child_runs_are_forgotten_when_there_are_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(child_runs, "MAX_GRAPHS", 1)
    parts = [task(n, agent="", workflow=flow(task(f"in_{n}"))) for n in "ab"]
    bench = Bench()
    bench.run(flow(*parts))
    assert len(bench.open_calls()) == 2


def test_what_is_no_json() -> None:
    assert to_plain_json({"a": (1, 2)}) == {"a": [1, 2]}  # type: ignore[dict-item]
    with pytest.raises(DefinitionError, match="the value is not valid JSON"):
        to_plain_json(float("nan"))


# Corners.


def test_progress_that_comes_too_late_is_not_heard() -> None:
    bench = Bench()
    bench.run(flow(task("a"), task("b", "a")))
    bench.answer("a")
    bench.driver.record_progress(bench.now, "r", "a", 1, {"done": 1})
    bench.driver.record_progress(bench.now, "gone", "a", 1, {"done": 1})
    assert bench.decide() is None
    bench.driver.record_progress(bench.now, "r", "b", 1, {"done": 1})
    bench.turn()
    assert isinstance(bench.events()[-1], ev.TaskProgressed)


def test_a_question_that_was_not_answered_when_the_process_ended_is_evaluated_again() -> None:
    run = Machine(flow(task("a", when="true")))
    assert run.of("a") == "preparing"
    driver = Driver()
    driver.load_run(run.now, run.state, {})
    assert driver.decide(run.now) is not None
    assert run.of("a") == "running"


def approved_then(changed: TaskSpec, old: TaskSpec) -> Bench:
    """The approval of ``old`` is given; its run goes on as ``changed``."""
    bench = Bench(max_calls=1)
    bench.run(flow(task("first"), old))
    bench.driver.draining = True
    bench.approve(old.name)
    bench.answer("first", {"x": 1})
    bench.migrate(flow(task("first"), changed))
    bench.driver.draining = False
    bench.turn()
    return bench


def test_what_was_approved_and_cannot_be_evaluated_any_more() -> None:
    old = task("mail", approval=ApprovalSpec(), parameters={"to": "ann"})
    new = task("mail", approval=ApprovalSpec(), parameters={"to": "{{ tasks.first.result.y.z }}"})
    bench = approved_then(new, old)
    assert bench.states()["mail"] == "failed"
    assert not bench.calls


def test_a_child_run_that_was_approved_with_other_inputs_is_asked_about_again() -> None:
    inner = flow(task("in"))
    old = task("sub", agent="", workflow=inner, approval=ApprovalSpec(), parameters={"x": 1})
    bench = Bench()
    bench.run(flow(task("first"), old))
    live = bench.driver.runs["r"]
    assert live.state.flow is not None
    bench.driver.answer(bench.now, "r", "sub", ApprovalDecision(actor="ann", approved=True), 99)
    live.state.flow.approved[1] = "another digest"
    bench.turn()
    assert bench.states()["sub"] == "blocked"
    assert len(bench.driver.runs) == 1


def test_compensations_of_items_read_other_tasks() -> None:
    undo = CompensationSpec(agent="a", action="undo", parameters={"of": "{{ tasks.a.result }}"})
    each = EachSpec(items=[1])
    bench = Bench()
    bench.run(flow(task("a"), task("b", "a", for_each=each, compensate=undo), task("c", "b")))
    bench.answer("a", "A")
    bench.answer("b[0]")
    bench.answer("c", fault=FINAL)
    assert bench.calls["r", "b[0]#undo"].call.parameters == {"of": "A"}


def test_a_model_is_told_once_what_was_wrong_with_its_answer() -> None:
    model = AgentSpec(name="m", type="ai_agent", endpoint="offline://x")
    bad = Fault(kind="invalid_output", message="'ok' is missing", retriable=False)
    schema = {"type": "object", "required": ["ok"]}
    bench = Bench()
    bench.run(flow(task("a", agent="m", output_schema=schema), agents=(model,)))
    bench.answer("a", fault=bad, usage=Usage(input_tokens=1))
    bench.turn()
    assert bench.calls["r", "a"].call.complaint == "'ok' is missing"
    bench.answer("a", fault=bad, usage=Usage(input_tokens=1))
    assert bench.status() == "failed"


def test_a_child_whose_outputs_cannot_be_evaluated_fails() -> None:
    inner = flow(task("x"), outputs={"y": "{{ tasks.x.result.y.z }}"})
    bench = Bench()
    bench.run(flow(task("sub", agent="", workflow=inner)))
    child = next(run for run in bench.driver.runs if run != "r")
    bench.answer("x", 5, run=child)
    assert bench.status() == "failed"
    fault = bench.state().faults[0]
    assert "outputs:" in fault.message


def test_large_results_of_items_come_back_after_a_crash() -> None:
    bench = Bench()
    bench.run(flow(task("each", for_each=EachSpec(items=[1, 2])), task("end", "each")))
    large = "x" * (blobs.LARGE_BYTES + 1)
    bench.answer("each[0]", large)
    bench.answer("each[1]", 2)
    bench.crash()
    bench.turn()
    assert bench.calls["r", "end"].call.dependencies == {"each": [large, 2]}


# What is said.


def test_why_a_task_with_parts_stands() -> None:
    bench = Bench()
    again = RepeatSpec(until="result", max_rounds=3)
    each = EachSpec(items=[1, 2, 3], max_parallel=1)
    bench.run(
        flow(
            task("rounds", repeat_until=again),
            task("each", for_each=each),
            task("sub", agent="", workflow=flow(task("in"))),
            task("it's", wait_for=WaitSpec(signal="g o")),
            TaskSpec(name="later", delay=90.0),
        )
    )
    bench.answer("rounds~1", False)
    bench.answer("each[0]")
    child = next(run for run in bench.driver.runs if run != "r")
    told = {one.task: (one.kind, one.detail, one.unblock) for one in list_reasons(bench.state())}
    assert told["rounds"] == ("parts", "iteration 2 is running", "the last iteration has ended")
    assert told["each"][1] == "1 of 3 mapped items have ended"
    assert told["each[2]"] == (
        "slot",
        "as many mapped items of 'each' as allowed are running",
        "another of them has ended",
    )
    assert told["sub"] == (
        "child",
        f"its child run {child} is running",
        f"the child run has ended; agenthive why {child} explains what it waits for",
    )
    assert told["it's"][2] == "agenthive signal r 'g o'"
    assert told["later"][2] == "its time has come, in 90.0 s"


def test_why_a_name_is_quoted() -> None:
    bench = Bench()
    bench.run(flow(task("it's", approval=ApprovalSpec())))
    assert only(bench, "it's").unblock.startswith("agenthive approve r 'it'\\''s', or")


def test_who_found_out_is_told() -> None:
    bench = Bench()
    bench.run(flow(task("pay", effect=Effect.ONCE)))
    bench.crash()
    bench.turn()
    bench.resolve("pay", "succeeded", 1)
    lines = [one.text for one in build_story(bench.graph("r"), bench.disk.records("r"), "pay")]
    assert "pay: ann recorded the outcome of attempt 1: succeeded: looked" in lines


def test_a_fork_and_a_change_of_workflow_are_told() -> None:
    bench = Bench()
    fork = ev.Fork(run="old", task="b", taken=[ev.InheritedResult(task="a", result=1)])
    wait = task("b", "a", wait_for=WaitSpec(signal="s"))
    bench.run(flow(task("a"), wait), fork=fork)
    changed = msgspec_renamed(wait)
    bench.migrate(flow(task("aa"), changed))
    lines = [one.text for one in build_story(bench.graph("r"), bench.disk.records("r"), "b")]
    assert "submitted as a fork of run old from task 'b' on; results inherited: 1" in lines
    assert any(line.startswith("moved to a changed workflow by local") for line in lines)
    assert act.run_of(act.RunParked("r")) == "r"


def msgspec_renamed(old: TaskSpec) -> TaskSpec:
    return task(old.name, "aa", wait_for=old.wait_for)
