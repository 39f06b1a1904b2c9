"""Every benchmark runs to its end, as small as it goes. What they measure is not looked at here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
"""Most of its tests take more than a second."""

FOLDER = Path(__file__).parents[1] / "benchmarks"
SMALL = {
    "dags": "",
    "engine": "--rounds 1 --no-peers --shapes chain --budgets off,tight --agents 3 --tasks 9",
    "flow": "--size 100 --rounds 1",
    "limits": "--seeds 1 --rounds 1",
    "money": "--trials 1",
    "plan": "--workflows 2",
    "restart": "--rounds 1 --records 2000 --gc 50",
    "scale": "--only parked --parked 50 --margin 2 --spread 1",
    "startup": "--rounds 1",
}


def test_all_are_here() -> None:
    files = [file.stem for file in FOLDER.glob("*.py") if not file.stem.startswith("_")]
    names = {name for name in files if not name.endswith("_worker")}
    assert names == set(SMALL)


def run_benchmark(name: str, arguments: str, folder: Path) -> str:
    """What a benchmark prints."""
    command = [sys.executable, str(FOLDER / f"{name}.py"), *arguments.split()]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", SMALL)
def test_it_runs(name: str, tmp_path: Path) -> None:
    printed = run_benchmark(name, SMALL[name], tmp_path)
    assert printed
    assert '"wrong"' not in printed


def test_counts_of_calls_agree(tmp_path: Path) -> None:
    """Two counts of the same code differ by less than 0.5 %, and a budget is seen in them."""
    arguments = "--counts-only --shapes chain,layered --effects any --agents 3 --tasks 30 "
    recorded = f"--recorded {tmp_path / 'counts.json'}"
    run_benchmark("engine", f"{arguments} {recorded} --record", tmp_path)
    printed = run_benchmark("engine", f"{arguments} {recorded}", tmp_path)
    rows = [json.loads(line) for line in printed.splitlines()]
    assert len(rows) == 4
    for row in rows:
        assert row["ratio_recorded"] == pytest.approx(1, abs=0.005)
        assert row["own_ratio_recorded"] == pytest.approx(1, abs=0.005)
        assert 0 < row["own_per_task"] < row["calls_per_task"]
    counts = {(row["shape"], row["budget"]): row["own_per_task"] for row in rows}
    for shape in ("chain", "layered"):
        assert counts[shape, "loose"] > counts[shape, "off"]


def test_recorded_counts_are_complete() -> None:
    recorded = json.loads((FOLDER / "calls_per_task.json").read_text())
    assert set(recorded) == {"commit", "python", "loop", "counts"}
    for shape in ("chain", "fanout", "layered", "many"):
        for budget in ("off", "loose", "tight"):
            for agents in (1, 100):
                for effect in ("none", "any"):
                    assert f"{shape} {effect} {budget} {agents}" in recorded["counts"]
