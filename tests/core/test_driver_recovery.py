"""The driver after trouble: what a new process takes over, and a store that refuses."""

from __future__ import annotations

import pytest

from agenthive.core.engine import actions as act
from agenthive.core.journal import run_events as ev
from agenthive.core.machine.guards.outcome import MAX_LOSSES
from agenthive.core.model.states import RunStatus
from agenthive.core.model.workflow import Effect
from agenthive.core.values import SECOND
from tests.core.rig import AT_ONCE, FAULT, FINAL, Bench, agent, flow, task

NONE = Effect.NONE


def kinds(actions: list[act.Action]) -> list[str]:
    return [type(action).__name__ for action in actions]


# Taking over.


def test_every_state_is_taken_over() -> None:
    bench = Bench()
    bench.run(
        flow(
            task("done"),
            task("calls", "done"),
            task("off"),
            task("gone", agent="x"),
            task("once", effect=Effect.ONCE),
            task("wait", "calls"),
            task("free", agent="slow"),
            task("later", agent="slow"),
            max_parallel=6,
            agents=[agent("slow", max_concurrency=1)],
        )
    )
    bench.answer("done", 1)
    bench.answer("off", fault=FAULT, draw=0.9)
    assert bench.states() == {
        "done": "succeeded",
        "calls": "running",
        "off": "backing_off",
        "gone": "running",
        "once": "running",
        "wait": "waiting",
        "free": "running",
        "later": "ready",
    }
    bench.crash(missing={"x": "bring x"}, after=SECOND // 10)
    bench.turn()
    assert bench.states() == {
        "done": "succeeded",
        "calls": "running",
        "off": "backing_off",
        "gone": "blocked",
        "once": "unknown_outcome",
        "wait": "waiting",
        "free": "running",
        "later": "ready",
    }
    blocked = next(event for event in bench.events() if isinstance(event, ev.TaskBlocked))
    assert (blocked.reason, blocked.detail) == ("agent", "bring x")
    assert bench.calls["r", "calls"].call.dependencies == {"done": 1}
    bench.crash(after=SECOND)
    bench.turn()
    assert bench.states()["gone"] == "running"
    assert bench.states()["off"] == "running", "its time had come"
    keys = {(one.call.task, one.call.key) for one in bench.made}
    assert len(keys) == len({one.call.task for one in bench.made})


def test_ready_tasks_of_a_missing_agent_are_blocked() -> None:
    bench = Bench()
    bench.run(flow(task("a"), task("b", agent="x"), task("c", "a", agent="x"), max_parallel=1))
    bench.crash(missing={"x": "bring x"})
    bench.turn()
    assert bench.states() == {"a": "running", "b": "blocked", "c": "waiting"}
    bench.answer("a")
    assert bench.states()["c"] == "blocked"
    bench.crash(missing={"x": "bring x"})
    bench.turn()
    assert bench.states()["b"] == "blocked"
    bench.crash()
    bench.turn()
    assert bench.open_calls() == ["r/b"]


def test_queued_runs_are_taken_over_in_order() -> None:
    bench = Bench(max_runs=1)
    for number in range(3):
        bench.now += 1
        bench.run(flow(task("a")), f"r{number}")
    bench.crash()
    bench.turn()
    assert bench.open_calls() == ["r0/a"]
    assert [bench.status(f"r{n}") for n in range(3)] == ["running", "queued", "queued"]
    bench.answer("a", run="r0")
    assert bench.open_calls() == ["r1/a"]
    assert not any(isinstance(event, ev.RunResumed) for event in bench.events("r1"))


def test_a_stopping_run_is_taken_over() -> None:
    bench = Bench()
    bench.run(flow(task("a"), task("b", effect=Effect.ONCE), task("c")))
    bench.answer("c", fault=FINAL)
    bench.crash()
    bench.turn()
    assert bench.states() == {"a": "cancelled", "b": "unknown_outcome", "c": "failed"}
    assert bench.status() == "failed"


def test_a_cancelled_run_is_taken_over() -> None:
    bench = Bench()
    bench.run(flow(task("a")))
    bench.cancel()
    bench.turn()
    bench.crash()
    assert act.RunEnded("r", RunStatus.CANCELLED) in bench.turn()


def test_the_hives_own_stream_goes_on() -> None:
    bench = Bench()
    bench.run(flow(task("a")))
    bench.crash()
    bench.turn()
    bench.answer("a")
    seqs = [record.seq for record in bench.disk.records(ev.HIVE)]
    assert seqs == [1, 2]
    assert [type(event).__name__ for event in bench.hive()] == ["RunOpened", "RunClosed"]


def test_attempts_go_on_after_a_restart() -> None:
    bench = Bench()
    bench.run(flow(task("a", retry=AT_ONCE)))
    for _ in range(3):
        bench.crash()
        bench.turn()
    assert [one.call.attempt for one in bench.made] == [1, 2, 3, 4]
    lost = [event.attempt for event in bench.events() if isinstance(event, ev.TaskLost)]
    assert lost == [1, 2, 3]


def test_what_moves_while_a_run_is_taken_over_is_left_alone() -> None:
    bench = Bench()
    bench.run(flow(task("a"), task("b", agent="x")))
    for _ in range(MAX_LOSSES):
        bench.crash(missing={"x": "bring x"})
        bench.turn()
    assert bench.states() == {"a": "running", "b": "blocked"}
    bench.crash()
    assert act.RunEnded("r", RunStatus.FAILED) in bench.turn()
    assert bench.states() == {"a": "failed", "b": "skipped"}


def test_once_is_not_called_again_after_a_restart() -> None:
    bench = Bench()
    bench.run(flow(task("a", effect=Effect.ONCE), task("b", "a")))
    bench.crash()
    bench.turn()
    bench.wait(10_000)
    assert [one.call.task for one in bench.made] == ["a"]
    assert bench.status() == "waiting"
    bench.cancel()
    assert act.RunEnded("r", RunStatus.CANCELLED) in bench.turn()


# A store that refuses.


def test_what_nobody_was_promised_is_dropped() -> None:
    bench = Bench()
    bench.run(flow(task("a"), task("b", "a")), "old")
    bench.reply("a", 1, run="old")
    one, two = bench.submit(flow(task("a")), "one"), bench.submit(flow(task("a")), "two")
    batch = bench.decide()
    assert batch is not None
    assert bench.driver.withdraw_runs(batch) == [one, two]
    assert bench.driver.withdraw_runs(batch) == []
    assert [record.stream for record in batch.records] == ["old"]
    assert all(row.run == "old" for row in batch.runs)
    actions = bench.commit(batch)
    assert kinds(actions) == ["PerformCall"]
    assert bench.open_calls() == ["old/b"]
    assert set(bench.driver.runs) == {"old"}
    assert bench.driver.queue.used == 1
    bench.submit(flow(task("a")), "one")
    bench.turn()
    assert sorted(bench.open_calls()) == ["old/b", "one/a"]
    assert [e.run for e in bench.hive() if isinstance(e, ev.RunOpened)] == ["old", "one"]


def test_what_came_in_during_a_refused_write_is_dropped_as_well() -> None:
    bench = Bench()
    bench.run(flow(task("a"), task("b", "a")), "old")
    bench.reply("a", 1, run="old")
    batch = bench.decide()
    assert batch is not None
    token = bench.submit(flow(task("a")), "new")
    bench.cancel("old")
    assert bench.driver.withdraw_runs(batch) == [token]
    assert bench.driver.withdraw_runs(batch) == []
    assert set(bench.driver.runs) == {"old"}
    bench.commit(batch)
    bench.turn()
    assert bench.state("old").status is RunStatus.CANCELLED
    assert [e.run for e in bench.hive() if isinstance(e, ev.RunOpened)] == ["old"]
    assert bench.disk.records("new") == []
    bench.run(flow(task("a")), "new")
    assert bench.open_calls() == ["new/a"]


def test_a_batch_may_be_refused_again_with_more_to_drop() -> None:
    bench = Bench()
    bench.run(flow(task("a")), "old")
    first = bench.submit(flow(task("a")), "one")
    batch = bench.decide()
    assert batch is not None
    assert bench.driver.withdraw_runs(batch) == [first]
    second = bench.submit(flow(task("a")), "two")
    assert bench.driver.withdraw_runs(batch) == [second]
    bench.commit(batch)
    bench.run(flow(task("a")), "three")
    assert [e.run for e in bench.hive() if isinstance(e, ev.RunOpened)] == ["old", "three"]


def test_a_refused_batch_keeps_the_hives_other_facts() -> None:
    bench = Bench()
    bench.run(flow(task("a")), "old")
    bench.reply("a", run="old")
    bench.submit(flow(task("a")), "new")
    batch = bench.decide()
    assert batch is not None
    bench.driver.withdraw_runs(batch)
    bench.commit(batch)
    assert [type(event).__name__ for event in bench.hive()] == ["RunOpened", "RunClosed"]
    bench.run(flow(task("a")), "newer")
    assert bench.disk.records(ev.HIVE)[-1].seq == 3


@pytest.mark.parametrize("most", [1, 2])
def test_a_withdrawn_run_gives_its_run_slot_back(most: int) -> None:
    bench = Bench(max_runs=most)
    for number in range(3):
        bench.submit(flow(task("a")), f"r{number}")
    batch = bench.decide()
    assert batch is not None
    bench.driver.withdraw_runs(batch)
    bench.commit(batch)
    assert bench.turn() == []
    bench.run(flow(task("a")), "new")
    assert bench.open_calls() == ["new/a"]


def test_a_run_that_was_cancelled_before_it_was_accepted_is_dropped_too() -> None:
    bench = Bench()
    bench.submit(flow(task("a")))
    bench.cancel()
    batch = bench.decide()
    assert batch is not None
    assert bench.driver.withdraw_runs(batch) == [1, 2], "the cancel is lost with its run"
    assert batch.records == []
    bench.commit(batch)
    assert bench.seen == []
    assert bench.turn() == []  # one more look, for whoever waits for its slots
    assert not bench.driver.has_work


def test_nothing_to_withdraw() -> None:
    bench = Bench()
    bench.run(flow(task("a"), task("b", "a")))
    bench.reply("a")
    batch = bench.decide()
    assert batch is not None
    records = list(batch.records)
    assert bench.driver.withdraw_runs(batch) == []
    assert batch.records == records
    bench.commit(batch)
    assert bench.open_calls() == ["r/b"]


def test_what_an_action_is_about() -> None:
    bench = Bench()
    bench.run(flow(task("a")))
    assert act.run_of(bench.made[0]) == "r"
    assert act.run_of(act.RunParked("x")) == "x"
