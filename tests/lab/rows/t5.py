"""T5: disks that fall ill and get well: full, out of descriptors, read-only (`sick.py`).

Each unit is one hive in a process of its own, on a small file system of its own. Mounting one needs
the right to. The same is done with builds that do not bear it, which must be caught.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Final

from tests.copies import make_environment
from tests.lab import records, sources
from tests.lab.result import Result, Say, Skipped
from tests.lab.spread import map_pieces
from tests.planted.bugs import copy_with_bug, find_bug
from tests.stores.broken_disk import small_disk

ROW = "T5"
WHAT = "a full or read-only disk, or no free file descriptors, under an open home, then repaired"
GATE = range(12)
NIGHTLY = range(600)
UNIT = "conditions"
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
    start = time.monotonic()
    require_mount()
    caught = {bug: hunt_bug(bug, say) for bug in BUGS}
    results = map_pieces(partial(check_illnesses, SOUND), units, PIECE, say)
    return Result(
        row=ROW,
        first=units.start,
        last=units.stop,
        count=len(units),
        violations=[line for lines in results for line in lines],
        planted=caught,
        figures={},
        seconds=round(time.monotonic() - start, 1),
    )


def require_mount() -> None:
    """Raises Skipped unless a file system may be mounted."""
    try:
        with tempfile.TemporaryDirectory() as name, small_disk(Path(name) / "disk", SIZE):
            pass
    except PermissionError as error:
        raise Skipped("mount", f"the right to mount a file system: {error}") from error


def check_illnesses(source: Path, units: range) -> list[str]:
    """What is wrong in these units, with the product at ``source``."""
    return [f"illness {unit}: {line}" for unit in units for line in _run_illness(source, unit)]


def _run_illness(source: Path, unit: int) -> list[str]:
    env = make_environment(source)
    disk = Path(tempfile.mkdtemp(prefix="agenthive-lab-")) / "disk"
    with small_disk(disk, SIZE) as folder:
        command = ["-m", "tests.lab.sick", str(folder), str(unit)]
        try:
            process = subprocess.run(
                [sys.executable, "-W", "ignore", *command],
                env=env,
                cwd=sources.ROOT,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
            )
        except subprocess.TimeoutExpired:
            return ["it did not end"]
    shutil.rmtree(disk.parent)
    if process.returncode:
        return [
            *process.stdout.splitlines(),
            f"ended with {process.returncode}: {process.stderr[-300:]}",
        ]
    return process.stdout.splitlines()


def hunt_bug(bug: str, say: Say) -> int | None:
    """The first illness in which a planted bug shows."""
    caught_before = records.caught_bugs(ROW, sources.harness_digest()).get(bug)
    if caught_before is not None:
        return caught_before
    say(f"looking for {bug}")
    with tempfile.TemporaryDirectory(prefix="agenthive-lab-") as name:
        source = copy_with_bug(find_bug(bug), Path(name))
        return next((unit for unit in WITHIN if _run_illness(source, unit)), None)
