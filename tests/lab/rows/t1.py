"""T1: the simulator over many seeds, and every planted bug beside it.

Each seed is a hive of random workflows on virtual time in which everything goes wrong; the judge is
`agenthive.simulation.oracles.judge`. Bugs that the same code has caught before in the same sources
are not hunted again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from tests.lab import ranges, records, sources
from tests.lab.result import Result, Say, jobs
from tests.planted.bugs import Bug, list_bugs
from tests.planted.run import hunt

ROW = "T1"
WHAT = "random workflows and faults on virtual time, one simulated home per seed"
GATE = range(10_000)
NIGHTLY = range(1_000_000)
UNIT = "seeds"
CHUNK = 10_000
WITHIN = 1_000
"""Seeds within which a planted bug must be caught."""
PIECE = 1_000
"""Seeds of one process."""


def run(units: range, *, say: Say) -> Result:
    """Simulate these seeds."""
    return run_simulations(ROW, units, list_bugs(), [(units, ())], say)


def run_simulations(
    row: str,
    units: range,
    bugs: Iterable[Bug],
    parts: Iterable[tuple[range, tuple[str, ...]]],
    say: Say,
) -> Result:
    """The bugs hunted, then the parts simulated: seeds, and the simulator's options for them."""
    start = time.monotonic()
    caught = hunt_bugs(row, bugs, say)
    started = time.monotonic()
    results: list[tuple[dict[str, Any], list[str]]] = []
    with ThreadPoolExecutor(jobs()) as pool:
        for seeds, options in parts:
            pieces = ranges.split_range(seeds, PIECE)
            for outcome in pool.map(partial(simulate_seeds, options=options), pieces):
                results.append(outcome)
                say(f"{sum(summary['seeds'] for summary, _ in results):,} of {len(units):,} seeds")
    elapsed = time.monotonic() - started
    sums = {
        name: sum(summary[name] for summary, _ in results)
        for name in ("tasks", "crashes", "events")
    }
    count = sum(summary["seeds"] for summary, _ in results)
    return Result(
        row=row,
        first=units.start,
        last=units.stop,
        count=count,
        violations=[line for _, lines in results for line in lines],
        planted=caught,
        figures=sums | {"seeds a second": round(count / elapsed, 1)},
        seconds=round(time.monotonic() - start, 1),
    )


def simulate_seeds(seeds: range, options: tuple[str, ...] = ()) -> tuple[dict[str, Any], list[str]]:
    """What the simulator said of these seeds, in a process of its own."""
    command = ["-m", "tests.fuzz.campaign", "--seeds", f"{seeds.start}:{seeds.stop}"]
    env = dict(os.environ, PYTHONPATH=str(sources.ROOT / "src"))
    process = subprocess.run(
        [sys.executable, "-W", "ignore", *command, *options, "--stop-after", str(len(seeds))],
        env=env,
        capture_output=True,
        text=True,
    )
    if process.returncode not in (0, 1) or not process.stdout:
        raise RuntimeError(f"the simulator broke at {seeds}:\n{process.stderr[-2000:]}")
    summary, *lines = process.stdout.splitlines()
    return json.loads(summary), lines


def hunt_bugs(row: str, bugs: Iterable[Bug], say: Say) -> dict[str, int | None]:
    """Each planted bug, and the first seed that fails for it."""
    caught_before = records.caught_bugs(row, sources.harness_digest())
    caught = {}
    for bug in bugs:
        caught[bug.name] = caught_before.get(bug.name)
        if caught[bug.name] is None:
            say(f"looking for {bug.name}")
            caught[bug.name] = hunt(bug, WITHIN).seed
    return caught
