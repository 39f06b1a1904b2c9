"""The driver: decide, write, commit, act; and what it makes of answers."""

from __future__ import annotations

import pytest

from agenthive.core.engine import actions as act
from agenthive.core.engine.driver import Driver
from agenthive.core.journal import run_events as ev
from agenthive.core.model.calls import Fault, Reply, Usage
from agenthive.core.model.idempotency import IdempotencyKeys
from agenthive.core.model.states import RunStatus
from agenthive.core.model.workflow import Effect
from agenthive.core.values import SECOND
from agenthive.errors import Conflict, RunNotFound
from tests.core.rig import AT_ONCE, FAULT, FINAL, NO_RETRY, START, Bench, agent, flow, task, undo

NONE = Effect.NONE


def kinds(actions: list[act.Action]) -> list[str]:
    return [type(action).__name__ for action in actions]


# Submitting.


def test_nothing_to_do() -> None:
    driver = Driver()
    assert driver.decide(START) is None
    assert not driver.has_work
    assert driver.next_wake() is None
    assert driver.confirm_commit(START) == []


def test_accepted_started_called() -> None:
    bench = Bench()
    token = bench.submit(flow(task("a")))
    assert bench.driver.has_work
    batch = bench.decide()
    assert batch is not None
    assert [(r.stream, r.seq, r.count, r.type) for r in batch.records] == [
        ("r", 1, 3, "run"),
        ("hive", 1, 1, "hive"),
    ]
    assert [row.status for row in batch.runs] == ["running"]
    assert len(batch.definitions) == 1
    assert bench.made == []
    actions = bench.commit(batch)
    assert actions[0] == act.AcknowledgeRequest(token, "r")
    assert kinds(actions) == ["AcknowledgeRequest", "PerformCall"]
    assert [e.run for e in bench.hive() if isinstance(e, ev.RunOpened)] == ["r"]
    assert bench.decide() is None
    assert not bench.driver.has_work


def test_the_call() -> None:
    bench = Bench()
    spec = flow(
        task("a"),
        task(
            "b",
            "a",
            description="d",
            timeout=2.5,
            parameters={"x": "{{ tasks.a.result.n }}", "k": "${env:K}", "r": "{{ run.id }}"},
        ),
    )
    bench.run(spec, inputs={"i": 1})
    bench.answer("a", {"n": 5})
    perform = bench.calls["r", "b"]
    call = perform.call
    assert (call.run, call.task, call.attempt, call.agent, call.action) == ("r", "b", 1, "a", "do")
    assert call.parameters == {"x": 5, "k": "${env:K}", "r": "r"}
    assert call.dependencies == {"a": {"n": 5}}
    assert (call.description, call.references) == ("d", {"${env:K}"})
    assert (call.timeout, perform.timeout) == (2.5, 2_500_000)
    assert perform.agent == spec.agents[0]
    assert call.key == IdempotencyKeys("r")("b")
    intent = bench.events()[-1]
    assert intent == ev.TaskStarted(at=START, task="b", attempt=1, agent="a", key=call.key)


def test_a_call_without_a_bound() -> None:
    bench = Bench()
    bench.run(flow(task("a"), agents=[agent(timeout=None)]))
    assert bench.calls["r", "a"].timeout is None
    assert bench.calls["r", "a"].call.timeout is None


def test_what_expressions_see() -> None:
    bench = Bench()
    shown = {
        "s": "{{ tasks.a.status }}",
        "e": "{{ tasks.a.error }}",
        "r": "{{ tasks.a.result }}",
        "i": "{{ inputs.i }}",
        "n": "{{ run.name }}",
        "b": "{{ tasks.b.error }}",
    }
    bench.run(
        flow(task("a", continue_on_failure=True), task("b"), task("c", "a", "b", parameters=shown)),
        inputs={"i": [1]},
    )
    bench.answer("a", fault=FINAL)
    bench.answer("b", 2)
    assert bench.calls["r", "c"].call.parameters == {
        "s": "failed",
        "e": "no",
        "r": None,
        "i": [1],
        "n": "w",
        "b": None,
    }
    assert bench.calls["r", "c"].call.dependencies == {"a": None, "b": 2}


