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
WHAT = "random workflows and faults on virtual time, one simulated hive a seed"
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
    return simulations(ROW, units, list_bugs(), [(units, ())], say)


def simulations(
    row: str,
    units: range,
    bugs: Iterable[Bug],
    parts: Iterable[tuple[range, tuple[str, ...]]],
    say: Say,
) -> Result:
    """The bugs hunted, then the parts simulated: seeds, and the simulator's options for them."""
    began = time.monotonic()
    caught = hunts(row, bugs, say)
    started = time.monotonic()
    told: list[tuple[dict[str, Any], list[str]]] = []
    with ThreadPoolExecutor(jobs()) as pool:
        for seeds, options in parts:
            pieces = ranges.chunks(seeds, PIECE)
            for one in pool.map(partial(simulated, more=options), pieces):
                told.append(one)
                say(f"{sum(t['seeds'] for t, _ in told):,} of {len(units):,} seeds")
    took = time.monotonic() - started
    sums = {name: sum(t[name] for t, _ in told) for name in ("tasks", "crashes", "events")}
    count = sum(t["seeds"] for t, _ in told)
    return Result(
        row=row,
        first=units.start,
        last=units.stop,
        count=count,
        violations=[line for _, lines in told for line in lines],
        planted=caught,
        figures=sums | {"seeds a second": round(count / took, 1)},
        seconds=round(time.monotonic() - began, 1),
    )


def simulated(seeds: range, more: tuple[str, ...] = ()) -> tuple[dict[str, Any], list[str]]:
    """What the simulator said of these seeds, in a process of its own."""
    words = ["-m", "tests.fuzz.campaign", "--seeds", f"{seeds.start}:{seeds.stop}"]
    env = dict(os.environ, PYTHONPATH=str(sources.ROOT / "src"))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *words, *more, "--stop-after", str(len(seeds))],
        env=env, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode not in (0, 1) or not done.stdout:
        raise RuntimeError(f"the simulator broke at {seeds}:\n{done.stderr[-2000:]}")
    summary, *lines = done.stdout.splitlines()
    return json.loads(summary), lines


def hunts(row: str, bugs: Iterable[Bug], say: Say) -> dict[str, int | None]:
    """Each planted bug, and the first seed that fails for it."""
    known = records.planted(row, sources.harness())
    found = {}
    for bug in bugs:
        found[bug.name] = known.get(bug.name)
        if found[bug.name] is None:
            say(f"looking for {bug.name}")
            found[bug.name] = hunt(bug, WITHIN).seed
    return found
