"""Each invariant holds in a sound state, and fires in one that was tampered with."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agenthive.core.engine.invariants import find_driver_violations, find_violations
from agenthive.core.journal import run_events as ev
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.states import RunStatus, TaskState
from agenthive.core.model.workflow import FailureStrategy
from tests.core.rig import NO_RETRY, START, Bench, Machine, flow, task, undo


def sound() -> RunState:
    """a succeeded, b is running, c waits for both; a could be undone."""
    run = Machine(flow(task("a", compensate=undo()), task("b"), task("c", "a", "b")))
    run.succeed("a")
    run.start("b")
    return run.state


def swap(state: RunState) -> None:
    state.state[0], state.state[3] = state.state[3], state.state[0]


def begin_c(state: RunState) -> None:
    state.attempts[2] = 1


def counts(state: RunState) -> None:
    state.counts[TaskState.RUNNING] += 1


def opened(state: RunState) -> None:
    state.open += 1


def pending(state: RunState) -> None:
    state.pending[2] = 0


def closed(state: RunState) -> None:
    state.status = RunStatus.COMPLETED


def finished(state: RunState) -> None:
    state.finished = START


def too_many_attempts(state: RunState) -> None:
    state.attempts[1] = 4


def too_many_undo_attempts(state: RunState) -> None:
    state.attempts[3] = 4


TAMPERED: list[tuple[Callable[[RunState], None], str]] = [
    (counts, "counts[running] is 2, not 1"),
    (opened, "open is 3, not 2"),
    (pending, "pending of c is 0, not 1"),
    (swap, "pending of c is 1, not 2"),
    (begin_c, "c started without what it depends on"),
    (closed, "the run is completed with 2 open tasks"),
    (finished, "the run has an end time and is open"),
    (too_many_attempts, "b was tried 4 times"),
    (too_many_undo_attempts, "a#undo was tried 4 times"),
]


def test_sound() -> None:
    assert find_violations(sound()) == []


@pytest.mark.parametrize(("tamper", "line"), TAMPERED)
def test_fires(tamper: Callable[[RunState], None], line: str) -> None:
    state = sound()
    tamper(state)
    assert line in find_violations(state)


def test_losses_allow_for_more_attempts() -> None:
    state = sound()
    state.attempts[1] = 5
    state.losses[1] = 2
    assert find_violations(state) == []
    state.losses[1] = 1
    assert find_violations(state) == ["b was tried 5 times"]


@pytest.mark.parametrize(("most", "allowed"), [(0, 1), (1, 1), (2, 2)])
def test_too_many_calls_at_once(most: int, allowed: int) -> None:
    run = Machine(flow(*(task(f"t{n}", compensate=undo()) for n in range(3)), max_parallel=most))
    for n in range(allowed):
        run.start(f"t{n}")
    with pytest.raises(AssertionError, match=f"{allowed + 1} calls under way at once"):
        run.start(f"t{allowed}")


@pytest.mark.parametrize("tolerated", [True, False])
def test_a_failure_is_usable_only_if_tolerated(tolerated: bool) -> None:
    run = Machine(
        flow(
            task("a", continue_on_failure=tolerated),
            task("b", "a"),
            failure_strategy=FailureStrategy.CONTINUE,
        )
    )
    run.fail("a")
    run.state.attempts[1] = 1
    line = "b started without what it depends on"
    assert (line in find_violations(run.state)) is not tolerated


def test_what_was_undone_had_been_usable() -> None:
    run = Machine(flow(task("a", compensate=undo()), task("b", "a", retry=NO_RETRY)))
    run.succeed("a")
    run.fail("b")
    for kind in (ev.TaskStarted, ev.TaskSucceeded):
        more = {"agent": "a", "key": "k"} if kind is ev.TaskStarted else {}
        run.feed(kind, task="a#undo", attempt=1, **more)
    assert run.state.status is RunStatus.COMPENSATED
    assert find_violations(run.state) == []


def test_what_a_driver_counts() -> None:
    bench = Bench(max_runs=1)
    bench.run(flow(task("a"), task("b")))
    bench.run(flow(task("a")), "queued")
    assert find_driver_violations(bench.driver) == []
    bench.driver._engine.used_run_slots += 1
    bench.driver.queue.used += 1
    bench.driver.runs["r"].state.open += 1
    assert find_driver_violations(bench.driver) == [
        "r: open is 3, not 2",
        "1 runs are active, not 2",
        "2 calls are under way, not 3",
    ]
