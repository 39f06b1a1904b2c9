"""The judge of rate limits is judged: what is within them passes, what is not is found."""

from __future__ import annotations

from typing import Any

import pytest

from agenthive.simulation.case import SimulationCase
from agenthive.simulation.oracles.rate_limits import HOUR, MINUTE, RATE_LIMIT_CHECKS

WHERE = "custom custom://x"


def case(times: list[int], *, minute: int | None = None, hour: int | None = None) -> SimulationCase:
    found = SimulationCase(
        {"r": {"agents": [{"name": "x", "type": "custom", "endpoint": "custom://x"}]}}, []
    )
    found.journal["r"] = [
        {"type": "task.started", "at": at, "task": "t", "agent": "x", "attempt": 1} for at in times
    ]
    found.rates = {WHERE: (minute, hour, None)}
    return found


def lines(found: SimulationCase) -> list[str]:
    return [line for check in RATE_LIMIT_CHECKS for line in check(found)]


@pytest.mark.parametrize(
    ("times", "limits", "wrong"),
    [
        ([0, 1, 2], {}, False),
        (list(range(11)), {"minute": 10}, False),
        (list(range(12)), {"minute": 10}, True),
        ([0, 1, MINUTE], {"minute": 1}, False),
        ([0, 1, MINUTE - 5], {"minute": 1}, True),
        ([0, 1, MINUTE, HOUR - 5], {"hour": 2}, True),
        ([0, 1, MINUTE, HOUR], {"hour": 2}, False),
    ],
)
def test_windows(times: list[int], limits: dict[str, Any], wrong: bool) -> None:
    assert bool(lines(case(times, **limits))) is wrong


def test_other_addresses_do_not_count() -> None:
    found = case(list(range(50)), minute=1)
    found.rates = {"custom custom://y": (1, None, None)}
    assert lines(found) == []


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"kind": "rate_limited"}, ""),
        ({"kind": "rate_limited", "retry_after": 2.0}, ""),
        ({"kind": "overloaded", "retry_after": 3.0}, "retried too soon"),
        ({"kind": "timeout"}, "timeout postponed a call"),
    ],
)
def test_pauses(fault: dict[str, Any], says: str) -> None:
    found = case([])
    found.journal["r"] = [
        {"type": "task.failed", "task": "t", "attempt": 1, "fault": fault, "pause": 2_000_000}
    ]
    assert [line for line in lines(found) if says in line] == lines(found)
    assert bool(lines(found)) is bool(says)
