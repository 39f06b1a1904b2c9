"""The machine: what one fact does to a run, and what it wants done."""

from __future__ import annotations

from typing import Any

import pytest

from agenthive.core.journal import run_events as ev
from agenthive.core.machine import commands as cmd
from agenthive.core.model.calls import Fault, Usage
from agenthive.core.model.states import RunStatus, TaskState
from agenthive.core.model.workflow import Effect, FailureStrategy
from agenthive.core.policies.retry import RetryPolicy, RetryStrategy
from agenthive.core.values import SECOND
from agenthive.errors import InvalidTransition
from tests.core.rig import FAULT, FINAL, START, Machine, flow, task, undo

STOP, CONTINUE, PARTIAL = FailureStrategy.STOP, FailureStrategy.CONTINUE, FailureStrategy.PARTIAL


def test_submitted() -> None:
    run = Machine(flow(task("a")), start=False)
    state = run.state
    assert (state.run, state.name, state.created) == ("r", "w", START)
    assert (state.status, state.seq, state.last_at) == (RunStatus.QUEUED, 1, START)
    assert (state.tenant, state.owner, state.inputs) == ("default", "local", {})
    assert run.commands == []


def test_submission_keeps_who_and_with_what() -> None:
    from agenthive.core.graph.graph import Graph
    from agenthive.core.machine.machine import step
    from agenthive.core.machine.run_state import RunState

    state = RunState(Graph(flow(task("a"))))
    fact = ev.RunSubmitted(
        at=1, run="r", name="n", definition="d", inputs={"x": 1}, tenant="t", owner="o"
    )
    assert step(state, fact) == []
    assert (state.inputs, state.tenant, state.owner) == ({"x": 1}, "t", "o")


def test_started_offers_what_depends_on_nothing_in_order() -> None:
    run = Machine(flow(task("a"), task("b", "a"), task("c")), start=False)
    run.now += 5
    assert run.feed(ev.RunStarted) == [
        cmd.SetDeadline(2, START + 5 + 300 * SECOND),
        cmd.OfferTask(2, 0),
        cmd.OfferTask(2, 2),
    ]
    assert run.state.started == START + 5
    assert run.state.since == [START + 5, 0, START + 5]


def test_no_time_out_no_deadline() -> None:
    run = Machine(flow(task("a"), timeout=None), start=False)
    assert run.feed(ev.RunStarted) == [cmd.OfferTask(2, 0)]
    assert run.state.deadline is None


def test_a_call() -> None:
    run = Machine(flow(task("a"), task("b", "a")))
    assert run.feed(ev.TaskStarted, task="a", attempt=1, agent="a", key="k") == [
        cmd.CallAgent(3, 0, 1)
    ]
    assert run.state.calls_in_flight == 1
    assert run.feed(ev.TaskSucceeded, task="a", attempt=1, result=5) == [cmd.OfferTask(4, 1)]
    assert run.state.results == {0: 5}
    run.succeed("b")
    assert run.state.results == {}
    assert run.commands[-1] == cmd.CloseRun(6, RunStatus.COMPLETED)
    assert run.state.finished == START


def test_results_are_kept_for_as_long_as_somebody_reads_them() -> None:
    reader = {"x": "{{ tasks.a.result }}"}
    run = Machine(flow(task("a"), task("b", "a"), task("c", "b", parameters=reader), task("d")))
    run.succeed("a", result="A")
    run.succeed("b", result="B")
    run.succeed("d", result="nobody reads this")
    assert run.state.results == {0: "A", 1: "B"}
    run.start("c")
    assert run.state.results == {0: "A", 1: "B"}
    run.succeed("c")
    assert run.state.results == {}


def test_results_of_what_failed_or_was_skipped_are_let_go() -> None:
    run = Machine(flow(task("a"), task("b", "a"), task("c", "a", "b"), failure_strategy=CONTINUE))
    run.succeed("a", result=1)
    run.fail("b")
    assert run.states == {"a": "succeeded", "b": "failed", "c": "skipped"}
    assert run.state.results == {}


def test_a_diamond_waits_for_all() -> None:
    run = Machine(flow(task("a"), task("b", "a"), task("c", "a"), task("d", "b", "c")))
    run.succeed("a", "b")
    assert run.of("d") == "waiting"
    assert run.feed(ev.TaskStarted, task="c", attempt=1, agent="a", key="k")
    run.succeed("c")
    assert run.of("d") == "ready"


