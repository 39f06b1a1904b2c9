"""T3: power cuts. What a real process wrote is recorded; states of the disk are rebuilt from it.

Each unit is a state that a power cut may have left (`disk.py`). The store must open it, every chain
must hold, and everything promised by then must be there; some states are also worked on to their
end. The same is done with builds that sync too little or answer too early, which must be caught.

Numbers of states mean something for one record only: the record of one that fails is kept.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from tests.copies import make_environment
from tests.lab import disk, kept, records, sources, strace
from tests.lab.disk import CallTrace
from tests.lab.result import Result, Say
from tests.lab.spread import map_pieces, temporary_folder
from tests.planted.bugs import copy_with_bug, find_bug

ROW = "T3"
WHAT = "power cuts: disk states reconstructed from the writes of a process, one state per unit"
GATE = range(2_000)
NIGHTLY = range(100_000)
CHUNK = 10_000
WITHIN: Final = 300
"""States within which a planted bug must be caught."""
LONG_EVERY, ENDED_EVERY = 8, 40
"""Every so many units: a state of the long record; a state that is also worked on to its end."""
PIECE = 50

SOUND: Final = sources.ROOT / "src"
Step = tuple[tuple[str, ...], tuple[str, ...]]
"""Lives of one process, and what strace is to do to it."""
BEFORE_SYNC: Final = ("-e", "inject=fdatasync:signal=KILL:when=6")
"""Killed with a commit written and not synced: what the next life finds there is not safe yet."""
SHORT: Final[tuple[Step, ...]] = (
    (("first", "killed.8"), ()),
    (("killed.900",), BEFORE_SYNC),
    (("looks", "last"), ()),
)
CALM: Final = (SHORT[0], SHORT[2])
"""Without that kill, in half the time; for the bugs: strace is slow while it injects signals."""
LONG: Final[tuple[Step, ...]] = ((("full",), ()),)
"""So long that the log is taken into the journal, and begun anew, under way."""
BUGS: Final = (
    "normal_sync",
    "answer_before_commit",
    "fsync_ignored",
    "folder_not_synced",
)


def run(units: range, *, say: Say) -> Result:
    """Record, rebuild, look."""
    start = time.monotonic()
    strace.require_strace()
    with tempfile.TemporaryDirectory(prefix="agenthive-lab-") as name:
        folder = Path(name)
        caught = {bug: hunt_bug(bug, folder, say) for bug in BUGS}
        short, long = record_lives(folder / "short", SHORT), record_lives(folder / "long", LONG)
        started = time.monotonic()
        findings = map_pieces(partial(check_states, short, long), units, PIECE, say)
        elapsed = time.monotonic() - started
        problems = [line for lines in findings for line in lines]
        if problems:
            where = shutil.copytree(folder, tempfile.mkdtemp(prefix="agenthive-t3-") + "/kept")
            problems.append(f"the records are kept in {where}")
    return Result(
        row=ROW,
        first=units.start,
        last=units.stop,
        count=len(units),
        violations=problems,
        planted=caught,
        figures={
            "calls recorded": len(short) + len(long),
            "syncs recorded": short.syncs + long.syncs,
            "states a second": round(len(units) / elapsed, 1),
        },
        seconds=round(time.monotonic() - start, 1),
    )


def record_lives(
    folder: Path, steps: Sequence[Step], source: Path = SOUND, *, sync: bool = True
) -> CallTrace:
    """What processes with these lives did to their disk, with the product at ``source``."""
    folder.mkdir(parents=True)
    home, promise_file = folder / "home", folder / "said"
    names = [f"journal.db{new}{log}" for new in ("", ".new") for log in ("", "-wal")]
    paths = [folder, home, promise_file, *(home / name for name in names)]
    env = make_environment(source)
    command = [sys.executable, "-W", "ignore", str(sources.ROOT / "tests/lab/lives.py")]
    outs = []
    for number, (lives, options) in enumerate(steps):
        outs.append(folder / f"calls{number}")
        process = strace.trace_command(
            [*command, str(home), str(promise_file), *lives], paths, outs[-1], env, options
        )
        if process.returncode and source == SOUND:
            raise RuntimeError(
                f"lives ended with {process.returncode}: {kept.read_promises(promise_file)[-3:]}"
            )
    return disk.CallTrace(strace.read_calls(*outs), promise_file, ignore_sync=not sync)


def hunt_bug(bug: str, folder: Path, say: Say) -> int | None:
    """The first state in which a planted bug shows."""
    caught_before = records.caught_bugs(ROW, sources.harness_digest()).get(bug)
    if caught_before is not None:
        return caught_before
    say(f"looking for {bug}")
    where = folder / bug
    steps = CALM
    if bug == "fsync_ignored":
        trace = record_lives(where / "trace", steps, sync=False)
    else:
        trace = record_lives(where / "trace", steps, copy_with_bug(find_bug(bug), where))
    for unit in range(1, WITHIN):
        if any("lost" in line for line in check_states(trace, trace, range(unit, unit + 1))):
            return unit
    return None


def check_states(short: CallTrace, long: CallTrace, units: range) -> list[str]:
    """What is wrong in these states."""
    with temporary_folder() as folder:
        return asyncio.run(_check_states(short, long, units, folder))


async def _check_states(short: CallTrace, long: CallTrace, units: range, folder: Path) -> list[str]:
    problems = []
    for unit in units:
        state = (short if unit % LONG_EVERY else long).state(unit)
        home = folder / str(unit)
        home.mkdir()
        for path, content in state.files.items():
            (home / Path(path).name).write_bytes(content)
        state_problems = await kept.find_lost(home, state.promises)
        if unit % ENDED_EVERY == 0 and not state_problems:
            state_problems = await kept.check_recovery(home)
        problems += [f"state {unit} ({state.description}): {line}" for line in state_problems[:3]]
        shutil.rmtree(home)
    return problems
