"""Sagas: what succeeded is undone in reverse order when its run fails, and never otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from agenthive.core.journal import run_events as ev
from agenthive.core.machine import commands as cmd
from agenthive.core.model.states import RunStatus
from agenthive.core.model.workflow import Effect, FailureStrategy
from tests.core.rig import FAULT, NO_RETRY, Machine, flow, task, undo

STOP, CONTINUE, PARTIAL = FailureStrategy.STOP, FailureStrategy.CONTINUE, FailureStrategy.PARTIAL


# Sagas.


def saga(**more: Any) -> Machine:
    return Machine(
        flow(
            task("a", compensate=undo(**more)),
            task("b", compensate=undo(**more)),
            task("c", "a", "b"),
            task("d", "c", compensate=undo(**more)),
            task("e", "d"),
        )
    )


def test_undone_one_by_one_the_latest_first() -> None:
    run = saga()
    run.succeed("b", "a", "c", "d")
    assert run.fail("e")[-1] == cmd.OfferTask(run.state.seq, run.state.graph.index["d#undo"])
    assert run.state.status is RunStatus.COMPENSATING
    order = []
    while run.state.status is RunStatus.COMPENSATING:
        ready = [name for name, kind in run.states.items() if kind == "ready"]
        order += ready
        assert len(ready) == 1
        owner = ready[0].removesuffix("#undo")
        assert run.of(owner) == "compensating"
        run.succeed(*ready)
        assert run.of(owner) == "compensated"
    assert order == ["d#undo", "a#undo", "b#undo"]
    assert run.state.status is RunStatus.COMPENSATED
    assert run.of("c") == "succeeded"
    assert run.state.succeeded_count == 4
    assert run.state.undoing is None


def test_only_what_succeeded_is_undone() -> None:
    run = saga()
    run.succeed("a")
    run.fail("b")
    run.succeed("a#undo")
    assert run.state.status is RunStatus.COMPENSATED
    assert run.states["b#undo"] == run.states["d#undo"] == "dormant"


def test_a_compensation_that_fails_does_not_keep_the_others() -> None:
    run = saga(retry=NO_RETRY)
    run.succeed("a", "b", "c", "d")
    run.fail("e")
    run.fail("d#undo")
    assert run.of("d") == "compensation_failed"
    run.succeed("b#undo", "a#undo")
    assert run.state.status is RunStatus.COMPENSATION_FAILED
    assert run.state.undo_failures == 1
    assert run.state.hard_failures == 1


def test_a_compensation_that_may_have_acted() -> None:
    run = saga(effect=Effect.ONCE)
    run.succeed("a")
    run.fail("b")
    run.start("a#undo")
    run.feed(ev.TaskLost, task="a#undo", attempt=1)
    assert run.of("a") == "compensation_failed"
    assert run.state.status is RunStatus.COMPENSATION_FAILED
    assert (run.state.open, run.state.undo_failures) == (0, 1)


def test_compensations_are_tried_again() -> None:
    run = saga()
    run.succeed("a")
    run.fail("b")
    run.fail("a#undo", FAULT)
    assert run.state.status is RunStatus.COMPENSATING
    run.feed(ev.TaskWoke, task="a#undo")
    run.succeed("a#undo")
    assert run.state.status is RunStatus.COMPENSATED


def test_a_run_that_is_undoing_has_no_deadline() -> None:
    run = saga()
    run.succeed("a")
    run.fail("b")
    assert run.feed(ev.RunResumed, away=5) == []


@pytest.mark.parametrize("end", ["fine", "cancelled", "nothing to undo", "enough"])
def test_nothing_is_undone(end: str) -> None:
    strategy = PARTIAL if end == "enough" else STOP
    run = Machine(
        flow(task("a", compensate=undo()), task("b", "a"), failure_strategy=strategy),
    )
    if end == "nothing to undo":
        run.fail("a")
        assert run.state.status is RunStatus.FAILED
    elif end == "cancelled":
        run.succeed("a")
        run.feed(ev.CancelRequested)
        assert run.state.status is RunStatus.CANCELLED
    elif end == "enough":
        run.succeed("a")
        run.fail("b")
        assert run.state.status is RunStatus.PARTIALLY_COMPLETED
    else:
        run.succeed("a", "b")
        assert run.state.status is RunStatus.COMPLETED
    assert run.of("a#undo") == "dormant"


def test_a_time_out_is_undone_too() -> None:
    run = Machine(flow(task("a", compensate=undo()), task("b", "a")))
    run.succeed("a")
    run.feed(ev.RunTimeoutReached)
    assert run.state.status is RunStatus.COMPENSATING


def test_what_compensations_read_is_kept_until_they_have_run() -> None:
    run = Machine(
        flow(
            task("a", compensate=undo(parameters={"id": "{{ tasks.a.result.id }}"})),
            task("b", "a"),
        )
    )
    run.succeed("a", result={"id": 5})
    run.fail("b")
    assert run.state.results == {0: {"id": 5}}
    run.succeed("a#undo")
    assert run.state.results == {}
