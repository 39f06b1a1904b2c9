"""The run's own table, row by row."""

from __future__ import annotations

from typing import get_args

import pytest

from agenthive.core.graph.graph import Graph
from agenthive.core.journal import run_events as ev
from agenthive.core.machine import transitions as tables
from agenthive.core.machine.machine import STATIONARY_HANDLERS, step
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.states import CLOSED, RunStatus, TaskState
from agenthive.core.model.workflow import FailureStrategy
from agenthive.core.values import SECOND
from agenthive.errors import InvalidTransition
from tests.core.rig import FAULT, Machine, flow, task
from tests.core.test_transitions import IN, RUN_EVENTS, R, S, event, machine, tag, undoing

# State-triggered moves.

STATE_ROWS = {
    (S.WAITING, S.CANCELLED),
    (S.WAITING, S.SKIPPED),
    (S.WAITING, S.READY),
    (S.READY, S.CANCELLED),
    (S.READY, S.SKIPPED),
    (S.BACKING_OFF, S.CANCELLED),
    (S.BACKING_OFF, S.FAILED),
    (S.BLOCKED, S.CANCELLED),
    (S.BLOCKED, S.SKIPPED),
    (S.DORMANT, S.READY),
    (S.SUCCEEDED, S.COMPENSATING),
    (S.WAITING, S.PREPARING),
    (S.WAITING, S.BYPASSED),
    (S.BLOCKED, S.PREPARING),
    (S.PREPARING, S.CANCELLED),
    (S.PREPARING, S.SKIPPED),
    (S.PREPARING, S.READY),
    (S.PREPARING, S.BLOCKED),
    (S.PREPARING, S.EXPANDED),
    (S.PREPARING, S.SUCCEEDED),
    (S.EXPANDED, S.SUCCEEDED),
    (S.EXPANDED, S.CANCELLED),
    (S.EXPANDED, S.FAILED),
    (S.UNKNOWN_OUTCOME, S.SUCCEEDED),
    (S.UNKNOWN_OUTCOME, S.READY),
    (S.COMPENSATING, S.COMPENSATED),
    (S.COMPENSATING, S.COMPENSATION_FAILED),
}


def test_the_state_rows_by_hand_are_those_of_the_table() -> None:
    rows = {(state, new) for state, row in tables.STATE_MOVES.items() for _, new in row}
    assert rows == STATE_ROWS


STOPPED_MOVES = [
    (S.WAITING, ev.CancelRequested, S.CANCELLED),
    (S.WAITING, ev.RunTimeoutReached, S.SKIPPED),
    (S.READY, ev.CancelRequested, S.CANCELLED),
    (S.READY, ev.RunTimeoutReached, S.SKIPPED),
    (S.BACKING_OFF, ev.CancelRequested, S.CANCELLED),
    (S.BACKING_OFF, ev.RunTimeoutReached, S.FAILED),
    (S.BLOCKED, ev.CancelRequested, S.CANCELLED),
    (S.BLOCKED, ev.RunTimeoutReached, S.SKIPPED),
    (S.PREPARING, ev.CancelRequested, S.CANCELLED),
    (S.PREPARING, ev.RunTimeoutReached, S.SKIPPED),
    (S.EXPANDED, ev.CancelRequested, S.CANCELLED),
    (S.EXPANDED, ev.RunTimeoutReached, S.FAILED),
    (S.RUNNING, ev.CancelRequested, S.RUNNING),
    (S.RUNNING, ev.RunTimeoutReached, S.RUNNING),
    (S.UNKNOWN_OUTCOME, ev.RunTimeoutReached, S.UNKNOWN_OUTCOME),
]


@pytest.mark.parametrize(("state", "kind", "expected"), STOPPED_MOVES)
def test_stopped(state: TaskState, kind: type[ev.Event], expected: TaskState) -> None:
    make, name = IN[state]
    found = make()
    found.feed(kind)
    assert found.of(name) == expected


# The run's own table.

