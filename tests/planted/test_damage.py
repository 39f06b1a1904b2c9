"""Bugs about damaged runs and files are planted; the tests of that subject catch each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.planted.bugs import copy_with_bug, find_bug

ROOT = Path(__file__).parents[2]
CATCHERS = {
    "decode_before_it_is_verified": "tests/queries/test_damage.py",
    "damage_stops_recovery": "tests/queries/test_damage.py",
    "unwritable_run_stops_all": "tests/core/test_set_apart.py",
    "holds_are_freed": "tests/core/test_set_apart.py",
    "any_log_is_applied": "tests/stores/test_journal_file.py",
}


@pytest.mark.slow
@pytest.mark.parametrize("bug", [None, *CATCHERS])
def test_each_bug_is_caught(bug: str | None, tmp_path: Path) -> None:
    source = copy_with_bug(None if bug is None else find_bug(bug), tmp_path)
    files = sorted({*CATCHERS.values()}) if bug is None else [CATCHERS[bug]]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *files],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(source), str(ROOT)])},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == (bug is not None), done.stdout