def test_an_expression_that_fails_fails_the_task_for_good() -> None:
    bench = Bench()
    bench.run(flow(task("a"), task("b", "a", effect=Effect.ONCE, parameters={"x": "{{ 1 / 0 }}"})))
    bench.answer("a")
    fault = bench.state().faults[1]
    assert (fault.kind, fault.retriable, fault.counts) == ("expression", False, False)
    assert bench.status() == "failed"
    assert bench.driver.queue.used == 0
    assert [call.call.task for call in bench.made] == ["a"]


def test_a_run_that_exists_is_refused() -> None:
    bench = Bench()
    bench.submit(flow(task("a")))
    with pytest.raises(Conflict, match="run r exists already"):
        bench.submit(flow(task("a")))


def test_runs_share_a_batch() -> None:
    bench = Bench()
    for run in ("r1", "r2"):
        bench.submit(flow(task("a")), run)
    batch = bench.decide()
    assert batch is not None
    assert [record.stream for record in batch.records] == ["r1", "r2", "hive"]
    assert [row.run for row in batch.runs] == ["r1", "r2"]


def test_rows_tell_of_changes_of_status_only() -> None:
    bench = Bench()
    bench.run(flow(task("a"), task("b", "a"), task("c", "b", continue_on_failure=True)))
    bench.reply("a")
    batch = bench.decide()
    assert batch is not None
    assert batch.runs == []
    bench.commit(batch)
    bench.answer("b")
    bench.answer("c", fault=FINAL)
    row = bench.disk.rows()[0]
    assert (row.run, row.name, row.status, row.tenant, row.owner) == (
        "r",
        "w",
        "completed",
        "default",
        "local",
    )
    assert (row.total_tasks, row.completed_tasks, row.failed_tasks) == (3, 2, 1)
    assert (row.created, row.finished) == (START, START)


def test_a_record_has_the_time_of_its_last_fact() -> None:
    bench = Bench()
    bench.run(flow(task("a"), task("b"), task("c", "a", "b"), max_parallel=2))
    for name in "ab":
        bench.now += SECOND
        bench.reply(name)
    bench.driver.draining = True
    bench.now += SECOND
    batch = bench.decide()
    assert batch is not None
    assert batch.records[0].at == START + 2 * SECOND
    assert batch.records[0].count == 2


def test_closed() -> None:
    bench = Bench()
    bench.run(flow(task("a")), tenant="t", owner="o")
    ended = bench.answer("a")
    assert ended == [act.RunEnded("r", RunStatus.COMPLETED)]
    closed = bench.hive()[-1]
    assert closed == ev.RunClosed(at=START, run="r", status="completed", events=4)
    assert len(bench.events()) == 4
    assert bench.hive()[0] == ev.RunOpened(at=START, run="r", tenant="t", owner="o")
    with pytest.raises(RunNotFound):
        bench.cancel()


# Acting.


def test_nothing_is_done_before_the_commit() -> None:
    bench = Bench()
    bench.run(flow(task("a"), *(task(str(e), "a", effect=e) for e in Effect)))
    bench.reply("a")
    batch = bench.decide()
    assert batch is not None
    assert bench.open_calls() == ["r/none"], "a pure read may go first"
    actions = bench.commit(batch)
    assert kinds(actions) == ["PerformCall"] * 3
    assert sorted(bench.open_calls()) == ["r/any", "r/keyed", "r/none", "r/once"]


def test_even_a_pure_read_waits_until_its_run_is_accepted() -> None:
    bench = Bench()
    bench.submit(flow(task("a", effect=NONE)))
    batch = bench.decide()
    assert batch is not None
    assert bench.open_calls() == []
    bench.commit(batch)
    assert bench.open_calls() == ["r/a"]


def test_a_pure_read_of_a_run_that_was_queued_goes_first_too() -> None:
    bench = Bench(max_runs=1)
    bench.run(flow(task("a")), "r1")
    bench.run(flow(task("a", effect=NONE)), "r2")
    bench.reply("a", run="r1")
    assert bench.decide() is not None
    assert bench.open_calls() == ["r2/a"]


