"""The tests of reported numbers find the bugs in `plants/`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.planted.bugs import Bug, list_bugs
from tests.planted.by_tests import hunt_by_tests, read_found

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parent / "plants"
TESTS = (
    "tests/agents/test_usage.py",
    "tests/agents/test_usage_booked.py",
    "tests/agents/test_cost_risks.py",
    "tests/core/test_ledger.py",
    "tests/core/test_replies.py",
)


@pytest.mark.parametrize("bug", list_bugs(FOLDER), ids=lambda bug: str(bug.name))
def test_a_planted_bug_is_found(bug: Bug) -> None:
    assert hunt_by_tests(bug, TESTS, read_found(FOLDER).get(bug.name)), bug.sentence
