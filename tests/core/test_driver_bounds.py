"""The driver's bounds: slots, run slots, order, breakers, time-outs and clocks."""

from __future__ import annotations

from agenthive.core.engine import actions as act
from agenthive.core.engine.admission import MAX_STARTS_PER_TURN
from agenthive.core.journal import run_events as ev
from agenthive.core.model.control_flow import ApprovalSpec, EachSpec
from agenthive.core.model.workflow import Effect, FailureStrategy
from agenthive.core.policies.circuit_breaker import BreakerPolicy
from agenthive.core.values import SECOND
from tests.core.rig import FAULT, FINAL, NO_RETRY, START, Bench, agent, flow, task, undo

NONE = Effect.NONE


def kinds(actions: list[act.Action]) -> list[str]:
    return [type(action).__name__ for action in actions]


# Bounds.


def test_slots_of_run_hive_and_agent() -> None:
    tasks = [task(f"t{n}") for n in range(5)]
    for limits, most, per_agent in (({}, 2, None), ({"max_calls": 2}, 9, None), ({}, 9, 2)):
        bench = Bench(**limits)
        bench.run(flow(*tasks, max_parallel=most, agents=[agent(max_concurrency=per_agent)]))
        assert bench.open_calls() == ["r/t0", "r/t1"]
        bench.answer("t0")
        assert bench.open_calls() == ["r/t1", "r/t2"]


def test_runs_wait_for_a_run_slot_in_order() -> None:
    bench = Bench(max_runs=2)
    for number in range(4):
        bench.submit(flow(task("a")), f"r{number}")
    bench.turn()
    assert bench.open_calls() == ["r0/a", "r1/a"]
    assert bench.status("r2") == "queued"
    bench.answer("a", run="r1")
    assert bench.open_calls() == ["r0/a", "r2/a"]


def test_a_waiting_run_takes_no_run_slot() -> None:
    bench = Bench(max_runs=1)
    bench.run(flow(task("a")), "r1")
    bench.run(flow(task("a")), "r2")
    bench.answer("a", run="r1", fault=FAULT, draw=0.9)
    assert bench.status("r1") == "waiting"
    assert bench.open_calls() == ["r2/a"]
    bench.wait(1)
    assert sorted(bench.open_calls()) == ["r1/a", "r2/a"]
    bench.run(flow(task("a")), "r3")
    bench.answer("a", run="r1")
    assert bench.status("r3") == "queued"
    bench.answer("a", run="r2")
    assert bench.open_calls() == ["r3/a"]


def test_compensating_takes_a_run_slot() -> None:
    bench = Bench(max_runs=1)
    bench.run(flow(task("a", compensate=undo()), task("b", "a", retry=NO_RETRY)), "r1")
    bench.run(flow(task("a")), "r2")
    bench.answer("a", run="r1")
    bench.answer("b", run="r1", fault=FAULT)
    assert bench.open_calls() == ["r1/a#undo"]


def test_one_transaction_holds_so_many_intents() -> None:
    bench = Bench()
    count = MAX_STARTS_PER_TURN + 5
    bench.submit(flow(*(task(f"t{n}") for n in range(count)), max_parallel=count))
    batch = bench.decide()
    assert batch is not None
    started = sum(
        isinstance(e, ev.TaskStarted) for e in ev.decode_run_events(batch.records[0].payload)
    )
    assert started == MAX_STARTS_PER_TURN
    assert bench.driver.has_work
    bench.commit(batch)
    bench.turn()
    assert len(bench.calls) == count
    assert not bench.driver.has_work


def test_draining_starts_nothing_new() -> None:
    bench = Bench()
    bench.run(flow(task("a"), task("b", "a"), timeout=50.0))
    bench.driver.draining = True
    bench.run(flow(task("a")), "late")
    bench.answer("a")
    assert bench.open_calls() == []
    assert bench.states() == {"a": "succeeded", "b": "ready"}
    assert bench.status("late") == "queued"
    bench.wait(60)
    assert bench.status() == "failed"