@pytest.mark.parametrize(
    ("retry", "draw", "after", "wait"),
    [
        (RetryPolicy(strategy=RetryStrategy.CONSTANT_DELAY, initial_delay=4), 0.5, None, 2.0),
        (RetryPolicy(strategy=RetryStrategy.IMMEDIATE), 0.5, None, 0.0),
        (RetryPolicy(strategy=RetryStrategy.IMMEDIATE), 0.5, 9.0, 9.0),
    ],
)
def test_backing_off(retry: RetryPolicy, draw: float, after: float | None, wait: float) -> None:
    run = Machine(flow(task("a", retry=retry)))
    run.now += 7
    fault = Fault(kind="connection", message="gone", retry_after=after)
    commands = run.fail("a", fault, draw)
    at = START + 7 + round(wait * SECOND)
    assert commands == [cmd.WakeTask(4, 0, at)]
    assert (run.state.wake_at, run.state.faults) == ({0: at}, {0: fault})
    assert run.state.status is RunStatus.WAITING
    assert run.state.parked is None
    assert run.feed(ev.TaskWoke, task="a") == [cmd.OfferTask(5, 0)]
    assert run.state.status is RunStatus.RUNNING
    run.succeed("a")
    assert (run.state.faults, run.state.wake_at) == ({}, {})
    assert run.state.status is RunStatus.COMPLETED


def test_the_delay_grows_with_the_attempt() -> None:
    retry = RetryPolicy(initial_delay=1, jitter=False)
    run = Machine(flow(task("a", retry=retry)))
    for seconds in (1, 2):
        run.fail("a", FAULT)
        assert run.state.wake_at[0] == START + seconds * SECOND
        run.feed(ev.TaskWoke, task="a")


def test_blocked_and_supplied() -> None:
    run = Machine(flow(task("a"), task("b")))
    assert run.feed(ev.TaskBlocked, task="a", reason="agent", detail="nobody") == []
    assert run.state.blocked == {0: ("agent", "nobody")}
    assert run.state.status is RunStatus.RUNNING
    assert run.feed(ev.TaskUnblocked, task="a") == [cmd.OfferTask(4, 0)]
    assert run.state.blocked == {}


def test_a_blocked_task_that_is_cancelled_is_forgotten() -> None:
    run = Machine(flow(task("a")))
    run.feed(ev.TaskBlocked, task="a", reason="agent", detail="nobody")
    run.feed(ev.CancelRequested)
    assert run.state.blocked == {}
    assert run.state.status is RunStatus.CANCELLED


# Failures and what they mean for the run.


@pytest.mark.parametrize(
    ("strategy", "status", "third"),
    [
        (STOP, RunStatus.FAILED, "skipped"),
        (CONTINUE, RunStatus.FAILED, "succeeded"),
        (PARTIAL, RunStatus.PARTIALLY_COMPLETED, "succeeded"),
    ],
)
def test_strategies(strategy: FailureStrategy, status: RunStatus, third: str) -> None:
    run = Machine(
        flow(task("a"), task("b", "a"), task("c"), task("d", "c"), failure_strategy=strategy)
    )
    run.succeed("c")
    run.fail("a")
    if third == "succeeded":
        assert run.of("d") == "ready"
        run.succeed("d")
    assert run.states == {"a": "failed", "b": "skipped", "c": "succeeded", "d": third}
    assert run.state.status is status


def test_partial_needs_a_success() -> None:
    run = Machine(flow(task("a"), task("b", "a"), failure_strategy=PARTIAL))
    run.fail("a")
    assert run.state.status is RunStatus.FAILED


def test_partial_with_nothing_wrong_is_complete() -> None:
    run = Machine(flow(task("a"), failure_strategy=PARTIAL))
    run.succeed("a")
    assert run.state.status is RunStatus.COMPLETED


@pytest.mark.parametrize("strategy", FailureStrategy)
def test_a_tolerated_failure_is_no_failure(strategy: FailureStrategy) -> None:
    run = Machine(
        flow(task("a", continue_on_failure=True), task("b", "a"), failure_strategy=strategy)
    )
    run.fail("a")
    assert run.of("b") == "ready"
    run.succeed("b")
    assert run.state.status is RunStatus.COMPLETED
    assert run.state.faults == {0: FINAL}


def test_what_depends_on_what_was_skipped_is_skipped_too_even_if_that_is_tolerated() -> None:
    run = Machine(
        flow(
            task("a"),
            task("b", "a", continue_on_failure=True),
            task("c", "b"),
            failure_strategy=CONTINUE,
        )
    )
    run.fail("a")
    assert run.states == {"a": "failed", "b": "skipped", "c": "skipped"}


