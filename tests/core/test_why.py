"""Every open task has one reason for not going on, and it is the right one."""

from __future__ import annotations

from typing import Any

import pytest

from agenthive.core.history.waiting_reasons import list_reasons
from agenthive.core.journal import run_events as ev
from agenthive.core.model.calls import Fault
from agenthive.core.model.states import OPEN, Reason, ReasonKind
from agenthive.core.model.workflow import Effect
from agenthive.core.policies.fault_classes import FaultClass
from agenthive.core.values import SECOND
from tests.core.rig import FAULT, START, Machine, flow, task


def only(run: Machine, name: str, **more: Any) -> Reason:
    return next(reason for reason in list_reasons(run.state, **more) if reason.task == name)


def test_every_open_task_has_one_reason() -> None:
    run = Machine(flow(task("a"), task("b", "a"), task("c"), task("d")))
    run.start("c")
    run.succeed("d")
    reasons = list_reasons(run.state)
    assert [reason.task for reason in reasons] == ["a", "b", "c"]
    assert len(reasons) == sum(1 for kind in run.state.state if kind in OPEN)


def test_nothing_holds_up_a_run_that_has_ended() -> None:
    run = Machine(flow(task("a", effect=Effect.ONCE), task("b")))
    run.start("a")
    run.feed(ev.TaskLost, task="a", attempt=1)
    run.fail("b")
    assert run.of("a") == "unknown_outcome"
    assert list_reasons(run.state) == []


def test_queued() -> None:
    run = Machine(flow(task("a"), task("b", "a")), start=False)
    assert list_reasons(run.state) == [
        Reason(
            task=name,
            kind=ReasonKind.RUN,
            detail="the run is queued, because all run slots are in use",
            unblock="a run slot is free",
            since=START,
        )
        for name in ("a", "b")
    ]


def test_dependency() -> None:
    run = Machine(flow(task("a"), task("b"), task("c", "a", "b"), task("z")))
    run.succeed("a")
    run.start("b")
    assert only(run, "c") == Reason(
        task="c",
        kind=ReasonKind.DEPENDENCY,
        detail="the task waits for 'b' (running)",
        since=START,
        unblock="task 'b' has ended",
    )


@pytest.mark.parametrize(("count", "more"), [(5, ""), (6, " and 1 more"), (9, " and 4 more")])
def test_many_dependencies(count: int, more: str) -> None:
    names = [f"t{n}" for n in range(count)]
    run = Machine(flow(*map(task, names), task("end", *names)))
    shown = ", ".join(f"'{name}' (ready)" for name in names[:5])
    assert only(run, "end").detail == f"the task waits for {shown}{more}"
    assert only(run, "end").unblock == "all these tasks have ended"


def test_call() -> None:
    run = Machine(flow(task("a", agent="x"), task("z")))
    run.now += 7
    run.start("a")
    assert only(run, "a") == Reason(
        task="a",
        kind=ReasonKind.CALL,
        detail="attempt 1 is running on agent 'x'",
        since=START + 7,
        unblock="the agent has replied, or the call has timed out",
    )


def test_timer() -> None:
    run = Machine(flow(task("a"), task("z")))
    fault = Fault(
        kind="rate_limited", message="slow down", retry_after=12.5, class_=FaultClass.UNKNOWN
    )
    run.fail("a", fault)
    run.now += 10 * SECOND
    run.start("z")
    assert only(run, "a") == Reason(
        task="a",
        kind=ReasonKind.RATE_LIMIT,
        detail="attempt 1 failed: slow down (it may have acted)",
        unblock="the next attempt is due, in 2.5 s",
        until=START + 12_500_000,
        since=START,
    )
    run.now += 10 * SECOND
    run.succeed("z")
    assert only(run, "a").unblock == "the next attempt is due, in 0.0 s"


def test_blocked() -> None:
    run = Machine(flow(task("a")))
    run.feed(ev.TaskBlocked, task="a", reason="agent", detail="bring x")
    assert only(run, "a") == Reason(
        task="a",
        kind=ReasonKind.AGENT,
        detail="bring x",
        since=START,
        unblock="the agent is available and the run is resumed: agenthive resume r",
    )


def test_unknown_outcome() -> None:
    run = Machine(flow(task("a", effect=Effect.ONCE)))
    run.fail("a", FAULT)
    assert only(run, "a") == Reason(
        task="a",
        kind=ReasonKind.OUTCOME,
        since=START,
        unblock="you have found out whether it acted, and recorded the outcome: "
        "agenthive resolve r a --succeeded, --failed or --retry",
        detail="the call may or may not have acted, and must not act twice; it ended with: gone",
    )


def test_slot_and_breaker() -> None:
    run = Machine(flow(task("a", agent="x")))
    slot = Reason(
        task="a",
        kind=ReasonKind.SLOT,
        detail="the task waits for a free slot",
        since=START,
        unblock="another call has ended",
    )
    assert (
        list_reasons(run.state)
        == list_reasons(run.state, {})
        == list_reasons(run.state, {"custom custom://y": 5})
        == [slot]
    )
    assert list_reasons(run.state, {"custom custom://x": 5}) == [
        Reason(
            task="a",
            kind=ReasonKind.BREAKER,
            until=5,
            since=START,
            detail="the circuit breaker of agent 'x' is open",
            unblock="a probe call has succeeded",
        )
    ]


def test_a_journal_that_takes_nothing_holds_up_all_but_who_waits_for_others() -> None:
    run = Machine(flow(task("a"), task("b", "a"), task("c")))
    run.start("a")
    kinds = {one.task: one.kind for one in list_reasons(run.state, store_error="the disk is full")}
    assert kinds == {"a": ReasonKind.STORE, "b": ReasonKind.DEPENDENCY, "c": ReasonKind.STORE}
    one = only(run, "c", store_error="the disk is full")
    assert (one.detail, one.until) == ("the disk is full", None)
    assert one.unblock.startswith("you have freed space for the journal")
