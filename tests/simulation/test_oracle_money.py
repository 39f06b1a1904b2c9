"""The judge of money is judged: sound books pass, and each fault in them is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agenthive.simulation.case import SimulationCase
from agenthive.simulation.oracles.budget import BUDGET_CHECKS

SCOPES = ("agent default/x", "run r", "tenant default", "day default/0")
Batch = list[tuple[str, dict[str, Any]]]


def started(task: str, attempt: int = 1, **more: Any) -> tuple[str, dict[str, Any]]:
    event = {"type": "task.started", "at": 5, "task": task, "attempt": attempt, "agent": "x"}
    return "r", event | more


def succeeded(task: str, cost: int, attempt: int = 1) -> tuple[str, dict[str, Any]]:
    event = {"type": "task.succeeded", "at": 6, "task": task, "attempt": attempt}
    return "r", event | {"usage": {"cost": cost}}


def failed(task: str, fault_class: str, attempt: int = 1) -> tuple[str, dict[str, Any]]:
    fault = {"kind": "some", "class": fault_class}
    return "r", {"type": "task.failed", "task": task, "attempt": attempt, "fault": fault}


def about(kind: str, task: str, **more: Any) -> tuple[str, dict[str, Any]]:
    return "r", {"type": kind, "task": task, "attempt": 1} | more


def hive(kind: str, **more: Any) -> tuple[str, dict[str, Any]]:
    return "hive", {"type": f"hive.{kind}", "run": "r"} | more


def case(*batches: Batch, captured: int, held: int = 0, limit: int | None = None) -> SimulationCase:
    found = SimulationCase({"r": {"name": "w", "agents": [{"name": "x"}], "tasks": []}}, [])
    found.specs["r"]["budget"] = {} if limit is None else {"limit": limit}
    found.journal["r"] = [event for batch in batches for of, event in batch if of == "r"]
    found.durable_at["r"] = [0] * len(found.journal["r"])
    found.journal["r"].insert(0, {"type": "run.submitted", "at": 1})
    found.durable_at["r"].insert(0, 0)
    found.batches = list(batches)
    found.accounts = [{"scope": name, "captured": captured, "held": held} for name in SCOPES]
    return found


def lines(found: SimulationCase) -> list[str]:
    return [line for check in BUDGET_CHECKS for line in check(found)]


SOUND: dict[str, SimulationCase] = {
    "paid": case([started("a", hold=10)], [succeeded("a", 4)], captured=4, limit=10),
    "under way": case([started("a", hold=10)], captured=0, held=10, limit=10),
    "in doubt": case([started("a", hold=10)], [failed("a", "unknown")], captured=0, held=10),
    "in vain": case([started("a", hold=10)], [failed("a", "refused")], captured=0),
    "not sent": case([started("a", hold=10)], [failed("a", "not_sent")], captured=0),
    "a bad end": case([started("a", hold=10)], [failed("a", "bad_end")], captured=10),
    "late": case(
        [started("a", hold=10)],
        [failed("a", "unknown")],
        [about("task.late_reply", "a", usage={"cost": 3})],
        captured=3,
    ),
    "not made": case(
        [started("a", hold=10)], [about("task.cancelled", "a", unmade=True)], captured=0
    ),
    "settled": case([started("a", hold=10)], [about("task.hold_settled", "a", cost=7)], captured=7),
    "closed": case([started("a", hold=10)], [hive("run_closed")], captured=10),
    "after the end": case(
        [started("a", hold=10)],
        [hive("run_closed")],
        [hive("usage_after_end", task="a", attempt=1, booked=10, usage={"cost": 2})],
        captured=2,
    ),
    "taken over": case(
        [started("a", hold=10)],
        [started("a", 2, hold=10, over=[1])],
        [failed("a", "refused", 2)],
        captured=0,
        held=10,
        limit=10,
    ),
    "dearer than declared": case(
        [started("a", hold=10)],
        [succeeded("a", 14)],
        [started("b", hold=1)],
        captured=14,
        held=1,
        limit=11,
    ),
    "raised": case(
        [started("a", hold=10)],
        [hive("budget_set", scope="run r", limit=20)],
        [started("b", hold=10)],
        captured=0,
        held=20,
        limit=10,
    ),
    "free": case([started("a")], [succeeded("a", 0)], captured=0),
}


@pytest.mark.parametrize("name", SOUND)
def test_sound_books_pass(name: str) -> None:
    assert lines(SOUND[name]) == []


def test_what_has_no_money_is_not_looked_at() -> None:
    found = case(captured=1)
    assert lines(found) == []


BROKEN: list[tuple[str, Callable[[], SimulationCase]]] = [
    (
        "run r has 20 of 15",
        lambda: case([started("a", hold=10), started("b", hold=10)], captured=0, held=20, limit=15),
    ),
    (
        "run r has 11 of 10",
        lambda: case(
            [started("a", hold=10)],
            [succeeded("a", 10)],
            [started("b", hold=1)],
            captured=10,
            held=1,
            limit=10,
        ),
    ),
    (
        "the account says (8, 0), the journal (4, 0)",
        lambda: case([started("a", hold=10)], [succeeded("a", 4)], captured=8),
    ),
    (
        "the account says (4, 10), the journal (4, 0)",
        lambda: case([started("a", hold=10)], [succeeded("a", 4)], captured=4, held=10),
    ),
    (
        "settled, but there is no hold",
        lambda: case([started("a")], [about("task.hold_settled", "a", cost=0)], captured=0),
    ),
    (
        "10 was booked at the end, not 0",
        lambda: case(
            [started("a")],
            [hive("run_closed")],
            [hive("usage_after_end", task="a", attempt=1, booked=10, usage={"cost": 0})],
            captured=0,
        ),
    ),
    (
        "has a negative balance",
        lambda: case([started("a", hold=1)], [succeeded("a", -5)], captured=-5),
    ),
]


@pytest.mark.parametrize(("says", "make"), BROKEN, ids=[says for says, _ in BROKEN])
def test_broken_books_are_found(says: str, make: Callable[[], SimulationCase]) -> None:
    assert any(says in line for line in lines(make())), lines(make())


def test_more_that_was_charged_than_booked_is_found() -> None:
    found = case([started("a", hold=10)], [failed("a", "refused")], captured=0)
    found.charges = {("r", "a", 1): 5}
    assert lines(found) == ["5 was charged, 0 is booked"]
    found.charges = {("r", "never recorded", 1): 5}
    assert lines(found) == []


def test_a_call_before_its_hold_is_on_disk_is_found() -> None:
    found = case([started("a", hold=10)], captured=0, held=10)
    call = {"run": "r", "task": "a", "attempt": 1, "agent": "x"}
    found.observations.append((1, "called", call))
    assert lines(found) == []
    found.durable_at["r"][1] = 1
    assert lines(found) == ["r/a: called before its hold was on disk"]
    call["agent"] = "y"
    assert lines(found) == [], "of a turn that was lost, in the same place"


def test_limits_stand_at_every_scope() -> None:
    found = case([started("a", hold=10)], captured=0, held=10)
    for name, limit in (("tenant", 9), ("day", 8), ("agent x", 7)):
        found.limits = {name: limit}
        assert any(f"has 10 of {limit}" in line for line in lines(found)), name
    found.limits = {"day": 100}
    found.batches.insert(0, [hive("budget_set", scope="day default", limit=5)])
    assert any("day default/0 has 10 of 5" in line for line in lines(found))


def test_tasks_and_agents_and_runs_above() -> None:
    found = case([started("a[0]", hold=10)], captured=0, held=10)
    found.specs["r"] |= {
        "agents": [{"name": "x", "cost_limit": 6}],
        "tasks": [{"name": "a", "cost_limit": 5}],
    }
    found.specs["p"] = {"agents": [], "tasks": [{"name": "sub", "cost_limit": 4}], "budget": {}}
    found.journal["r"][0]["parent"] = {"run": "p", "task": "sub"}
    found.journal["p"] = [{"type": "run.submitted", "at": 1}]
    told = " ".join(lines(found))
    for line in (
        "run r task a has 10 of 5",
        "run r agent x has 10 of 6",
        "run p task sub has 10 of 4",
        "run p: the account says (0, 0)",
    ):
        assert line in told, line
