"""Every planted bug is caught by the simulator within 1,000 seeds, and none is in the simulator."""

from __future__ import annotations

import pytest

from tests.planted.bugs import Bug, list_bugs
from tests.planted.run import hunt

pytestmark = pytest.mark.slow
"""Most of its tests take more than a second."""

SEEDS = 1000


@pytest.mark.parametrize("bug", list_bugs(), ids=lambda bug: bug.name)
def test_caught(bug: Bug) -> None:
    verdict = hunt(bug, SEEDS)
    assert verdict.seed is not None, f"not caught within {SEEDS} seeds"
    assert verdict.violation


def test_there_are_enough() -> None:
    assert len(list_bugs()) >= 30


def test_no_bug_is_planted_in_the_simulator_or_its_judge() -> None:
    modules = {change.module for bug in list_bugs() for change in bug.changes}
    assert all(module.startswith("agenthive.") for module in modules)
    assert not {module for module in modules if "simulat" in module or "testing" in module}