def test_a_pure_read_that_answers_before_its_intent_is_on_disk() -> None:
    bench = Bench()
    bench.run(flow(task("a"), task("b", "a", effect=NONE)))
    bench.reply("a")
    batch = bench.decide()
    assert batch is not None
    bench.reply("b", 5)
    bench.commit(batch)
    bench.turn()
    assert bench.status() == "completed"


def test_a_call_that_is_stopped_before_it_is_made_is_not_made() -> None:
    bench = Bench()
    bench.submit(flow(task("a"), task("b")))
    batch = bench.decide()
    assert batch is not None
    bench.cancel()
    bench.commit(batch)
    assert bench.open_calls() == []
    bench.turn()
    assert bench.status() == "cancelled"
    assert bench.driver.queue.used == 0


def test_cancelled() -> None:
    bench = Bench()
    bench.run(flow(task("a"), task("b", "a")))
    token = bench.cancel(reason="why not")
    assert bench.turn() == [act.CancelCall("r", "a", 1), act.AcknowledgeRequest(token, about="r")]
    again = bench.cancel()
    assert bench.turn() == [act.AcknowledgeRequest(again, about="r")]
    bench.stop("a")
    assert bench.status() == "cancelled"
    asked = [event for event in bench.events() if isinstance(event, ev.CancelRequested)]
    assert asked == [ev.CancelRequested(at=START, actor="me", reason="why not")]
    assert bench.states() == {"a": "cancelled", "b": "cancelled"}


def test_an_answer_overtakes_the_stop() -> None:
    bench = Bench()
    bench.run(flow(task("a")))
    bench.cancel()
    bench.answer("a", 1)
    assert (bench.status(), bench.states()) == ("cancelled", {"a": "succeeded"})
    bench.driver.record_cancellation(bench.now, "r", "a", 1)
    assert bench.turn() == []


def test_a_queued_run_is_cancelled_without_having_begun() -> None:
    bench = Bench(max_runs=1)
    bench.run(flow(task("a")), "r1")
    bench.run(flow(task("a")), "r2")
    bench.cancel("r2")
    assert act.RunEnded("r2", RunStatus.CANCELLED) in bench.turn()
    bench.run(flow(task("a")), "r3")
    bench.answer("a", run="r1")
    assert bench.open_calls() == ["r3/a"]


def test_a_blocked_run_is_cancelled() -> None:
    bench = Bench()
    bench.run(flow(task("a")))
    bench.crash(missing={"a": "bring it"})
    bench.turn()
    bench.cancel()
    assert act.RunEnded("r", RunStatus.CANCELLED) in bench.turn()
    assert bench.states() == {"a": "cancelled"}


def test_who_compensates_is_not_cancelled() -> None:
    bench = Bench()
    bench.run(flow(task("a", compensate=undo()), task("b", "a", retry=NO_RETRY)))
    bench.answer("a")
    bench.answer("b", fault=FAULT)
    token = bench.cancel()
    bench.turn()
    assert bench.open_calls() == ["r/a#undo"]
    bench.answer("a#undo")
    assert bench.status() == "compensated"
    assert act.AcknowledgeRequest(token, about="r") in bench.seen
    assert not any(isinstance(event, ev.CancelRequested) for event in bench.events())


def test_nobody_cancels_a_run_that_is_not_open() -> None:
    with pytest.raises(RunNotFound, match="no open run 'x'"):
        Bench().cancel("x")
    bench = Bench()
    bench.run(flow(task("a")))
    bench.reply("a")
    with pytest.raises(RunNotFound):
        bench.cancel()


def test_stop_while_compensating_is_none() -> None:
    bench = Bench()
    bench.run(flow(task("a", compensate=undo()), task("b", "a", retry=NO_RETRY), timeout=10.0))
    bench.answer("a")
    bench.answer("b", fault=FAULT)
    bench.wait(100)
    assert bench.open_calls() == ["r/a#undo"]
    assert not any(isinstance(event, ev.RunTimeoutReached) for event in bench.events())


