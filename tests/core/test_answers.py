"""Answers that come late: what they used is booked once, for a bounded number of calls."""

from __future__ import annotations

import pytest

from agenthive.core import answers
from agenthive.core import events as ev
from agenthive.core.answers import Unpaid
from agenthive.core.ports import Usage
from tests.core.rig import Machine, flow, task

USED = Usage(model="m", cost=1)


def ended(*names: str) -> Machine:
    """A run whose calls were all lost, in the order of their names."""
    run = Machine(flow(*map(task, names)))
    for name in names:
        run.start(name)
        run.feed(ev.TaskLost, task=name, attempt=1)
    return run


def test_settled_once() -> None:
    unpaid = Unpaid()
    unpaid.keep(ended("a", "b").state)
    fact = ev.UsageAfterEnd(at=5, run="r", task="a", attempt=1, usage=USED)
    assert unpaid.settle(5, "r", "a", 1, None) == []
    assert unpaid.settle(5, "r", "a", 1, USED) == [fact]
    assert unpaid.settle(5, "r", "a", 1, USED) == []
    for call in (("r", "b", 2), ("x", "b", 1), ("r", "x", 1)):
        assert unpaid.settle(5, *call, USED) == []
    assert unpaid.settle(5, "r", "b", 1, USED) != []


def test_the_oldest_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    assert answers.MOST == 10_000
    monkeypatch.setattr(answers, "MOST", 2)
    unpaid = Unpaid()
    unpaid.keep(ended("a", "b", "c").state)
    owed = [name for name in "abc" if unpaid.settle(5, "r", name, 1, USED)]
    assert owed == ["b", "c"]
