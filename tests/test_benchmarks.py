"""Every benchmark runs to its end, as small as it goes. What they measure is not looked at here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
SMALL = {
    "dags": "",
    "engine": "--rounds 1 --no-peers --shapes chain",
    "flow": "--size 100 --rounds 1",
    "limits": "--seeds 1 --rounds 1",
    "money": "--trials 1",
    "plan": "--workflows 2",
    "restart": "--rounds 1 --records 2000 --gc 50",
    "scale": "--only parked --parked 50 --margin 2",
    "startup": "--rounds 1",
}


def test_all_are_here() -> None:
    files = [file.stem for file in FOLDER.glob("*.py") if not file.stem.startswith("_")]
    names = {name for name in files if not name.endswith("_worker")}
    assert names == set(SMALL)


@pytest.mark.parametrize("name", SMALL)
def test_it_runs(name: str, tmp_path: Path) -> None:
    command = [sys.executable, str(FOLDER / f"{name}.py"), *SMALL[name].split()]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout
    assert '"wrong"' not in done.stdout