def test_saga_through_the_driver() -> None:
    bench = Bench()
    bench.run(
        flow(
            task("a", compensate=undo(parameters={"x": "{{ tasks.a.result }}"})),
            task("b", "a", compensate=undo(retry=AT_ONCE)),
            task("c", "b", retry=NO_RETRY),
        )
    )
    bench.answer("a", 1)
    bench.answer("b", 2)
    bench.answer("c", fault=FAULT)
    assert bench.open_calls() == ["r/b#undo"]
    bench.answer("b#undo", fault=FAULT)
    assert bench.calls["r", "b#undo"].call.attempt == 2
    bench.crash()
    bench.turn()
    assert bench.calls["r", "b#undo"].call.attempt == 3
    assert len({one.call.key for one in bench.made if one.call.task == "b#undo"}) == 1
    bench.answer("b#undo")
    assert bench.calls["r", "a#undo"].call.parameters == {"x": 1}
    bench.answer("a#undo")
    assert bench.status() == "compensated"


# Answers.


def test_retried_under_the_same_key_with_the_same_parameters() -> None:
    bench = Bench()
    bench.run(flow(task("a", retry=AT_ONCE)))
    bench.answer("a", fault=FAULT)
    bench.answer("a", fault=FAULT)
    attempts = [one.call for one in bench.made]
    assert [call.attempt for call in attempts] == [1, 2, 3]
    assert len({call.key for call in attempts}) == 1
    bench.answer("a", fault=FAULT)
    assert bench.status() == "failed"


def test_backing_off_wakes_in_time() -> None:
    bench = Bench()
    bench.run(flow(task("a")))
    bench.answer("a", fault=FAULT, draw=0.5)
    assert bench.driver.next_wake() == START + SECOND // 2
    bench.wait(0.499999)
    assert bench.open_calls() == []
    bench.wait(0.000001)
    assert bench.open_calls() == ["r/a"]
    woke = [event for event in bench.events() if isinstance(event, ev.TaskWoke)]
    assert woke == [ev.TaskWoke(at=START + SECOND // 2, task="a")]


def test_the_draw_is_journaled() -> None:
    bench = Bench()
    bench.run(flow(task("a")))
    bench.answer("a", fault=FAULT, draw=0.25, usage=Usage(model="m"))
    failed = next(event for event in bench.events() if isinstance(event, ev.TaskFailed))
    assert (failed.draw, failed.fault, failed.usage) == (0.25, FAULT, Usage(model="m"))


def test_answers_nobody_waits_for_change_nothing() -> None:
    bench = Bench()
    bench.run(flow(task("a"), task("b", "a")))
    for run, name, attempt in [("x", "a", 1), ("r", "x", 1), ("r", "a", 2), ("r", "b", 0)]:
        bench.driver.record_reply(bench.now, run, name, attempt, Reply(result=1), 0.0)
        bench.driver.record_cancellation(bench.now, run, name, attempt)
    assert bench.turn() == []
    assert bench.states() == {"a": "running", "b": "waiting"}


def test_a_late_answer_does_not_count() -> None:
    bench = Bench()
    bench.run(flow(task("a", retry=AT_ONCE), task("b", "a")))
    bench.answer("a", fault=Fault(kind="timeout", message="too slow"))
    bench.answer("a", "late", attempt=1, usage=Usage(model="m", cost=1))
    assert bench.states() == {"a": "running", "b": "waiting"}
    late = [event for event in bench.events() if isinstance(event, ev.LateReply)]
    assert late == [
        ev.LateReply(at=START, task="a", attempt=1, succeeded=True, usage=Usage(model="m", cost=1))
    ]
    bench.answer("a", "in time")
    assert bench.calls["r", "b"].call.dependencies == {"a": "in time"}


def test_a_late_failure_is_told_as_one() -> None:
    bench = Bench()
    bench.run(flow(task("a", retry=AT_ONCE)))
    bench.answer("a", fault=FAULT)
    bench.answer("a", attempt=1, fault=FAULT, usage=Usage(model="m"))
    assert [e.succeeded for e in bench.events() if isinstance(e, ev.LateReply)] == [False]
