"""T5: disks that fall ill and get well: full, out of descriptors, read-only (`sick.py`).

Each unit is one hive in a process of its own, on a small file system of its own. Mounting one needs
the right to. The same is done with builds that do not bear it, which must be caught.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Final

from tests.lab import records, sources
from tests.lab.result import Result, Say, Skipped
from tests.lab.spread import spread
from tests.planted.bugs import copy_with_bug, find_bug
from tests.stores.broken_disk import small_disk

ROW = "T5"
WHAT = "a disk that is full, read-only or out of descriptors under a hive, then healed"
GATE = range(12)
NIGHTLY = range(600)
UNIT = "illnesses"
CHUNK = 60
PIECE = 2
SIZE: Final = "16m"
PATIENCE: Final = 150.0
BUGS: Final = ("full_disk_acknowledged", "refused_not_tried_again", "trouble_not_told")
WITHIN: Final = range(3)
"""Illnesses within which a planted bug must be caught."""
SOUND: Final = sources.ROOT / "src"


def run(units: range, *, say: Say) -> Result:
    """Fall ill, heal."""
    began = time.monotonic()
    need()
    caught = {bug: hunted(bug, say) for bug in BUGS}
    told = spread(partial(ill, SOUND), units, PIECE, say)
    return Result(
        row=ROW,
        first=units.start,
        last=units.stop,
        count=len(units),
        violations=[line for lines in told for line in lines],
        planted=caught,
        figures={},
        seconds=round(time.monotonic() - began, 1),
    )


def need() -> None:
    """Raises Skipped unless a file system may be mounted."""
    try:
        with tempfile.TemporaryDirectory() as name, small_disk(Path(name) / "disk", SIZE):
            pass
    except PermissionError as error:
        raise Skipped("mount", f"the right to mount a file system: {error}") from error


def ill(source: Path, units: range) -> list[str]:
    """What is wrong in these units, with the product at ``source``."""
    return [f"illness {unit}: {line}" for unit in units for line in _ill(source, unit)]


def _ill(source: Path, unit: int) -> list[str]:
    env = dict(os.environ, PYTHONPATH=str(source), PYTHONDONTWRITEBYTECODE="1")
    disk = Path(tempfile.mkdtemp(prefix="agenthive-lab-")) / "disk"
    with small_disk(disk, SIZE) as folder:
        words = ["-m", "tests.lab.sick", str(folder), str(unit)]
        try:
            done = subprocess.run(
                [sys.executable, "-W", "ignore", *words], env=env, cwd=sources.ROOT,
                capture_output=True, text=True, timeout=PATIENCE,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return ["it did not end"]
    shutil.rmtree(disk.parent)
    if done.returncode:
        return [*done.stdout.splitlines(), f"ended with {done.returncode}: {done.stderr[-300:]}"]
    return done.stdout.splitlines()


def hunted(bug: str, say: Say) -> int | None:
    """The first illness in which a planted bug shows."""
    known = records.planted(ROW, sources.harness()).get(bug)
    if known is not None:
        return known
    say(f"looking for {bug}")
    with tempfile.TemporaryDirectory(prefix="agenthive-lab-") as name:
        source = copy_with_bug(find_bug(bug), Path(name))
        return next((unit for unit in WITHIN if _ill(source, unit)), None)