RUN_ROWS = {
    (R.QUEUED, ev.RunStarted),
    (R.QUEUED, ev.CancelRequested),
    (R.RUNNING, ev.RunResumed),
    (R.RUNNING, ev.CancelRequested),
    (R.RUNNING, ev.RunTimeoutReached),
    (R.WAITING, ev.RunResumed),
    (R.WAITING, ev.CancelRequested),
    (R.WAITING, ev.RunTimeoutReached),
    (R.COMPENSATING, ev.RunResumed),
    *((status, ev.RunClockStepped) for status in (R.RUNNING, R.WAITING, R.COMPENSATING)),
    *((status, ev.SignalReceived) for status in (R.QUEUED, R.RUNNING, R.WAITING, R.COMPENSATING)),
    *((status, ev.RunMigrated) for status in (R.QUEUED, R.RUNNING, R.WAITING)),
}


def run_in(status: RunStatus) -> Machine:
    if status is R.QUEUED:
        return Machine(flow(task("t")), start=False)
    if status is R.RUNNING:
        return machine()
    if status is R.WAITING:
        found = Machine(flow(task("t")))
        found.fail("t", FAULT)
        return found
    if status in (R.COMPENSATING, R.COMPENSATED, R.COMPENSATION_FAILED):
        found = undoing()
        if status is R.COMPENSATED:
            found.succeed("w#undo", "t#undo")
        elif status is R.COMPENSATION_FAILED:
            found.succeed("w#undo")
            found.fail("t#undo")
        return found
    strategy = FailureStrategy.PARTIAL if status is R.PARTIALLY_COMPLETED else FailureStrategy.STOP
    found = Machine(flow(task("s"), task("t", "s"), failure_strategy=strategy))
    found.succeed("s")
    if status is R.COMPLETED:
        found.succeed("t")
    elif status is R.CANCELLED:
        found.feed(ev.CancelRequested)
    else:
        found.fail("t")
    return found


@pytest.mark.parametrize("status", RunStatus)
@pytest.mark.parametrize("kind", RUN_EVENTS)
def test_a_run_moves_by_a_row_or_is_refused(status: RunStatus, kind: type[ev.Event]) -> None:
    found = run_in(status)
    assert found.state.status is status
    fact = event(kind, found, "t")
    if (status, kind) in RUN_ROWS:
        step(found.state, fact)
        return
    with pytest.raises(InvalidTransition) as refused:
        step(found.state, fact)
    told = (
        "run r: submitted twice" if kind is ev.RunSubmitted else f"run r is {status}: {tag(kind)}"
    )
    assert told in refused.value.message
    assert found.state.status is status


def test_the_run_rows_by_hand_are_those_of_the_table() -> None:
    rows = {(status, kind) for status, row in tables.RUN_EVENT_MOVES.items() for kind in row}
    assert rows == RUN_ROWS
    assert not CLOSED & (set(tables.RUN_EVENT_MOVES) | set(tables.RUN_STATE_MOVES))


def test_every_fact_has_a_row() -> None:
    in_rows = {kind for row in tables.EVENT_MOVES.values() for kind in row}
    in_rows |= {kind for row in tables.RUN_EVENT_MOVES.values() for kind in row}
    assert in_rows == set(get_args(ev.RunEvent)) - {ev.RunSubmitted, *STATIONARY_HANDLERS}


def test_every_status_can_be_reached() -> None:
    targets = {new for row in tables.RUN_STATE_MOVES.values() for _, new in row}
    targets |= {new for row in tables.RUN_EVENT_MOVES.values() for new in row.values()}
    assert targets == set(RunStatus)
    reached = {new for row in tables.STATE_MOVES.values() for _, new in row}
    reached |= {new for may in tables.CHOOSER_RESULTS.values() for new in may}
    reached |= {S.RUNNING, S.BLOCKED, S.SUCCEEDED, S.READY}
    assert reached == set(TaskState) - {S.WAITING, S.DORMANT}, "where a task begins is no move"


def test_submission_is_the_first_fact() -> None:
    state = RunState(Graph(flow(task("t"))))
    with pytest.raises(InvalidTransition):
        step(state, ev.TaskWoke(at=1, task="t"))
    with pytest.raises(InvalidTransition, match="run r: submitted twice"):
        step(state, ev.RunSubmitted(at=SECOND, run="r", name="w", definition="d"))
