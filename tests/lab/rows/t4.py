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

from tests.copies import make_environment
from tests.lab import kept, records, sources, strace
from tests.lab.result import Result, Say
from tests.lab.spread import map_pieces, temporary_folder
from tests.planted.bugs import copy_with_bug, find_bug

ROW = "T4"
WHAT = "failing system calls: EIO, ENOSPC, EMFILE, EROFS at the n-th call on the files of a home"
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


class FailureKind(NamedTuple):
    """A system call, how often a process makes it, and the errors that it may end with."""

    call: str
    max_number: int
    errors: tuple[str, ...]


KINDS: Final = (
    FailureKind("openat", 12, ("EMFILE", "EIO", "EACCES", "ENOSPC")),
    FailureKind("pwrite64", 760, ("ENOSPC", "EIO", "EROFS", "EDQUOT")),
    FailureKind("pwrite64", 60, ("ENOSPC", "EIO")),
    FailureKind("pread64", 90, ("EIO",)),
    FailureKind("fdatasync", 30, ("EIO", "ENOSPC")),
    FailureKind("fsync", 3, ("EIO",)),
    FailureKind("ftruncate", 3, ("EIO", "ENOSPC")),
    FailureKind("mkdir", 2, ("ENOSPC", "EROFS", "EACCES")),
    FailureKind("rename", 1, ("EIO", "ENOSPC")),
    FailureKind("unlink", 3, ("EIO", "EROFS")),
    FailureKind("fallocate", 2, ("ENOSPC",)),
)
TIMES: Final = ("", "+", "..+3")
"""Once, ever after from there on, four times in a row."""


class FailurePoint(NamedTuple):
    """What fails, as strace is told it."""

    call: str
    error: str
    when: str


def choose_point(unit: int) -> FailurePoint:
    """The point with this number."""
    rng = Random(unit)
    kind = KINDS[unit % len(KINDS)]
    number, repetition = rng.randint(1, kind.max_number), rng.choice(TIMES)
    when = f"{number}..{number + 3}" if repetition.startswith("..") else f"{number}{repetition}"
    return FailurePoint(kind.call, rng.choice(kind.errors), when)


def run(units: range, *, say: Say) -> Result:
    """Fail, look, heal, go on."""
    start = time.monotonic()
    strace.require_strace()
    caught = {bug: hunt_bug(bug, say) for bug in BUGS}
    results = map_pieces(partial(check_points, SOUND), units, PIECE, say)
    kinds = sum((kinds for kinds, _ in results), Counter[str]())
    return Result(
        row=ROW,
        first=units.start,
        last=units.stop,
        count=kinds.total(),
        violations=[line for _, lines in results for line in lines],
        planted=caught,
        figures={
            "went on to the end": kinds["went on"],
            "ended with a clear error": kinds["refused"],
            "waited for room until it was killed": kinds["waited"],
            "the call was not reached": kinds["not reached"],
            "broke": kinds["broke"],
        },
        seconds=round(time.monotonic() - start, 1),
    )


def check_points(source: Path, units: range) -> tuple[Counter[str], list[str]]:
    """What these points came to, and what is wrong there, with the product at ``source``."""
    kinds, problems = Counter[str](), []
    for unit in units:
        with temporary_folder() as folder:
            kind, lines = run_failing_life(source, folder, unit)
        kinds[kind] += 1
        problems += [f"point {unit} {tuple(choose_point(unit))}: {line}" for line in lines]
    return kinds, problems


def run_failing_life(source: Path, folder: Path, unit: int) -> tuple[str, list[str]]:
    """One life with a fault, then another without."""
    home, promise_file, out = folder / "home", folder / "said", folder / "calls"
    files = [home / f"journal.db{new}{end}" for new in ("", ".new") for end in ("", "-wal", "-shm")]
    failure = choose_point(unit)
    traced = [
        "strace",
        "-f",
        "-qq",
        "-e",
        "signal=none",
        "-e",
        f"trace={failure.call}",
        *strace.path_options([home, home / "owner.lock", *files]),
        "-e",
        f"inject={failure.call}:error={failure.error}:when={failure.when}",
        "-o",
        str(out),
        "--",
    ]
    lives = [sys.executable, "-W", "ignore", str(sources.ROOT / "tests/lab/lives.py")]
    env = make_environment(source)
    process = subprocess.Popen(
        [*traced, *lives, str(home), str(promise_file), "sick"],
        env=env,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    may_wait = failure.error in REFUSALS and failure.when.endswith("+")
    try:
        _, stderr = process.communicate(timeout=WAITS if may_wait else PATIENCE)
    except subprocess.TimeoutExpired:
        # The life too: without its strace it would go on.
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        problems = [] if may_wait else ["it did not end"]
        problems += asyncio.run(check_healed(home, kept.read_promises(promise_file)))
        return "broke" if problems else "waited", problems
    promises = kept.read_promises(promise_file)
    broke = [f"broke: {promise['error']}" for promise in promises if promise["what"] == "broke"]
    if process.returncode not in EXITS and not broke:
        broke = [f"ended with {process.returncode}: {stderr.decode()[-300:]}"]
    reached = out.exists() and "(INJECTED)" in out.read_text("utf-8", errors="replace")
    kind = "went on" if process.returncode == 0 else "refused"
    problems = [*broke, *asyncio.run(check_healed(home, promises))]
    return "broke" if broke else kind if reached else "not reached", problems


async def check_healed(home: Path, promises: list[kept.Statement]) -> list[str]:
    """What is wrong once nothing fails any more."""
    problems = await kept.find_lost(home, promises)
    if not problems and (home / "journal.db").exists():
        problems = await kept.check_recovery(home) or await kept.find_lost(home, promises)
    return problems


def hunt_bug(bug: str, say: Say) -> int | None:
    """The first point in which a planted bug shows."""
    caught_before = records.caught_bugs(ROW, sources.harness_digest()).get(bug)
    if caught_before is not None:
        return caught_before
    say(f"looking for {bug}")
    with tempfile.TemporaryDirectory(prefix="agenthive-lab-") as name:
        source = copy_with_bug(find_bug(bug), Path(name))
        for unit in WITHIN:
            if check_points(source, range(unit, unit + 1))[1]:
                return unit
    return None