def test_stop_lets_calls_end_but_for_pure_reads() -> None:
    run = Machine(
        flow(
            task("a"),
            task("read", effect=Effect.NONE),
            task("act"),
            task("z"),
            task("t", "z"),
            task("off"),
        )
    )
    run.start("read", "act")
    run.fail("off", FAULT)
    run.feed(ev.TaskBlocked, task="z", reason="agent", detail="-")
    assert run.fail("a") == [cmd.StopCall(run.state.seq, 1, 1)]
    assert run.states == {
        "a": "failed",
        "read": "running",
        "act": "running",
        "z": "skipped",
        "t": "skipped",
        "off": "failed",
    }
    run.feed(ev.TaskCancelled, task="read", attempt=1)
    assert run.state.status is RunStatus.RUNNING
    run.succeed("act")
    assert run.state.status is RunStatus.FAILED


def test_what_becomes_ready_while_stopping_is_skipped() -> None:
    run = Machine(flow(task("a"), task("b"), task("c", "b")))
    run.start("b")
    run.fail("a")
    assert run.of("c") == "skipped"
    run.feed(ev.TaskLost, task="b", attempt=1)
    assert run.of("b") == "cancelled"
    assert run.state.status is RunStatus.FAILED


def test_a_second_failure_stops_nothing_more() -> None:
    run = Machine(flow(task("a"), task("b"), task("c", effect=Effect.NONE)))
    run.start("b", "c")
    run.fail("a")
    assert run.feed(ev.TaskFailed, task="b", attempt=1, fault=FINAL) == []
    assert run.state.hard_failures == 2


@pytest.mark.parametrize("kind", [ev.CancelRequested, ev.RunTimeoutReached])
def test_cancelled_and_timed_out_stop_every_call(kind: type[ev.Event]) -> None:
    run = Machine(flow(task("a"), task("b"), task("c", "b"), failure_strategy=CONTINUE))
    run.start("a", "b")
    seq = run.state.seq + 1
    assert run.feed(kind) == [cmd.StopCall(seq, 0, 1), cmd.StopCall(seq, 1, 1)]
    for name in ("a", "b"):
        run.feed(ev.TaskCancelled, task=name, attempt=1)
    cancel = kind is ev.CancelRequested
    assert run.state.status is (RunStatus.CANCELLED if cancel else RunStatus.FAILED)
    assert (run.state.cancelling, run.state.timed_out) == (cancel, not cancel)
    assert run.of("c") == ("cancelled" if cancel else "skipped")


def test_timed_out_is_a_failure_though_the_last_call_went_well() -> None:
    for strategy in FailureStrategy:
        run = Machine(flow(task("a"), failure_strategy=strategy))
        run.start("a")
        run.feed(ev.RunTimeoutReached)
        run.succeed("a")
        assert run.state.status is RunStatus.FAILED


def test_cancelled_though_the_last_call_went_well() -> None:
    run = Machine(flow(task("a")))
    run.start("a")
    run.feed(ev.CancelRequested)
    run.succeed("a")
    assert run.state.status is RunStatus.CANCELLED


def test_cancelled_twice() -> None:
    run = Machine(flow(task("a")))
    run.start("a")
    run.feed(ev.CancelRequested)
    assert run.feed(ev.CancelRequested) == [cmd.StopCall(5, 0, 1)]


@pytest.mark.parametrize("tasks", [(), (task("a"),)])
def test_a_queued_run_is_cancelled_at_once(tasks: Any) -> None:
    run = Machine(flow(*tasks), start=False)
    assert run.feed(ev.CancelRequested)[-1] == cmd.CloseRun(2, RunStatus.CANCELLED)
    assert set(run.states.values()) <= {"cancelled"}


def test_a_run_without_tasks() -> None:
    run = Machine(flow(), start=False)
    assert run.feed(ev.RunStarted)[-1] == cmd.CloseRun(2, RunStatus.COMPLETED)


# Unknown outcomes.


def test_an_unknown_outcome_keeps_the_run_waiting_for_somebody() -> None:
    run = Machine(flow(task("a", effect=Effect.ONCE), task("b", "a")))
    run.start("a")
    run.now += SECOND
    run.feed(ev.TaskLost, task="a", attempt=1)
    assert run.states == {"a": "unknown_outcome", "b": "waiting"}
    assert (run.state.status, run.state.parked) == (RunStatus.WAITING, START + SECOND)
    assert run.state.deadline is None


