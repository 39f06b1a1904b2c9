"""The tests of how answers end, and of what a budget cannot bound, find the bugs planted here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.planted.bugs import Bug, list_bugs
from tests.planted.by_tests import hunt_by_tests, read_found

pytestmark = pytest.mark.slow
"""Each test runs others in a process of its own."""

FOLDER = Path(__file__).parent / "ending_plants"
TESTS = ("tests/agents/test_endings.py", "tests/agents/test_cost_risks.py")


@pytest.mark.parametrize("bug", list_bugs(FOLDER), ids=lambda bug: str(bug.name))
def test_a_planted_bug_is_found(bug: Bug) -> None:
    assert hunt_by_tests(bug, TESTS, read_found(FOLDER).get(bug.name)), bug.sentence
