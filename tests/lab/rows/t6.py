"""T6: flipped bits. A real journal, one bit changed in it, then verified and read (`flips.py`).

Each unit is one flip, anywhere in the file or in a value of a row. One that changes a record must
be found, and reading must never break or give something else in silence. The same is done with
builds that check too little, which must be caught.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tests.copies import make_environment
from tests.lab import ranges, records, sources
from tests.lab.result import Result, Say, jobs
from tests.planted.bugs import copy_with_bug, find_bug

ROW = "T6"
WHAT = "bit flips in the journal: every changed record is detected, no wrong data is returned"
GATE = range(300)
NIGHTLY = range(20_000)
UNIT = "flips"
CHUNK = 5_000
PIECE = 300
"""Flips of one process."""
BUGS: Final = (
    "bad_text_escapes",
    "blob_not_checked",
    "chain_not_checked",
    "definition_not_checked",
    "list_not_checked",
)
WITHIN: Final = range(1_500)
"""Flips within which a planted bug must be caught."""
SOUND: Final = sources.ROOT / "src"


def run(units: range, *, say: Say) -> Result:
    """Make a journal, flip, look."""
    start = time.monotonic()
    kinds: Counter[str] = Counter()
    problems: list[str] = []
    with tempfile.TemporaryDirectory(prefix="agenthive-lab-") as name:
        folder = Path(name)
        journal = make_journal(folder / "home", folder / "said")
        caught = {bug: hunt_bug(bug, journal, folder, say) for bug in BUGS}
        with ThreadPoolExecutor(jobs()) as pool:
            pieces = ranges.split_range(units, PIECE)
            for counts, lines in pool.map(lambda piece: flip_units(journal, piece, SOUND), pieces):
                kinds.update(counts)
                problems += [f"flip {line}" for line in lines]
                say(f"{kinds.total():,} of {len(units):,}")
    return Result(
        row=ROW,
        first=units.start,
        last=units.stop,
        count=kinds.total(),
        violations=problems,
        planted=caught,
        figures={
            "changed a record, all found": kinds["record"],
            "changed something else, found by verify": kinds["found"],
            "changed something else, refused when read": kinds["refused"],
            "changed nothing that is read": kinds["no matter"],
        },
        seconds=round(time.monotonic() - start, 1),
    )


def environment(source: Path) -> dict[str, str]:
    return make_environment(source)


def make_journal(home: Path, promise_file: Path) -> Path:
    """The journal of a hive that has done some runs."""
    arguments = [
        str(sources.ROOT / "tests/lab/lives.py"),
        str(home),
        str(promise_file),
        "first",
        "large",
    ]
    command = [sys.executable, "-W", "ignore", *arguments]
    subprocess.run(command, env=environment(SOUND), check=True, timeout=60)
    return home / "journal.db"


def flip_units(journal: Path, units: range, source: Path) -> tuple[dict[str, int], list[str]]:
    """What these flips met, and what is wrong, with the product at ``source``."""
    command = ["-m", "tests.lab.flips", str(journal), f"{units.start}:{units.stop}"]
    process = subprocess.run(
        [sys.executable, "-W", "ignore", *command],
        env=environment(source),
        cwd=sources.ROOT,
        capture_output=True,
        text=True,
    )
    *lines, last = process.stdout.splitlines() or [""]
    if process.returncode:
        # Reading must not bring the process down either.
        return {}, [*lines, f"{units}: ended with {process.returncode}: {process.stderr[-500:]}"]
    return json.loads(last), lines


def hunt_bug(bug: str, journal: Path, folder: Path, say: Say) -> int | None:
    """The first flip in which a planted bug shows."""
    caught_before = records.caught_bugs(ROW, sources.harness_digest()).get(bug)
    if caught_before is not None:
        return caught_before
    say(f"looking for {bug}")
    source = copy_with_bug(find_bug(bug), folder / bug)
    _, lines = flip_units(journal, WITHIN, source)
    return int(lines[0].partition(":")[0]) if lines else None
