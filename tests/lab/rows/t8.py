"""T8: journals of every release are read by this one, later ones refused, and kill -9 at opening.

Of four units one reads a golden run, one meets a journal of another version (`versions.py`), one
kills a process while it makes a home, one while it opens the home that a killed process of an
earlier release left; what lives then must end all runs as they must end, for the oracle of T2.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

from tests.lab import golden, records, sources
from tests.lab.kills.server import Subject, subject
from tests.lab.result import Result, Say, jobs
from tests.planted.bugs import Bug, copy_with_bug, find_bug

ROW = "T8"
WHAT = "golden journals and homes of every release, other versions, kill -9 while a home is opened"
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
    began = time.monotonic()
    caught = hunts(say)
    parts = [range(units.start + n, units.stop, jobs()) for n in range(jobs())]
    with ThreadPoolExecutor(jobs() + 1) as pool:
        looked = pool.submit(versions, units, None)
        killed = [pool.submit(kills, part, None, say) for part in parts]
        wrong = looked.result()
        done = 0
        for one in killed:
            count, lines = one.result()
            done += count
            wrong += lines
    count = len(numbers(units)) + done
    figures = {"kills while a home was opened": done, "reads": len(numbers(units))}
    return Result(
        row=ROW,
        first=units.start,
        last=units.stop,
        count=count,
        violations=wrong,
        planted=caught,
        figures={**figures, "golden homes": str(len(golden.homes()))},
        seconds=round(time.monotonic() - began, 1),
    )


def numbers(units: range) -> range:
    """What `versions.py` calls the units that are its own."""

    def before(unit: int) -> int:
        return unit // KINDS * 2 + min(unit % KINDS, 2)

    return range(before(units.start), before(units.stop))


def versions(units: range, bug: Bug | None) -> list[str]:
    """The faults of reading and refusing, found by a process of its own."""
    mine = numbers(units)
    if not mine:
        return []
    with tempfile.TemporaryDirectory() as folder:
        source = copy_with_bug(bug, Path(folder))
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "tests.lab.versions",
             f"{mine.start}:{mine.stop}"],
            env=dict(os.environ, PYTHONPATH=str(source), PYTHONDONTWRITEBYTECODE="1"),
            cwd=sources.ROOT, capture_output=True, text=True,
        )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"versions.py broke:\n{done.stderr[-2000:]}")
    return [f"version {line}" for line in done.stdout.splitlines()]


def kills(units: range, bug: Bug | None, say: Say) -> tuple[int, list[str]]:
    """How many of these units were kills, and what was wrong after them."""
    done, wrong = 0, []
    with subject(bug) as one:
        for unit in units:
            if unit % KINDS >= 2:
                lines = killed_at_opening(one, unit)
                wrong += [f"unit {unit}: {line}" for line in lines]
                done += 1
                say(f"{done} kills")
                if wrong and bug is not None:
                    break
    return done, wrong


def killed_at_opening(one: Subject, unit: int) -> list[str]:
    """One kill, or two in a row. Time plays a part in how far it came: then again, earlier."""
    block, kind = divmod(unit, KINDS)
    rng, homes = Random(unit), golden.homes()
    scenario, remains = (rng.choice(("chain", "undo")), None)
    if kind == KINDS - 1:
        scenario, remains = homes[block % len(homes)]
        block //= len(homes)
    turn, place = divmod(block, POINTS)
    points = [-1 - place, *([-rng.randint(1, POINTS)] if turn else [])]
    for _ in range(20):
        crashed = one.crash(scenario, points, remains=remains)
        if crashed.kills or crashed.wrong:
            return crashed.wrong
        points = [-max(1, -point * 3 // 4) for point in points]
    return ["was not killed"]


def hunts(say: Say) -> dict[str, int | None]:
    """Each planted bug, and how many units it took."""
    found = records.planted(ROW, sources.harness())
    for name in BUGS:
        if name not in found:
            found[name] = hunt(find_bug(name), say)
            say(f"looked for {name}")
    return found


def hunt(bug: Bug, say: Say) -> int | None:
    """The first unit, or number of a read, that shows the bug."""
    told = versions(HUNT, bug) or kills(HUNT, bug, say)[1]
    return int(told[0].split()[1].rstrip(":")) if told else None
