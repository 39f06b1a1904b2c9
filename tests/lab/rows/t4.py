"""T4: system calls that fail. strace fails the n-th call of a kind, or some from there on.

Each unit is one such point: a kind of call on the files of a home, an error, a number. The process
must go on as it should or end with an error of ours; what it had promised must be in the journal,
and a process without faults goes on from there to the end of every run. The same is done with
builds that hear an error and say nothing, which must be caught.

The n-th call is counted in each thread; a number beyond the last call fails nothing.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from tests.lab import kept, records, sources, strace
from tests.lab.result import Result, Say
from tests.lab.spread import place, spread
from tests.planted.bugs import copy_with_bug, find_bug

ROW = "T4"
WHAT = "system calls that fail: EIO, ENOSPC, EMFILE, EROFS at the n-th call on the files of a home"
GATE = range(100)
NIGHTLY = range(2_000)
UNIT = "points"
CHUNK = 500
PIECE = 5
PATIENCE: Final = 60.0
"""Seconds in which a process with a fault must have ended."""
BUGS: Final = ("error_at_commit_swallowed", "full_disk_acknowledged", "opening_error_escapes")
WITHIN: Final = range(120)
"""Points within which a planted bug must be caught."""
SOUND: Final = sources.ROOT / "src"
WAITS: Final = 8.0
"""Seconds after which one that a disk takes nothing of for ever is ended: it waits for room."""
REFUSALS: Final = ("ENOSPC", "EDQUOT", "EROFS")
EXITS: Final = (0, 10)
"""All is done, or the journal could not be used and an error of ours says so."""


class Kind(NamedTuple):
    """A system call, how often a process makes it, and the errors that it may end with."""

    call: str
    most: int
    errors: tuple[str, ...]


KINDS: Final = (
    Kind("openat", 12, ("EMFILE", "EIO", "EACCES", "ENOSPC")),
    Kind("pwrite64", 760, ("ENOSPC", "EIO", "EROFS", "EDQUOT")),
    Kind("pwrite64", 60, ("ENOSPC", "EIO")),
    Kind("pread64", 90, ("EIO",)),
    Kind("fdatasync", 30, ("EIO", "ENOSPC")),
    Kind("fsync", 3, ("EIO",)),
    Kind("ftruncate", 3, ("EIO", "ENOSPC")),
    Kind("mkdir", 2, ("ENOSPC", "EROFS", "EACCES")),
    Kind("rename", 1, ("EIO", "ENOSPC")),
    Kind("unlink", 3, ("EIO", "EROFS")),
    Kind("fallocate", 2, ("ENOSPC",)),
)
TIMES: Final = ("", "+", "..+3")
"""Once, ever after from there on, four times in a row."""


class Point(NamedTuple):
    """What fails, as strace is told it."""

    call: str
    error: str
    when: str


def point(unit: int) -> Point:
    """The point with this number."""
    rng = Random(unit)
    kind = KINDS[unit % len(KINDS)]
    number, how = rng.randint(1, kind.most), rng.choice(TIMES)
    when = f"{number}..{number + 3}" if how.startswith("..") else f"{number}{how}"
    return Point(kind.call, rng.choice(kind.errors), when)


def run(units: range, *, say: Say) -> Result:
    """Fail, look, heal, go on."""
    began = time.monotonic()
    strace.need()
    caught = {bug: hunted(bug, say) for bug in BUGS}
    told = spread(partial(looked, SOUND), units, PIECE, say)
    kinds = sum((kinds for kinds, _ in told), Counter[str]())
    return Result(
        row=ROW,
        first=units.start,
        last=units.stop,
        count=kinds.total(),
        violations=[line for _, lines in told for line in lines],
        planted=caught,
        figures={
            "went on to the end": kinds["went on"],
            "ended with a clear error": kinds["refused"],
            "waited for room until it was killed": kinds["waited"],
            "the call was not reached": kinds["not reached"],
            "broke": kinds["broke"],
        },
        seconds=round(time.monotonic() - began, 1),
    )


def looked(source: Path, units: range) -> tuple[Counter[str], list[str]]:
    """What these points came to, and what is wrong there, with the product at ``source``."""
    kinds, wrong = Counter[str](), []
    for unit in units:
        with place() as folder:
            kind, lines = failed(source, folder, unit)
        kinds[kind] += 1
        wrong += [f"point {unit} {tuple(point(unit))}: {line}" for line in lines]
    return kinds, wrong


def failed(source: Path, folder: Path, unit: int) -> tuple[str, list[str]]:
    """One life with a fault, then another without."""
    home, said, out = folder / "home", folder / "said", folder / "calls"
    files = [home / f"journal.db{new}{end}" for new in ("", ".new") for end in ("", "-wal", "-shm")]
    where = point(unit)
    traced = [
        "strace", "-f", "-qq", "-e", "signal=none", "-e", f"trace={where.call}",
        *strace.on([home, home / "owner.lock", *files]),
        "-e", f"inject={where.call}:error={where.error}:when={where.when}", "-o", str(out), "--",
    ]  # fmt: skip
    lives = [sys.executable, "-W", "ignore", str(sources.ROOT / "tests/lab/lives.py")]
    env = dict(os.environ, PYTHONPATH=str(source), PYTHONDONTWRITEBYTECODE="1")
    process = subprocess.Popen(
        [*traced, *lives, str(home), str(said), "sick"],
        env=env, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    may_wait = where.error in REFUSALS and where.when.endswith("+")
    try:
        _, stderr = process.communicate(timeout=WAITS if may_wait else PATIENCE)
    except subprocess.TimeoutExpired:
        # The life too: without its strace it would go on.
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        wrong = [] if may_wait else ["it did not end"]
        wrong += asyncio.run(healed(home, kept.read(said)))
        return "broke" if wrong else "waited", wrong
    given = kept.read(said)
    broke = [f"broke: {one['error']}" for one in given if one["what"] == "broke"]
    if process.returncode not in EXITS and not broke:
        broke = [f"ended with {process.returncode}: {stderr.decode()[-300:]}"]
    reached = out.exists() and "(INJECTED)" in out.read_text("utf-8", errors="replace")
    kind = "went on" if process.returncode == 0 else "refused"
    wrong = [*broke, *asyncio.run(healed(home, given))]
    return "broke" if broke else kind if reached else "not reached", wrong


async def healed(home: Path, given: list[kept.Said]) -> list[str]:
    """What is wrong once nothing fails any more."""
    wrong = await kept.lost(home, given)
    if not wrong and (home / "journal.db").exists():
        wrong = await kept.goes_on(home) or await kept.lost(home, given)
    return wrong


def hunted(bug: str, say: Say) -> int | None:
    """The first point in which a planted bug shows."""
    known = records.planted(ROW, sources.harness()).get(bug)
    if known is not None:
        return known
    say(f"looking for {bug}")
    with tempfile.TemporaryDirectory(prefix="agenthive-lab-") as name:
        source = copy_with_bug(find_bug(bug), Path(name))
        for unit in WITHIN:
            if looked(source, range(unit, unit + 1))[1]:
                return unit
    return None
