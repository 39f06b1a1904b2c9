"""Simulations that once failed, out of a million; each stands for a bug that few seeds show."""

from __future__ import annotations

import pytest

from tests.fuzz.campaign import simulate_seed

SEEDS = {
    "a compensation was resolved, and ended a second time": (37362, 130428),
    "what had acted was not undone, as that was known late": (28518, 65842, 80251),
    "who was cancelled was said to wait for an agent": (54791, 71877),
    "slots that a refused run had held were offered to nobody": (174363, 463672, 513591, 675210),
    "the judge counted an answer to an older question": (52750,),
    "planned times were lost after the clock was set back": (1525, 3092, 7895),
    "the judge counted the planned times of an earlier rule": (10106,),
    "the judge did not know that a hundred losses are enough": (242155, 556738),
}


@pytest.mark.parametrize("seed", [seed for seeds in SEEDS.values() for seed in seeds])
def test_seeds_that_failed_once(seed: int) -> None:
    assert simulate_seed(seed).violations == []
