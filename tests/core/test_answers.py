"""Answers that come late: what they used is booked once, for a bounded number of calls."""

from __future__ import annotations

import pytest

from agenthive.core.engine import reply_outcome
from agenthive.core.engine.reply_outcome import LateUsage, UnsettledCall
from agenthive.core.journal import run_events as ev
from agenthive.core.model.calls import Usage
from tests.core.rig import Machine, flow, task

SCOPES = ("run r",)
USED = Usage(model="m", cost=1)


def ended(*names: str) -> Machine:
    """A run whose calls were all lost, in the order of their names."""
    run = Machine(flow(*map(task, names)))
    for name in names:
        run.start(name)
        run.feed(ev.TaskLost, task=name, attempt=1)
    return run


def keep(unpaid: LateUsage, *names: str) -> None:
    state = ended(*names).state
    unpaid.remember_calls(state, dict.fromkeys(state.unpaid, SCOPES))


def test_settled_once() -> None:
    unpaid = LateUsage()
    keep(unpaid, "a", "b")
    fact = ev.UsageAfterEnd(at=5, run="r", task="a", attempt=1, usage=USED)
    assert unpaid.settle_call(5, "r", "a", 1, None) is None
    assert unpaid.settle_call(5, "r", "a", 1, USED) == (fact, UnsettledCall(SCOPES, 0))
    assert unpaid.settle_call(5, "r", "a", 1, USED) is None
    for call in (("r", "b", 2), ("x", "b", 1), ("r", "x", 1)):
        assert unpaid.settle_call(5, *call, USED) is None
    assert unpaid.settle_call(5, "r", "b", 1, USED) is not None


def test_the_oldest_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reply_outcome.MAX_UNSETTLED_CALLS == 10_000
    monkeypatch.setattr(reply_outcome, "MAX_UNSETTLED_CALLS", 2)
    unpaid = LateUsage()
    keep(unpaid, "a", "b", "c")
    owed = [name for name in "abc" if unpaid.settle_call(5, "r", name, 1, USED)]
    assert owed == ["b", "c"]