def test_what_was_skipped_in_the_queue_takes_no_slot() -> None:
    bench = Bench()
    bench.run(flow(task("a"), task("b"), task("c"), max_parallel=2))
    bench.answer("a", fault=FINAL)
    assert bench.states() == {"a": "failed", "b": "running", "c": "skipped"}
    assert bench.driver.queue.used == 1
    bench.answer("b")
    assert bench.status() == "failed"
    assert bench.driver.queue.used == 0


def test_priority_and_rank() -> None:
    bench = Bench()
    bench.run(
        flow(
            task("short"),
            task("long"),
            task("end", "long"),
            task("first", priority=9),
            max_parallel=1,
        )
    )
    order = []
    while bench.calls:
        [(_, name)] = bench.calls
        order.append(name)
        bench.answer(name)
    assert order == ["first", "long", "short", "end"]


def test_what_took_long_goes_first_next_time() -> None:
    """Learnt ranks: once a slow and a fast kind have been seen, chains of slow ones go first."""
    bench = Bench()
    bench.run(
        flow(
            task("s0", agent="slow"),
            task("f0", agent="fast"),
            task("f1", "gate", agent="fast"),
            task("f2", "f1", agent="fast"),
            task("s1", "gate", agent="slow"),
            task("gate", "s0", "f0", agent="gate"),
            max_parallel=2,
        )
    )
    bench.now += SECOND // 10
    bench.answer("f0")
    bench.now += 100 * SECOND
    bench.answer("s0")
    bench.answer("gate")
    assert [one.call.task for one in bench.made][-2:] == ["s1", "f1"]


def test_what_waits_is_ordered_anew_by_what_is_learnt() -> None:
    bench = Bench()
    bench.run(
        flow(
            task("x", agent="slow"),
            task("f1", agent="fast"),
            task("f2", agent="fast"),
            task("s", agent="slow"),
            max_parallel=1,
        )
    )
    for name, seconds in (("x", 100), ("f1", 1), ("s", 100)):
        assert bench.open_calls() == [f"r/{name}"]
        bench.now += seconds * SECOND
        bench.answer(name)


# Breakers.


def test_a_breaker_holds_calls_back_and_probes() -> None:
    policy = BreakerPolicy(failure_threshold=1, recovery_timeout=9)
    spec = flow(
        task("a", retry=NO_RETRY),
        task("b"),
        task("c", agent="c"),
        agents=[agent(circuit_breaker=policy)],
        max_parallel=1,
        failure_strategy=FailureStrategy.CONTINUE,
    )
    bench = Bench()
    bench.run(spec)
    bench.answer("a", fault=FAULT)
    assert bench.open_calls() == ["r/c"]
    opened = ev.BreakerOpened(
        at=START, endpoint="custom custom://a", until=START + 9 * SECOND, failures=1
    )
    assert opened in bench.hive()
    bench.answer("c")
    assert bench.driver.next_wake() == START + 9 * SECOND
    bench.crash()
    bench.turn()
    assert bench.open_calls() == []
    bench.wait(8)
    assert bench.open_calls() == ["r/b"]
    bench.answer("b")
    assert any(isinstance(event, ev.BreakerClosed) for event in bench.hive())


def test_one_probe_at_a_time() -> None:
    policy = BreakerPolicy(failure_threshold=1, recovery_timeout=9)
    bench = Bench()
    bench.run(
        flow(
            *(task(name, retry=NO_RETRY) for name in "abcd"),
            agents=[agent(circuit_breaker=policy)],
            max_parallel=2,
            failure_strategy=FailureStrategy.CONTINUE,
        )
    )
    bench.answer("a", fault=FAULT)
    bench.answer("b", fault=FAULT)
    assert bench.open_calls() == []
    bench.wait(9)
    assert bench.open_calls() == ["r/c"]
    bench.answer("c")
    assert bench.open_calls() == ["r/d"]


# Time.


