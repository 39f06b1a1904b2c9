"""The gates before a call are checked in the order that the docstring of `core.engine` gives.

Every gate notes when it is checked. Then each of them refuses in turn: the gates before it have
been checked, and those behind it have not.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from agenthive.core import engine
from agenthive.core.engine import ready_queue
from agenthive.core.engine.budgets import BudgetManager, MustWait
from agenthive.core.engine.rate_limits import RateLimitGates
from agenthive.core.engine.ready_queue import CLOSED_BY_BREAKER
from agenthive.core.engine.task_preparation import TaskPreparation
from agenthive.core.model.workflow import ApprovalSpec
from agenthive.core.policies.rate_limit import NotAdmitted, RateLimit
from tests.core.rig import Bench, agent, flow, task

DOCUMENTED = re.findall(r"^    gate (\d+)\. ([a-z ]+):", engine.__doc__ or "", re.MULTILINE)
GATES = [name for _, name in DOCUMENTED]
SPEC = flow(
    task("a", approval=ApprovalSpec(approvers=("ann",))),
    agents=[agent("a", max_cost=5, rate_limit=RateLimit(requests_per_minute=60))],
)


class Watch:
    """The gates in the order in which they were first checked; one of them may refuse."""

    def __init__(self, refusing: str = "") -> None:
        self.refusing = refusing
        self.checked: list[str] = []

    def note(self, gate: str) -> bool:
        """Note a check; whether the gate admits."""
        if gate not in self.checked:
            self.checked.append(gate)
        return gate != self.refusing

    def slots(self, gate: str) -> Slots:
        return Slots(gate, self)


class Slots(int):
    """A number of slots, ten or none, that notes when the used slots are compared with it."""

    gate: str
    watch: Watch

    def __new__(cls, gate: str, watch: Watch) -> Slots:
        slots = super().__new__(cls, 0 if gate == watch.refusing else 10)
        slots.gate, slots.watch = gate, watch
        return slots

    def __gt__(self, used: int) -> bool:
        self.watch.note(self.gate)
        return int(self) > used

    def __le__(self, used: int) -> bool:
        self.watch.note(self.gate)
        return int(self) <= used


def watch_gates(monkeypatch: pytest.MonkeyPatch, watch: Watch) -> Bench:
    """A bench in which all gates note their checks."""

    class WatchedLane(ready_queue.Lane):
        __slots__ = ()

        def __init__(self, name: str, capacity: int) -> None:
            super().__init__(name, watch.slots("agent slots"))
            if watch.refusing == "circuit breaker":
                self.closed_by = CLOSED_BY_BREAKER

        def __getattribute__(self, name: str) -> Any:
            if name == "closed_by":
                watch.note("circuit breaker")
            return super().__getattribute__(name)

    class WatchedShare(ready_queue.Share):
        __slots__ = ()

        def __init__(self, run: str, capacity: int, starts: int) -> None:
            super().__init__(run, watch.slots("task slots"), starts)

    monkeypatch.setattr(ready_queue, "Lane", WatchedLane)
    monkeypatch.setattr(ready_queue, "Share", WatchedShare)
    for owner, method, gate, refusal in (
        (TaskPreparation, "check_approval", "approval", False),
        (BudgetManager, "check_hold", "budget", MustWait("run r")),
        (RateLimitGates, "admit_call", "rate limit", NotAdmitted.FULL),
        (BudgetManager, "reserve_hold", "hold", None),
    ):
        watch_method(monkeypatch, watch, owner, method, gate, refusal)
    bench = Bench()
    bench.driver._engine.max_runs = watch.slots("run slots")
    bench.driver.queue.capacity = watch.slots("call slots")
    return bench


def watch_method(
    monkeypatch: pytest.MonkeyPatch, watch: Watch, owner: type, method: str, gate: str, refusal: Any
) -> None:
    check = getattr(owner, method)

    def watched(self: Any, *arguments: Any) -> Any:
        return check(self, *arguments) if watch.note(gate) else refusal

    monkeypatch.setattr(owner, method, watched)


def run_task(bench: Bench) -> None:
    bench.run(SPEC)
    if bench.status() != "queued":
        assert bench.approve("a") == ""


def test_documented_gates_are_numbered() -> None:
    assert [int(number) for number, _ in DOCUMENTED] == list(range(1, 9))


def test_an_admitted_task_passes_every_gate_and_then_reserves_its_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watch = Watch()
    bench = watch_gates(monkeypatch, watch)
    run_task(bench)
    assert watch.checked == [*GATES, "hold"]
    assert bench.open_calls() == ["r/a"]


@pytest.mark.parametrize("refusing", GATES)
def test_a_gate_that_refuses_ends_the_check(refusing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(refusing)
    bench = watch_gates(monkeypatch, watch)
    run_task(bench)
    assert watch.checked == GATES[: GATES.index(refusing) + 1]
    assert bench.open_calls() == []
