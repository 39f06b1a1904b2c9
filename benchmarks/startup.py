"""How soon commands are there, as multiples of `python -c pass`, in one run.

    python3 x.py bench startup [--rounds 11]

Interleaved rounds, medians. `first_task` is the time from the start of `agenthive run` to the first
call of its first agent. One JSON line.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

WORKFLOW = """
agenthive: 1
name: startup
agents: [{name: clock, type: custom, endpoint: "custom://clock"}]
tasks: [{name: first, agent: clock, action: look}]
"""
AGENTS = """
import pathlib, time
async def clock():
    pathlib.Path(__file__).with_name("at").write_text(str(time.monotonic()))
AGENTS = {"clock": clock}
"""
CLI = "from agenthive.cli import main; main()"


def timed(*words: str, folder: Path) -> float:
    """Seconds that a command takes."""
    began = time.perf_counter()
    subprocess.run(words, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - began


def first_task(folder: Path) -> float:
    """Seconds until the first agent is called."""
    began = time.monotonic()
    words = ("run", "w.yaml", "--agents", "agents.py", "--home", "home", "--quiet")
    subprocess.run([sys.executable, "-c", CLI, *words], cwd=folder, check=True, capture_output=True)
    return float((folder / "at").read_text()) - began


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    rounds = parser.parse_args().rounds
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "w.yaml").write_text(WORKFLOW)
        (folder / "agents.py").write_text(AGENTS)
        first_task(folder)
        python = sys.executable
        for _ in range(rounds):
            found.setdefault("pass", []).append(timed(python, "-c", "pass", folder=folder))
            spent = timed(python, "-c", "import agenthive", folder=folder)
            found.setdefault("import", []).append(spent)
            spent = timed(python, "-c", CLI, "--help", folder=folder)
            found.setdefault("help", []).append(spent)
            found.setdefault("first_task", []).append(first_task(folder))
    middle = {what: median(times) for what, times in found.items()}
    row = {f"{what}_ms": round(seconds * 1000, 1) for what, seconds in middle.items()}
    for what in ("import", "help", "first_task"):
        row[f"{what}_ratio"] = round(middle[what] / middle["pass"], 1)
    print(json.dumps(row))


if __name__ == "__main__":
    main()
