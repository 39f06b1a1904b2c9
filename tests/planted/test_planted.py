"""Every planted bug is caught by the simulator within 1,000 seeds, and none is in the simulator."""

from __future__ import annotations

import pytest

from tests.planted.bugs import Bug, find_bug, list_bugs
from tests.planted.run import hunt, read_seeds

pytestmark = pytest.mark.slow
"""Most of its tests take more than a second."""

SEEDS = 1000


@pytest.mark.parametrize("bug", list_bugs(), ids=lambda bug: bug.name)
def test_caught(bug: Bug) -> None:
    verdict = hunt(bug, SEEDS, read_seeds().get(bug.name))
    assert verdict.seed is not None, f"not caught within {SEEDS} seeds"
    assert verdict.violation


def test_the_seeds_that_are_tried_first_are_among_them() -> None:
    """What they catch is no fault of the sound code: that passes all of these seeds."""
    seeds = read_seeds()
    assert set(seeds) <= {bug.name for bug in list_bugs()}
    assert all(0 <= seed < SEEDS for seed in seeds.values())


def test_a_seed_that_is_out_of_date_costs_time_only() -> None:
    bug = find_bug("act_before_intent")
    seed = read_seeds()[bug.name]
    sound = next(number for number in range(SEEDS) if number != seed)
    assert hunt(bug, SEEDS, sound).seed == seed == hunt(bug, SEEDS, seed).seed


def test_there_are_enough() -> None:
    assert len(list_bugs()) >= 30


def test_no_bug_is_planted_in_the_simulator_or_its_judge() -> None:
    modules = {change.module for bug in list_bugs() for change in bug.changes}
    assert all(module.startswith("agenthive.") for module in modules)
    assert not {module for module in modules if "simulat" in module or "testing" in module}
