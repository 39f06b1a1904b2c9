"""The tables, row by row: every move that is there, and that every other is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import msgspec
import pytest

from agenthive.core.journal import run_events as ev
from agenthive.core.machine import transitions as tables
from agenthive.core.machine.guards import flow as flow_rules
from agenthive.core.machine.guards import outcome
from agenthive.core.machine.machine import step
from agenthive.core.model.calls import Fault
from agenthive.core.model.control_flow import (
    ApprovalSpec,
    EachSpec,
    OnDeadline,
    OnReject,
    RepeatSpec,
)
from agenthive.core.model.states import RunStatus, TaskState
from agenthive.core.model.workflow import Effect, FailureStrategy, TaskSpec
from agenthive.core.policies.fault_classes import FaultClass
from agenthive.core.policies.retry import RetryPolicy
from agenthive.core.values import SECOND
from agenthive.errors import InvalidTransition
from tests.core.rig import FAULT, FINAL, NO_RETRY, Machine, flow, task, undo

S, R = TaskState, RunStatus


def machine(effect: Effect = Effect.ANY, **more: Any) -> Machine:
    """Task `t` that is looked at, and `z` that keeps the run open; `w` waits for both."""
    return Machine(
        flow(
            task("t", effect=effect, compensate=undo()),
            task("z"),
            task("w", "t", "z", compensate=undo(retry=NO_RETRY)),
            task("end", "w", retry=NO_RETRY),
            **{"failure_strategy": FailureStrategy.CONTINUE, **more},
        )
    )


def backing_off() -> Machine:
    found = machine()
    found.fail("t", FAULT)
    return found


def blocked() -> Machine:
    found = machine()
    found.feed(ev.TaskBlocked, task="t", reason="agent", detail="nobody")
    return found


def running(effect: Effect = Effect.ANY, **more: Any) -> Machine:
    found = machine(effect, **more)
    found.start("t")
    return found


def unknown() -> Machine:
    found = running(Effect.ONCE)
    found.feed(ev.TaskLost, task="t", attempt=1)
    return found


def ended(how: str) -> Machine:
    found = machine()
    if how == "skipped":
        found.feed(ev.RunTimeoutReached)
    elif how == "cancelled":
        found.start("z")
        found.feed(ev.CancelRequested)
    elif how == "failed":
        found.fail("t")
    else:
        found.succeed("t")
    return found


def undoing(answer: Callable[[Machine], None] | None = None) -> Machine:
    """`t` and `w` succeeded, `end` failed: `w` is being undone, then `t`."""
    found = machine()
    found.succeed("t", "z", "w")
    found.fail("end")
    found.start("w#undo")
    if answer is not None:
        answer(found)
    return found


def asked(**more: Any) -> Machine:
    """`t` waits for an approval."""
    found = machine_of(task("t", approval=ApprovalSpec(**more)))
    found.feed(ev.ApprovalRequested, task="t", digest="d")
    return found


def machine_of(first: TaskSpec) -> Machine:
    return Machine(flow(first, task("z"), failure_strategy=FailureStrategy.CONTINUE))


def preparing() -> Machine:
    return machine_of(task("t", when="True"))


def for_each() -> Machine:
    return machine_of(task("t", for_each=EachSpec(items=[1]), retry=NO_RETRY))


def in_rounds() -> Machine:
    found = machine_of(task("t", repeat_until=RepeatSpec(until="result", max_rounds=1)))
    found.succeed("t~1")
    return found


def with_items() -> Machine:
    found = for_each()
    found.feed(ev.TaskExpanded, task="t", items=[1])
    return found


def with_child() -> Machine:
    found = machine_of(TaskSpec(name="t", workflow=flow(task("x"))))
    found.feed(ev.ChildOpened, task="t", run="c")
    return found


def bypassed() -> Machine:
    found = preparing()
    found.feed(ev.TaskDecided, task="t", go=False)
    return found


# In which machine which task is in that state.
IN: dict[TaskState, tuple[Callable[[], Machine], str]] = {
    S.WAITING: (machine, "w"),
    S.READY: (machine, "t"),
    S.PREPARING: (preparing, "t"),
    S.EXPANDED: (with_items, "t"),
    S.BYPASSED: (bypassed, "t"),
    S.RUNNING: (running, "t"),
    S.BACKING_OFF: (backing_off, "t"),
    S.BLOCKED: (blocked, "t"),
    S.SUCCEEDED: (lambda: ended("succeeded"), "t"),
    S.FAILED: (lambda: ended("failed"), "t"),
    S.SKIPPED: (lambda: ended("skipped"), "w"),
    S.CANCELLED: (lambda: ended("cancelled"), "t"),
    S.UNKNOWN_OUTCOME: (unknown, "t"),
    S.DORMANT: (machine, "t#undo"),
    S.COMPENSATING: (undoing, "w"),
    S.COMPENSATED: (lambda: undoing(lambda m: m.succeed("w#undo")), "w"),
    S.COMPENSATION_FAILED: (lambda: undoing(lambda m: void(m.fail("w#undo"))), "w"),
}


def void(_: object) -> None:
    pass


FIELDS: dict[type[ev.Event], dict[str, Any]] = {
    ev.TaskStarted: {"agent": "a", "key": "k"},
    ev.TaskFailed: {"fault": FAULT},
    ev.TaskBlocked: {"reason": "agent", "detail": "nobody"},
    ev.LateReply: {"succeeded": True},
    ev.HoldSettled: {"cost": 1},
    ev.TaskDecided: {"go": False},
    ev.TaskDelayed: {"until": 1},
    ev.TaskExpanded: {"items": []},
    ev.RoundEnded: {"round": 1, "done": True},
    ev.TaskFaulted: {"fault": FINAL},
    ev.ApprovalRequested: {"digest": "d"},
    ev.ApprovalGiven: {"actor": "ann", "approved": True, "digest": "d"},
    ev.ApprovalRefused: {"actor": "ann", "approved": True, "digest": "d", "reason": "late"},
    ev.TaskResolved: {"outcome": "succeeded"},
    ev.ChildOpened: {"run": "c"},
    ev.ChildWaiting: {"how": "timed"},
    ev.ChildEnded: {"run": "c", "status": "completed"},
    ev.SignalReceived: {"name": "s"},
    ev.RunMigrated: {"definition": "d"},
    ev.RunSubmitted: {"run": "r", "name": "w", "definition": "d"},
    ev.RunResumed: {"away": 0},
    ev.RunClockStepped: {"by": -5},
}
TASK_EVENTS = [kind for kind in get_args(ev.RunEvent) if issubclass(kind, ev.TaskEvent)]
RUN_EVENTS = [kind for kind in get_args(ev.RunEvent) if not issubclass(kind, ev.TaskEvent)]
MOVES = {  # every row there is, by hand: a new one is a new line here
    (S.READY, ev.TaskStarted): S.RUNNING,
    (S.READY, ev.TaskBlocked): S.BLOCKED,
    (S.RUNNING, ev.TaskSucceeded): S.SUCCEEDED,
    (S.RUNNING, ev.TaskFailed): S.BACKING_OFF,
    (S.RUNNING, ev.TaskLost): S.READY,
    (S.RUNNING, ev.TaskCancelled): S.CANCELLED,
    (S.BACKING_OFF, ev.TaskWoke): S.READY,
    (S.BLOCKED, ev.TaskUnblocked): S.READY,
    (S.READY, ev.TaskFaulted): S.FAILED,
    (S.BLOCKED, ev.TaskFaulted): S.FAILED,
    (S.PREPARING, ev.TaskDecided): S.BYPASSED,
    (S.PREPARING, ev.TaskFaulted): S.FAILED,
    (S.UNKNOWN_OUTCOME, ev.TaskResolved): S.SUCCEEDED,
}
SKIP = OnReject.SKIP
NO: dict[str, Any] = {"approved": False}
ALONE = TaskSpec(name="t", approval=ApprovalSpec(on_reject=SKIP))
LATE = {"deadline": 0.0}
FLOW_MOVES: list[tuple[Callable[[], Machine], type[ev.TaskEvent], dict[str, Any], TaskState]] = [
    # rows that only a task of the right kind can take: machine, fact, its fields, next state
    (lambda: machine_of(task("t", approval=ApprovalSpec())), ev.ApprovalRequested, {}, S.BLOCKED),
    (lambda: approved_then_ready(), ev.ApprovalRequested, {}, S.BLOCKED),
    (preparing, ev.TaskDecided, {"go": True}, S.READY),
    (lambda: machine_of(task("t", delay=1.0)), ev.TaskDelayed, {}, S.BLOCKED),
    (for_each, ev.TaskExpanded, {"items": [1]}, S.EXPANDED),
    (for_each, ev.TaskExpanded, {"items": []}, S.SUCCEEDED),
    (
        lambda: machine_of(TaskSpec(name="t", workflow=flow(task("x")))),
        ev.ChildOpened,
        {},
        S.EXPANDED,
    ),
    (in_rounds, ev.RoundEnded, {"done": True}, S.SUCCEEDED),
    (in_rounds, ev.RoundEnded, {"done": False}, S.FAILED),
    (in_rounds, ev.TaskFaulted, {}, S.FAILED),
    (with_child, ev.ChildEnded, {}, S.SUCCEEDED),
    (with_child, ev.ChildEnded, {"status": "failed", "error": "no"}, S.FAILED),
    (asked, ev.ApprovalGiven, {}, S.READY),
    (lambda: asked(quorum=2), ev.ApprovalGiven, {}, S.BLOCKED),
    (asked, ev.ApprovalGiven, NO, S.FAILED),
    (lambda: asked(on_reject=SKIP), ev.ApprovalGiven, NO, S.BYPASSED),
    (lambda: alone(), ev.ApprovalGiven, NO, S.SUCCEEDED),
    (lambda: asked(**LATE), ev.TaskWoke, {}, S.FAILED),
    (lambda: asked(on_deadline=OnDeadline.APPROVE, **LATE), ev.TaskWoke, {}, S.READY),
    (lambda: asked(on_reject=SKIP, **LATE), ev.TaskWoke, {}, S.BYPASSED),
    (lambda: asked(escalate_after=0.0), ev.TaskWoke, {}, S.BLOCKED),
    (unknown, ev.TaskResolved, {"outcome": "failed"}, S.FAILED),
    (unknown, ev.TaskResolved, {"outcome": "retry"}, S.READY),
]


def alone() -> Machine:
    found = machine_of(ALONE)
    found.feed(ev.ApprovalRequested, task="t", digest="d")
    return found


def approved_then_ready() -> Machine:
    found = asked()
    found.feed(ev.ApprovalGiven, task="t", actor="ann", approved=True, digest="d")
    return found


@pytest.mark.parametrize(("make", "kind", "fields", "expected"), FLOW_MOVES)
def test_a_move_of_flow(
    make: Callable[[], Machine],
    kind: type[ev.TaskEvent],
    fields: dict[str, Any],
    expected: TaskState,
) -> None:
    found = make()
    fact = event(kind, found, "t")
    step(found.state, msgspec.structs.replace(fact, **fields))
    assert found.of("t") == expected


OWED = {S.BACKING_OFF, S.FAILED, S.UNKNOWN_OUTCOME}
"""An attempt here ended without saying what it used: a late answer moves nothing, but is paid."""


def event(kind: type[ev.Event], found: Machine, name: str) -> ev.RunEvent:
    fields = dict(FIELDS.get(kind, {}))
    if issubclass(kind, ev.TaskEvent):
        fields["task"] = name
        if "attempt" in kind.__struct_fields__:
            fields["attempt"] = found.attempt(name) + (kind is ev.TaskStarted)
    made: ev.RunEvent = kind(at=found.now, **fields)  # type: ignore[assignment]
    return made


def test_the_rows_by_hand_are_those_of_the_table() -> None:
    rows = {(state, kind) for state, row in tables.EVENT_MOVES.items() for kind in row}
    by_flow = {(S(make().of("t")), kind) for make, kind, _, _ in FLOW_MOVES}
    assert rows == set(MOVES) | by_flow
    assert set(IN) == set(TaskState)


@pytest.mark.parametrize("state", TaskState)
@pytest.mark.parametrize("kind", TASK_EVENTS)
def test_a_move_is_a_row_or_is_refused(state: TaskState, kind: type[ev.TaskEvent]) -> None:
    if (state, kind) not in MOVES and kind in tables.EVENT_MOVES.get(state, {}):
        return  # a row that only a task of the right kind can take: see FLOW_MOVES
    if kind in (ev.ApprovalRefused, ev.TaskProgressed, ev.ChildWaiting):
        return  # these move nothing anywhere
    make, name = IN[state]
    found = make()
    assert found.of(name) == state
    fact = event(kind, found, name)
    if (state, kind) in MOVES:
        step(found.state, fact)
        assert found.of(name) == MOVES[state, kind]
        return
    before = found.states
    if kind is ev.LateReply and state in OWED:
        step(found.state, fact)
        assert found.states == before
        return
    with pytest.raises(InvalidTransition) as refused:
        step(found.state, fact)
    assert found.states == before
    assert f"task '{name}' is {state}" in refused.value.message
    assert fact.__struct_config__.tag in refused.value.message  # type: ignore[operator]


def test_a_refused_move_tells_its_story() -> None:
    found = running()
    found.state.since[0] = 77
    with pytest.raises(InvalidTransition) as refused:
        found.feed(ev.TaskSucceeded, task="t", attempt=2)
    assert refused.value.message == (
        "run r: task 't' is running after attempt 1 (since event time 77); "
        "task.succeeded of attempt 2 at event 4 has no row"
    )
    with pytest.raises(InvalidTransition) as refused:
        found.feed(ev.TaskWoke, task="t")
    assert "task.woke of attempt - at event 5 has no row" in refused.value.message


@pytest.mark.parametrize("kind", [ev.TaskSucceeded, ev.TaskFailed, ev.TaskLost, ev.TaskCancelled])
@pytest.mark.parametrize("attempt", [0, 2])
def test_another_attempt_is_refused(kind: type[ev.TaskEvent], attempt: int) -> None:
    found = running()
    with pytest.raises(InvalidTransition):
        found.feed(kind, task="t", attempt=attempt, **FIELDS.get(kind, {}))


@pytest.mark.parametrize("attempt", [0, 2])
def test_attempts_are_numbered_one_by_one(attempt: int) -> None:
    with pytest.raises(InvalidTransition):
        machine().feed(ev.TaskStarted, task="t", attempt=attempt, agent="a", key="k")


@pytest.mark.parametrize("kind", TASK_EVENTS)
def test_an_unknown_task_is_refused(kind: type[ev.TaskEvent]) -> None:
    fields = FIELDS.get(kind, {})
    more = {"attempt": 1} if "attempt" in kind.__struct_fields__ else {}
    with pytest.raises(InvalidTransition, match=f"run r: no task 'x' for {tag(kind)}"):
        machine().feed(kind, task="x", **more, **fields)


def tag(kind: type[ev.Event]) -> str:
    return str(kind.__struct_config__.tag)


# The choosers: what an attempt that did not succeed leads to.

TIMEOUT = Fault(kind="timeout", message="too slow")
NOT_SENT, REFUSED, BAD_END, UNKNOWN = (
    Fault(kind="some", message="no", class_=class_) for class_ in FaultClass
)
LOST: dict[str, Any] = {"kind": ev.TaskLost}
STOPPED: dict[str, Any] = {"kind": ev.TaskCancelled}
PAUSE: dict[str, Any] = {"pause": 5 * SECOND}


def failed(fault: Fault) -> dict[str, Any]:
    return {"kind": ev.TaskFailed, "fault": fault}


CHOICES: list[tuple[Effect, str, dict[str, Any], TaskState]] = [
    *((e, "", failed(FAULT), S.BACKING_OFF) for e in Effect if e is not Effect.ONCE),
    *((e, "", failed(FINAL), S.FAILED) for e in Effect),
    *((e, "stop", failed(FAULT), S.FAILED) for e in Effect if e is not Effect.ONCE),
    *((e, "cancel", failed(FAULT), S.CANCELLED) for e in Effect if e is not Effect.ONCE),
    *((e, "", LOST, S.READY) for e in Effect if e is not Effect.ONCE),
    *((e, "stop", LOST, S.CANCELLED) for e in Effect if e is not Effect.ONCE),
    *((e, "cancel", LOST, S.CANCELLED) for e in Effect if e is not Effect.ONCE),
    *((e, "cancel", STOPPED, S.CANCELLED) for e in Effect if e is not Effect.ONCE),
    (Effect.ONCE, "", failed(FAULT), S.UNKNOWN_OUTCOME),
    (Effect.ONCE, "", failed(TIMEOUT), S.UNKNOWN_OUTCOME),
    *((e, "", failed(NOT_SENT), S.BACKING_OFF) for e in Effect),
    *((e, "stop", failed(NOT_SENT), S.FAILED) for e in Effect),
    *((e, "cancel", failed(NOT_SENT), S.CANCELLED) for e in Effect),
    *((e, "", failed(REFUSED), S.FAILED) for e in Effect),
    *((e, "", failed(REFUSED) | PAUSE, S.BACKING_OFF) for e in Effect if e is not Effect.ONCE),
    (Effect.ONCE, "", failed(REFUSED) | PAUSE, S.FAILED),
    *((e, "", failed(UNKNOWN) | PAUSE, S.BACKING_OFF) for e in Effect if e is not Effect.ONCE),
    (Effect.ONCE, "", failed(UNKNOWN) | PAUSE, S.UNKNOWN_OUTCOME),
    *((e, "", failed(BAD_END), S.FAILED) for e in Effect),
    *((e, "cancel", failed(BAD_END), S.CANCELLED) for e in Effect),
    (Effect.ONCE, "cancel", failed(UNKNOWN), S.UNKNOWN_OUTCOME),
    (Effect.ONCE, "", LOST, S.UNKNOWN_OUTCOME),
    (Effect.ONCE, "stop", failed(FAULT), S.UNKNOWN_OUTCOME),
    (Effect.ONCE, "stop", LOST, S.UNKNOWN_OUTCOME),
    (Effect.ONCE, "cancel", LOST, S.UNKNOWN_OUTCOME),
    (Effect.ONCE, "cancel", STOPPED, S.UNKNOWN_OUTCOME),
]


@pytest.mark.parametrize(("effect", "before", "fact", "expected"), CHOICES)
def test_what_a_failure_leads_to(
    effect: Effect, before: str, fact: dict[str, Any], expected: TaskState
) -> None:
    found = running(effect)
    if before:
        found.feed(ev.CancelRequested if before == "cancel" else ev.RunTimeoutReached)
    found.feed(task="t", attempt=1, **fact)
    assert found.of("t") == expected


def test_choosers_answer_what_they_may_and_nothing_is_missing() -> None:
    used = {c for row in tables.EVENT_MOVES.values() for c in row.values() if callable(c)}
    assert used == set(tables.CHOOSER_RESULTS)
    by_fact = {
        ev.TaskFailed: outcome.after_failure,
        ev.TaskLost: outcome.after_loss,
        ev.TaskCancelled: outcome.after_cancel,
    }
    answers = {chooser: {S.FAILED} for chooser in (outcome.after_loss,)}  # see below: endless loss
    for make, kind, _, expected in FLOW_MOVES:
        chooser = tables.EVENT_MOVES[S(make().of("t"))][kind]
        if callable(chooser) and expected not in (S.BLOCKED, S.EXPANDED):
            passed = {ev.ApprovalGiven: S.PREPARING, ev.TaskWoke: S.PREPARING}
            came = passed.get(kind, expected) if expected is S.READY else expected
            answers.setdefault(chooser, set()).add(came)
    answers[flow_rules.after_decision] = {S.BYPASSED}
    answers[flow_rules.after_child].add(S.CANCELLED)
    answers[flow_rules.after_resolution].add(S.SUCCEEDED)
    answers[flow_rules.after_wake].add(S.SUCCEEDED)
    for _, _, fact, expected in CHOICES:
        answers.setdefault(by_fact[fact["kind"]], set()).add(expected)
    assert answers == {chooser: set(may) for chooser, may in tables.CHOOSER_RESULTS.items()}


@pytest.mark.parametrize("kind", sorted(outcome.NOT_CARRIED_OUT))
def test_rules_1_and_2_judge_once_by_the_kind_of_the_fault(kind: str) -> None:
    found = Machine(flow(task("t", effect=Effect.ONCE)), rules=2)
    found.fail("t", Fault(kind=kind, message="no", class_=FaultClass.UNKNOWN))
    assert found.of("t") == S.BACKING_OFF


def test_rules_1_and_2_repeat_a_bad_end_and_a_refusal() -> None:
    for fault in (BAD_END, REFUSED):
        found = Machine(flow(task("t")), rules=2)
        found.fail("t", fault)
        assert found.of("t") == S.BACKING_OFF


def test_retry_on_chooses_the_classes_that_are_retried() -> None:
    retry = RetryPolicy(retry_on=(FaultClass.BAD_END,))
    for fault in (NOT_SENT, REFUSED, BAD_END, UNKNOWN):
        found = Machine(flow(task("t", retry=retry)))
        found.fail("t", fault)
        assert found.of("t") == (S.BACKING_OFF if fault is BAD_END else S.FAILED)
    found = Machine(flow(task("t", retry=retry, effect=Effect.ONCE)))
    found.fail("t", BAD_END)
    assert found.of("t") == S.FAILED


@pytest.mark.parametrize(
    "kind", ["timeout", "unavailable", "connection", "invalid_reply", "cancelled", "lost", "new"]
)
def test_once_is_never_tried_again_when_its_outcome_is_unknown(kind: str) -> None:
    for retriable in (True, False):
        found = running(Effect.ONCE)
        found.fail("t", Fault(kind=kind, message="no", retriable=retriable))
        assert found.of("t") == S.UNKNOWN_OUTCOME


@pytest.mark.parametrize("most", [1, 2, 3])
def test_as_many_attempts_as_allowed(most: int) -> None:
    found = Machine(flow(task("t", retry=RetryPolicy(max_attempts=most))))
    for number in range(1, most + 1):
        found.fail("t", FAULT)
        assert found.of("t") == (S.BACKING_OFF if number < most else S.FAILED)
        if number < most:
            found.feed(ev.TaskWoke, task="t")


def test_losses_are_not_attempts() -> None:
    found = Machine(flow(task("t", retry=RetryPolicy(max_attempts=2))))
    for number in range(1, 6):
        found.start("t")
        found.feed(ev.TaskLost, task="t", attempt=number)
    found.fail("t", FAULT)
    assert found.of("t") == S.BACKING_OFF
    found.feed(ev.TaskWoke, task="t")
    found.fail("t", FAULT)
    assert found.of("t") == S.FAILED


def test_what_is_lost_again_and_again_is_given_up() -> None:
    found = Machine(flow(task("t")))
    for number in range(1, outcome.MAX_LOSSES + 1):
        found.start("t")
        found.feed(ev.TaskLost, task="t", attempt=number)
        assert found.of("t") == S.READY
    found.start("t")
    found.feed(ev.TaskLost, task="t", attempt=outcome.MAX_LOSSES + 1)
    assert found.of("t") == S.FAILED
    assert found.state.status is R.FAILED


def test_compensations_are_tried_again_though_the_run_has_stopped() -> None:
    found = Machine(flow(task("t", compensate=undo()), task("end", "t", retry=NO_RETRY)))
    found.succeed("t")
    found.fail("end")
    found.fail("t#undo", FAULT)
    assert found.of("t#undo") == S.BACKING_OFF
    found.feed(ev.TaskWoke, task="t#undo")
    found.start("t#undo")
    found.feed(ev.TaskLost, task="t#undo", attempt=2)
    assert found.of("t#undo") == S.READY
