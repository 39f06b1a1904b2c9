"""What the driver once got wrong. Each of these failed before it was mended."""

from __future__ import annotations

from agenthive.core.engine import actions as act
from agenthive.core.journal import run_events as ev
from agenthive.core.model.calls import Usage
from agenthive.core.model.workflow import Effect, FailureStrategy
from agenthive.core.policies.circuit_breaker import BreakerPolicy
from agenthive.core.values import SECOND
from tests.core.rig import AT_ONCE, FAULT, FINAL, NO_RETRY, Bench, agent, flow, task, undo

BROKEN = {"x": "{{ tasks.a.result.nothing }}"}


def test_a_fault_inside_a_step_does_not_free_a_run_slot_twice() -> None:
    bench = Bench(max_runs=1)
    for run in ("r1", "r2", "r3"):
        bench.submit(flow(task("a", retry=NO_RETRY), task("b", "a", parameters=BROKEN)), run)
    bench.turn()
    bench.answer("a", {}, run="r1")
    assert bench.status("r1") == "failed"
    assert bench.open_calls() == ["r2/a"]


def test_a_missing_agent_does_not_free_a_run_slot_twice() -> None:
    bench = Bench(max_runs=1)
    bench.run(flow(task("a")), "r1")
    bench.crash(missing={"a": "nobody has it"})
    bench.submit(flow(task("a", agent="b")), "r2")
    bench.submit(flow(task("a", agent="b")), "r3")
    parked = [one for one in bench.turn() if isinstance(one, act.RunParked)]
    assert bench.open_calls() == ["r2/a"]
    assert parked == [act.RunParked("r1")]


def test_a_broken_expression_does_not_move_the_clock() -> None:
    bench = Bench()
    bench.run(flow(task("a"), task("b", "a", parameters=BROKEN, continue_on_failure=True)))
    bench.now -= 5 * SECOND
    bench.answer("a", {})
    bench.run(flow(task("a")), "r2")
    back = [event for event in bench.hive() if isinstance(event, ev.ClockSteppedBack)]
    assert [event.by for event in back] == [5 * SECOND]
    assert bench.events("r2")[1].time == bench.now


def test_a_refused_batch_takes_in_nothing_of_the_next_one() -> None:
    bench = Bench()
    bench.run(flow(task("a")), "old")
    bench.submit(flow(task("a")), "new")
    batch = bench.decide()
    assert batch is not None
    bench.reply("a", run="old")
    assert bench.driver.withdraw_runs(batch)
    bench.commit(batch)
    assert not any(isinstance(event, ev.RunClosed) for event in bench.hive())
    bench.turn()
    assert [e.run for e in bench.hive() if isinstance(e, ev.RunClosed)] == ["old"]


def test_a_withdrawn_run_leaves_its_slot_to_who_waits() -> None:
    bench = Bench(max_calls=1)
    bench.submit(flow(task("a")), "open")
    batch = bench.decide()
    assert batch is not None
    bench.commit(batch)
    bench.crash()
    bench.submit(flow(task("a", priority=10)), "new")
    batch = bench.decide()
    assert batch is not None
    assert bench.driver.withdraw_runs(batch)
    bench.commit(batch)
    assert bench.driver.has_work
    bench.turn()
    assert bench.open_calls() == ["open/a"]


def test_a_withdrawn_run_gives_its_probe_back() -> None:
    policy = BreakerPolicy(failure_threshold=1, recovery_timeout=9)
    spec = flow(task("a", retry=NO_RETRY), agents=[agent(circuit_breaker=policy)])
    bench = Bench()
    bench.run(spec, "one")
    bench.answer("a", run="one", fault=FAULT)
    bench.wait(10)
    bench.submit(spec, "two")
    batch = bench.decide()
    assert batch is not None
    assert bench.driver.withdraw_runs(batch)
    bench.commit(batch)
    bench.run(spec, "three")
    assert bench.open_calls() == ["three/a"]


def test_a_run_taken_over_that_only_waits_says_so() -> None:
    bench = Bench()
    bench.run(flow(task("a", effect=Effect.ONCE)))
    bench.crash()
    assert act.RunParked("r") in bench.turn()
    bench.crash()
    assert act.RunParked("r") in bench.turn()


