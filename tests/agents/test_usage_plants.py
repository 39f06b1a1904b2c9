"""The tests of reported numbers find the bugs in `plants/`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.planted.bugs import Bug, copy_with_bug, list_bugs

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TESTS = (
    "tests/agents/test_usage.py",
    "tests/agents/test_usage_booked.py",
    "tests/agents/test_cost_risks.py",
)
CORE_TESTS = ("tests/core/test_ledger.py", "tests/core/test_replies.py")


@pytest.mark.parametrize("bug", list_bugs(HERE / "plants"), ids=lambda bug: str(bug.name))
def test_a_planted_bug_is_found(bug: Bug, tmp_path: Path) -> None:
    source = copy_with_bug(bug, tmp_path)
    env = dict(os.environ, PYTHONPATH=f"{source}{os.pathsep}{ROOT}", PYTHONDONTWRITEBYTECODE="1")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    paths = CORE_TESTS if bug.changes[0].module.startswith("agenthive.core.") else TESTS
    done = subprocess.run([*command, *paths], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 1, f"{bug.sentence}\n{done.stdout[-2000:]}"