def test_an_unknown_outcome_does_not_keep_a_stopping_run() -> None:
    run = Machine(flow(task("a", effect=Effect.ONCE), task("b")))
    run.start("a")
    run.feed(ev.TaskLost, task="a", attempt=1)
    run.fail("b")
    assert run.of("a") == "unknown_outcome"
    assert run.state.status is RunStatus.FAILED


# Time.


def test_taken_over() -> None:
    run = Machine(flow(task("a"), timeout=60))
    assert run.feed(ev.RunResumed, away=5) == [cmd.SetDeadline(3, START + 60 * SECOND + 5)]
    run.feed(ev.RunResumed, away=6)
    assert run.state.away == 11


def test_waiting_for_somebody_stops_the_clock() -> None:
    run = Machine(flow(task("a"), task("b"), timeout=60))
    run.feed(ev.TaskBlocked, task="a", reason="agent", detail="-")
    run.now += 10
    run.succeed("b")
    assert run.state.parked == START + 10
    run.now += 100
    assert run.feed(ev.RunResumed, away=50) == []
    assert (run.state.parked, run.state.away) == (START + 110, 100)
    run.now += 1000
    commands = run.feed(ev.TaskUnblocked, task="a")
    assert run.state.away == 1100
    assert cmd.SetDeadline(run.state.seq, START + 1100 + 60 * SECOND) in commands
    assert run.state.parked is None


def test_a_run_that_ends_while_waiting_sets_no_deadline() -> None:
    run = Machine(flow(task("a"), timeout=60))
    run.feed(ev.TaskBlocked, task="a", reason="agent", detail="-")
    assert run.state.parked == START
    run.now += 10
    closed = run.feed(ev.CancelRequested)
    assert closed == [cmd.CloseRun(4, RunStatus.CANCELLED)]
    assert (run.state.parked, run.state.away) == (None, 10)


def test_backing_off_beside_a_blocked_task_is_not_waiting_for_somebody() -> None:
    run = Machine(flow(task("a"), task("b")))
    run.feed(ev.TaskBlocked, task="a", reason="agent", detail="-")
    run.fail("b", FAULT)
    assert (run.state.status, run.state.parked) == (RunStatus.WAITING, None)


# Late answers.

USED = Usage(model="m", input_tokens=1)


@pytest.mark.parametrize(
    ("kind", "more", "owed"),
    [
        (ev.TaskLost, {}, True),
        (ev.TaskFailed, {"fault": FAULT}, True),
        (ev.TaskFailed, {"fault": FAULT, "usage": USED}, False),
        (ev.TaskSucceeded, {}, False),
    ],
)
def test_what_is_still_owed(kind: type[ev.Event], more: dict[str, Any], owed: bool) -> None:
    run = Machine(flow(task("a"), task("z")))
    run.start("a")
    run.feed(kind, task="a", attempt=1, **more)
    assert run.state.unpaid == ({(0, 1)} if owed else set())
    if not owed:
        with pytest.raises(InvalidTransition, match="late_reply of attempt 1"):
            run.feed(ev.LateReply, task="a", attempt=1, succeeded=True)
        return
    before = run.states
    assert run.feed(ev.LateReply, task="a", attempt=1, succeeded=True, usage=USED) == []
    assert run.states == before
    assert run.state.unpaid == set()


def test_a_stopped_call_is_still_owed() -> None:
    run = Machine(flow(task("a"), task("z")))
    run.start("a", "z")
    run.feed(ev.CancelRequested)
    run.feed(ev.TaskCancelled, task="a", attempt=1)
    assert run.state.unpaid == {(0, 1)}


def test_commands_name_their_cause() -> None:
    run = Machine(flow(task("a"), task("b")))
    run.start("a", "b")
    run.succeed("a")
    run.feed(ev.CancelRequested)
    causes = [one.cause for one in run.commands]
    assert causes == sorted(causes)
    assert causes[-1] == run.state.seq == 6
    assert set(map(type, run.commands)) == {
        cmd.SetDeadline,
        cmd.OfferTask,
        cmd.CallAgent,
        cmd.StopCall,
    }


def test_counts() -> None:
    run = Machine(flow(task("a", compensate=undo()), task("b"), task("c", "a", "b")))
    run.succeed("a")
    run.start("b")
    counts = {kind: count for kind, count in run.state.counts.items() if count}
    assert counts == {
        TaskState.SUCCEEDED: 1,
        TaskState.RUNNING: 1,
        TaskState.WAITING: 1,
        TaskState.DORMANT: 1,
    }
    assert run.state.open == 2