def test_a_compensation_nobody_knows_the_end_of_does_not_stay_open() -> None:
    bench = Bench()
    bench.run(
        flow(
            task("a", compensate=undo(effect=Effect.ONCE, retry=NO_RETRY)),
            task("b", "a", retry=NO_RETRY),
            failure_strategy=FailureStrategy.CONTINUE,
        )
    )
    bench.answer("a")
    bench.answer("b", fault=FINAL)
    bench.answer("a#undo", fault=FAULT)
    assert bench.status() == "compensation_failed"
    assert bench.state().open == 0


def test_waiting_for_somebody_does_not_count_towards_the_time_out() -> None:
    bench = Bench()
    bench.run(flow(task("a"), task("b", agent="b"), timeout=60.0))
    bench.crash(missing={"a": "nobody has it"})
    bench.turn()
    bench.wait(30)
    bench.answer("b")
    assert bench.status() == "waiting"
    bench.wait(3600)
    assert bench.status() == "waiting"
    bench.crash(after=10 * SECOND)
    bench.turn()
    assert bench.open_calls() == ["r/a"]
    bench.wait(29)
    assert bench.status() == "running"
    bench.wait(2)
    assert any(isinstance(event, ev.RunTimeoutReached) for event in bench.events())


def test_backing_off_counts_towards_the_time_out() -> None:
    bench = Bench()
    bench.run(flow(task("a"), timeout=60.0))
    bench.answer("a", fault=FAULT, draw=0.999)
    assert bench.status() == "waiting"
    bench.now += 61 * SECOND
    bench.turn()
    assert any(isinstance(event, ev.RunTimeoutReached) for event in bench.events())


USED = Usage(model="m", input_tokens=7, cost=5)


def late(bench: Bench) -> list[ev.LateReply]:
    return [event for event in bench.events() if isinstance(event, ev.LateReply)]


def test_a_duplicate_answer_is_not_paid_twice() -> None:
    bench = Bench()
    bench.run(flow(task("a"), task("b")))
    bench.answer("a", usage=USED)
    bench.answer("a", usage=USED, attempt=1)
    assert late(bench) == []


def test_a_late_answer_is_paid_once() -> None:
    bench = Bench()
    bench.run(flow(task("a", retry=AT_ONCE), task("b")))
    bench.crash()
    bench.turn()
    for _ in range(3):
        bench.answer("a", usage=USED, attempt=1)
    assert [(event.attempt, event.usage) for event in late(bench)] == [(1, USED)]
    bench.answer("a", usage=USED, attempt=9)
    bench.answer("nobody", usage=USED, attempt=1)
    assert len(late(bench)) == 1


def test_an_answer_after_the_end_of_its_run_is_still_paid() -> None:
    bench = Bench()
    bench.run(flow(task("a", retry=AT_ONCE)))
    bench.crash()
    bench.turn()
    bench.answer("a")
    closed = len(bench.events())
    for _ in range(2):
        bench.answer("a", usage=USED, attempt=1)
        bench.answer("a", usage=USED, attempt=2)
    assert len(bench.events()) == closed
    assert [
        (e.run, e.task, e.attempt, e.usage) for e in bench.hive() if isinstance(e, ev.UsageAfterEnd)
    ] == [("r", "a", 1, USED)]


def test_a_run_is_at_hand_until_its_end_is_on_disk() -> None:
    bench = Bench()
    bench.run(flow(task("a")))
    bench.reply("a")
    batch = bench.decide()
    assert batch is not None
    assert "r" in bench.driver.runs
    bench.commit(batch)
    assert "r" not in bench.driver.runs


def test_a_compensation_that_waits_for_somebody_takes_no_run_slot_and_says_so() -> None:
    bench = Bench(max_runs=1)
    bench.run(flow(task("a", compensate=undo(agent="b")), task("c", "a", retry=NO_RETRY)))
    bench.run(flow(task("a")), "next")
    bench.answer("a")
    bench.answer("c", fault=FAULT)
    assert bench.open_calls() == ["r/a#undo"]
    bench.crash(missing={"b": "bring b"})
    assert act.RunParked("r") in bench.turn()
    assert bench.status() == "compensating"
    assert bench.open_calls() == ["next/a"]
    bench.crash(missing={"b": "bring b"})
    assert act.RunParked("r") in bench.turn()
    assert bench.state().parked is not None
    bench.crash()
    bench.turn()
    assert sorted(bench.open_calls()) == ["next/a", "r/a#undo"]
    assert bench.state().parked is None
    bench.answer("a#undo")
    assert bench.status() == "compensated"
