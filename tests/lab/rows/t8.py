"""T8: journals of every release are read by this one, later ones refused, and kill -9 at opening.

Of four units one reads a golden run, one meets a journal of another version (`versions.py`), one
kills a process while it makes a home, one while it opens the home that a killed process of an
earlier release left; what lives then must end all runs as they must end, for the oracle of T2.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

from tests.copies import make_environment
from tests.lab import golden, records, sources
from tests.lab.kills.server import KillTarget, start_target
from tests.lab.result import Result, Say, jobs
from tests.planted.bugs import Bug, copy_with_bug, find_bug

ROW = "T8"
WHAT = "reference journals and homes of every release, other versions, kill -9 while opening a home"
GATE = range(200)
NIGHTLY = range(8_000)
CHUNK = 2_000
KINDS = 4
POINTS = 48
"""Places where a process may die while it opens a home: files it touches, statements it runs."""
BUGS = ("make_in_place", "open_newer_schema", "other_rules_for_losses", "read_newer_records")
HUNT = range(4 * POINTS)
"""Units within which a planted bug must be caught."""


def run(units: range, *, say: Say) -> Result:
    """Read, refuse, kill."""
    start = time.monotonic()
    caught = hunt_bugs(say)
    parts = [range(units.start + n, units.stop, jobs()) for n in range(jobs())]
    with ThreadPoolExecutor(jobs() + 1) as pool:
        reads = pool.submit(check_versions, units, None)
        futures = [pool.submit(run_kills, part, None, say) for part in parts]
        problems = reads.result()
        kill_count = 0
        for future in futures:
            count, lines = future.result()
            kill_count += count
            problems += lines
    count = len(read_numbers(units)) + kill_count
    figures = {"kills while a home was opened": kill_count, "reads": len(read_numbers(units))}
    return Result(
        row=ROW,
        first=units.start,
        last=units.stop,
        count=count,
        violations=problems,
        planted=caught,
        figures={**figures, "golden homes": str(len(golden.list_homes()))},
        seconds=round(time.monotonic() - start, 1),
    )


def read_numbers(units: range) -> range:
    """What `versions.py` calls the units that are its own."""

    def count_before(unit: int) -> int:
        return unit // KINDS * 2 + min(unit % KINDS, 2)

    return range(count_before(units.start), count_before(units.stop))


def check_versions(units: range, bug: Bug | None) -> list[str]:
    """The faults of reading and refusing, found by a process of its own."""
    own_units = read_numbers(units)
    if not own_units:
        return []
    with tempfile.TemporaryDirectory() as folder:
        source = copy_with_bug(bug, Path(folder))
        process = subprocess.run(
            [
                sys.executable,
                "-W",
                "ignore",
                "-m",
                "tests.lab.versions",
                f"{own_units.start}:{own_units.stop}",
            ],
            env=make_environment(source),
            cwd=sources.ROOT,
            capture_output=True,
            text=True,
        )
    if process.returncode:
        raise RuntimeError(f"versions.py broke:\n{process.stderr[-2000:]}")
    return [f"version {line}" for line in process.stdout.splitlines()]


def run_kills(units: range, bug: Bug | None, say: Say) -> tuple[int, list[str]]:
    """How many of these units were kills, and what was wrong after them."""
    kill_count, problems = 0, []
    with start_target(bug) as victim:
        for unit in units:
            if unit % KINDS >= 2:
                lines = kill_at_opening(victim, unit)
                problems += [f"unit {unit}: {line}" for line in lines]
                kill_count += 1
                say(f"{kill_count} kills")
                if problems and bug is not None:
                    break
    return kill_count, problems


def kill_at_opening(victim: KillTarget, unit: int) -> list[str]:
    """One kill, or two in a row. Time plays a part in how far it came: then again, earlier."""
    block, kind = divmod(unit, KINDS)
    rng, homes = Random(unit), golden.list_homes()
    scenario, remains = (rng.choice(("chain", "undo")), None)
    if kind == KINDS - 1:
        scenario, remains = homes[block % len(homes)]
        block //= len(homes)
    turn, place = divmod(block, POINTS)
    points = [-1 - place, *([-rng.randint(1, POINTS)] if turn else [])]
    for _ in range(20):
        crashed = victim.crash(scenario, points, remains=remains)
        if crashed.kills or crashed.problems:
            return crashed.problems
        points = [-max(1, -point * 3 // 4) for point in points]
    return ["was not killed"]


def hunt_bugs(say: Say) -> dict[str, int | None]:
    """Each planted bug, and how many units it took."""
    caught = records.caught_bugs(ROW, sources.harness_digest())
    for name in BUGS:
        if name not in caught:
            caught[name] = hunt_bug(find_bug(name), say)
            say(f"looked for {name}")
    return caught


def hunt_bug(bug: Bug, say: Say) -> int | None:
    """The first unit, or number of a read, that shows the bug."""
    lines = check_versions(HUNT, bug) or run_kills(HUNT, bug, say)[1]
    return int(lines[0].split()[1].rstrip(":")) if lines else None