def test_timed_out() -> None:
    bench = Bench()
    bench.run(flow(task("a"), task("b", "a"), timeout=60.0))
    assert bench.driver.next_wake() == START + 60 * SECOND
    bench.wait(59.999999)
    assert bench.status() == "running"
    assert act.CancelCall("r", "a", 1) in bench.wait(0.000001)
    bench.stop("a")
    assert bench.status() == "failed"
    assert bench.states() == {"a": "cancelled", "b": "skipped"}
    assert [e.at for e in bench.events() if isinstance(e, ev.RunTimeoutReached)] == [
        START + 60 * SECOND
    ]


def test_a_run_that_stops_does_not_time_out() -> None:
    bench = Bench()
    bench.run(flow(task("a"), task("b"), timeout=60.0))
    bench.answer("a", fault=FINAL)
    bench.wait(100)
    assert not any(isinstance(event, ev.RunTimeoutReached) for event in bench.events())


def test_time_without_a_process_does_not_count() -> None:
    bench = Bench()
    bench.run(flow(task("a"), timeout=60.0))
    bench.wait(30)
    bench.crash(after=1000 * SECOND)
    bench.turn()
    resumed = next(event for event in bench.events() if isinstance(event, ev.RunResumed))
    assert resumed.away == 1030 * SECOND, "since its last fact"
    bench.wait(59)
    assert bench.status() == "running"
    bench.wait(1)
    assert any(isinstance(event, ev.RunTimeoutReached) for event in bench.events())


def test_old_timers_do_nothing() -> None:
    bench = Bench()
    bench.run(flow(task("a"), task("b", agent="b"), timeout=60.0), "r")
    bench.answer("a", fault=FAULT, draw=0.9)
    bench.cancel()
    bench.turn()
    bench.wait(1)
    assert bench.states() == {"a": "cancelled", "b": "running"}
    bench.stop("b")
    assert bench.status() == "cancelled"
    events = len(bench.events())
    bench.wait(100)
    assert len(bench.events()) == events
    assert bench.driver.next_wake() is None


def test_the_clock_steps_back() -> None:
    bench = Bench()
    bench.run(flow(task("a"), timeout=60.0))
    bench.now -= 7 * SECOND
    bench.answer("a")
    stepped = [event for event in bench.hive() if isinstance(event, ev.ClockSteppedBack)]
    assert stepped == [ev.ClockSteppedBack(at=START, wall=bench.now, by=7 * SECOND)]
    times = [event.at for event in bench.events()]
    assert times == sorted(times)
    bench.run(flow(task("a"), timeout=60.0), "r2")
    assert bench.driver.next_wake() == bench.now + 60 * SECOND, "in the clock's own time"
    bench.wait(59)
    assert bench.status("r2") == "running"
    bench.wait(1)
    assert act.CancelCall("r2", "a", 1) in bench.seen


def test_the_clock_has_stepped_back_over_a_restart() -> None:
    bench = Bench()
    bench.run(flow(task("a")))
    bench.now += 50 * SECOND
    bench.run(flow(task("a")), "r2")
    bench.crash(after=-60 * SECOND)
    bench.turn()
    stepped = [event for event in bench.hive() if isinstance(event, ev.ClockSteppedBack)]
    assert [event.by for event in stepped] == [60 * SECOND]
    for run in ("r", "r2"):
        times = [event.at for event in bench.events(run)]
        assert times == sorted(times)


def test_what_is_offered_at_the_end_of_a_turn_is_started_in_the_next() -> None:
    bench = Bench()
    bench.submit(flow(task("a", for_each=EachSpec(items=[1, 2]))))
    batch = bench.decide()
    assert batch is not None
    bench.commit(batch)
    assert bench.made == []
    assert bench.driver.has_work
    bench.turn()
    assert bench.open_calls() == ["r/a[0]", "r/a[1]"]


def test_a_run_that_parks_at_the_end_of_a_turn_lets_the_next_one_start() -> None:
    bench = Bench(max_runs=1)
    bench.submit(flow(task("a", approval=ApprovalSpec(message="May it?"))), "r1")
    bench.submit(flow(task("a")), "r2")
    batch = bench.decide()
    assert batch is not None
    bench.commit(batch)
    assert bench.driver.has_work
    bench.turn()
    assert bench.open_calls() == ["r2/a"]
