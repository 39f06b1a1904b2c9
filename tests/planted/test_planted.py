"""Every planted bug is caught by the simulator within 1,000 seeds; sound code by none of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.planted import patches
from tests.planted.run import hunt

SEEDS = 1000


@pytest.mark.parametrize("patch", patches.planted(), ids=lambda patch: patch.stem)
def test_caught(patch: Path) -> None:
    verdict = hunt(patch, SEEDS)
    assert verdict.seed is not None, f"not caught within {SEEDS} seeds"
    assert verdict.told


def test_there_are_enough() -> None:
    assert len(patches.planted()) >= 30


def test_no_bug_is_planted_in_the_simulator_or_its_judge(tmp_path: Path) -> None:
    for patch in patches.planted():
        root = tmp_path / patch.stem
        patches.copy_with(None, root)
        for name in patches.apply(patch, root):
            assert "simulat" not in name
            assert "testing" not in name


def test_a_patch_that_does_not_fit_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("one\ntwo\n")
    patch = tmp_path / "x.patch"
    patch.write_text("Why.\n--- a/a.py\n+++ b/a.py\n@@ -1,2 +1,2 @@\n one\n-two\n+three\n")
    assert patches.apply(patch, tmp_path) == ["a.py"]
    assert (tmp_path / "a.py").read_text() == "one\nthree\n"
    with pytest.raises(patches.Stale, match="stand there 0 times"):
        patches.apply(patch, tmp_path)
    patch.write_text("Nothing.\n")
    with pytest.raises(patches.Stale, match="no file to change"):
        patches.apply(patch, tmp_path)
