"""What the scopes of budgets are called, and where their limits are written."""

from __future__ import annotations

import pytest

from agenthive.core.budget.scopes import find_file_limit, run_of, shared_scope
from agenthive.core.model.workflow import BudgetSpec
from agenthive.core.values import format_dollars, to_nano_usd
from tests.core.rig import agent, flow, task

SPEC = flow(
    task("a b", agent="x", cost_limit=5),
    agents=[agent("x", cost_limit=6)],
    budget=BudgetSpec(limit=7),
)
LIMITS = {"tenant": 1, "day": 2, "agent x y": 3}


@pytest.mark.parametrize(
    ("scope", "run", "limit"),
    [
        ("run r", "r", 7),
        ("run r task a b", "r", 5),
        ("run r agent x", "r", 6),
        ("run r task other", "r", None),
        ("agent default/x y", "", 3),
        ("agent default/other", "", None),
        ("tenant default", "", 1),
        ("day default", "", 2),
        ("day default/20000", "", 2),
    ],
)
def test_a_scope_says_whose_it_is(scope: str, run: str, limit: int | None) -> None:
    assert run_of(scope) == run
    assert find_file_limit(scope, SPEC, LIMITS) == limit


def test_what_no_file_says() -> None:
    assert find_file_limit("run r", None, LIMITS) is None
    assert find_file_limit("run r", flow(task("a")), LIMITS) is None


def test_what_settings_call_a_scope() -> None:
    names = [shared_scope("tenant"), shared_scope("day", "t"), shared_scope("agent x y")]
    assert names == ["tenant default", "day t", "agent default/x y"]


def test_amounts() -> None:
    assert [format_dollars(one) for one in (0, 50, 1_500_000_000, -(10**13))] == [
        "$0.00",
        "$0.00000005",
        "$1.50",
        "-$10,000.00",
    ]
    assert (to_nano_usd(0.1), to_nano_usd(1e-10), to_nano_usd(1e-10, up=True)) == (
        100_000_000,
        0,
        1,
    )
