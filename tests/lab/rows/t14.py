"""T14: kill -9 between a call and its settlement: the hold stays, nothing is counted twice.

Each unit is a home of its own. A process is killed about a charge: before its answer, before the
write that settles it, or after; every second time another one takes over and is killed as well.
Looked at are what `agenthive costs` and `agenthive budget show` say after each life, beside the
bills that the other side kept: what is spent and held is never less than they, nor above the limit;
once a person has said what came of the calls in doubt, it is the bills to the nano-dollar.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from tests.copies import make_environment
from tests.lab import records, sources
from tests.lab.result import Result, Say
from tests.lab.spread import map_pieces, temporary_folder
from tests.planted.bugs import Bug, copy_with_bug, find_bug

ROW = "T14"
WHAT = "kill -9 between a call and its settlement, and the resulting costs and budgets"
GATE = range(40)
NIGHTLY = range(2_000)
UNIT = "homes"
CHUNK = 500
PIECE = 5
HUNT = 60
"""Homes within which a planted bug must be caught."""
PLANTS = (
    "book_again_what_was_settled",
    "book_the_worst_case",
    "free_a_lost_call",
    "lose_the_entries",
    "void_a_lost_hold",
)
SUBJECT = Path(__file__).parents[1] / "bills" / "subject.py"
SOUND = sources.ROOT / "src"
RUN, MOST = "run spends", 1_000_000
KILLED = -signal.SIGKILL


class HomesResult(NamedTuple):
    """What came of some homes: what is wrong, how often a process was killed, and where."""

    problems: list[str]
    kills: Counter[str]
    doubts: int


def run(units: range, *, say: Say) -> Result:
    """Kill in so many homes."""
    start = time.monotonic()
    caught = {name: hunt_bug(find_bug(name), say) for name in PLANTS}
    results = map_pieces(partial(check_homes, SOUND), units, PIECE, say)
    kills = sum((outcome.kills for outcome in results), Counter[str]())
    return Result(
        row=ROW,
        first=units.start,
        last=units.stop,
        count=len(units),
        violations=[line for outcome in results for line in outcome.problems],
        planted=caught,
        figures={
            "kills": kills.total(),
            "kills before the answer": kills["call"],
            "kills before the settlement is on disk": kills["answer"],
            "calls left in doubt": sum(outcome.doubts for outcome in results),
        },
        seconds=round(time.monotonic() - start, 1),
    )


def hunt_bug(bug: Bug, say: Say) -> int | None:
    """The first home in which a planted bug shows."""
    caught_before = records.caught_bugs(ROW, sources.harness_digest()).get(bug.name)
    if caught_before is not None:
        return caught_before
    with temporary_folder() as folder:
        source = copy_with_bug(bug, folder)
        for unit in range(HUNT):
            if check_homes(source, range(unit, unit + 1)).problems:
                say(f"{bug.name}: home {unit}")
                return unit
    say(f"{bug.name}: not caught in {HUNT} homes")
    return None


def check_homes(source: Path, units: range) -> HomesResult:
    """Live through these homes and judge them."""
    problems: list[str] = []
    kills: Counter[str] = Counter()
    doubts = 0
    for unit in units:
        with temporary_folder() as folder:
            home = SpendingHome(folder, unit, source)
            home.run_lives()
            problems += [f"home {unit}: {line}" for line in home.problems]
            kills += home.kills
            doubts += home.doubts
    return HomesResult(problems, kills, doubts)


class SpendingHome:
    """One home, from its first process to its last."""

    def __init__(self, folder: Path, unit: int, source: Path) -> None:
        self._folder, self._unit, self._source = folder, unit, source
        self.problems: list[str] = []
        self.kills: Counter[str] = Counter()
        self.doubts = 0
        self._number = 0

    def run_lives(self) -> None:
        """Killed once or twice, then seen through."""
        rng = Random(f"bills {self._unit}")
        places = [rng.choice(("call", "answer", "written")) for _ in range(2)]
        at = [rng.randint(1, 6), rng.randint(1, 3)]
        self._run_killed(f"first.{at[0]}.{places[0]}", places[0])
        if self._unit % 2:
            self._run_killed(f"again.{at[1]}.{places[1]}", places[1])
        self._run_process("goes")
        self._check_limits("goes")
        self._run_process("settles")
        self._check_settled()

    def _run_killed(self, life: str, where: str) -> None:
        exit_code = self._run_process(life)
        if exit_code == KILLED:
            self.kills[where] += 1
            held = self._check_limits(life)
            if where != "written" and held < MOST:
                self.problems.append(f"killed in the middle ({where}), and nothing is held")

    def _run_process(self, life: str) -> int:
        """How a process with this life ended."""
        env = make_environment(self._source)
        command = [sys.executable, "-W", "ignore", str(SUBJECT), str(self._folder)]
        self._number += 1
        reports = [f"{kind}{self._number}" for kind in ("costs", "budget")]
        process = subprocess.run(
            [*command, str(self._unit), life, *reports], env=env, capture_output=True, text=True
        )
        exit_codes = [json.loads(line)["ended"] for line in process.stdout.splitlines()]
        if len(exit_codes) != 3 or exit_codes[1:] != [0, 0] or exit_codes[0] not in (0, KILLED):
            self.problems.append(f"{life} ended with {exit_codes}: {process.stderr[-300:]}")
        return int(exit_codes[0]) if exit_codes else 1

    def _read_output(self, kind: str) -> dict[str, Any]:
        output: dict[str, Any] = json.loads(
            (self._folder / f"{kind}{self._number}.json").read_text() or "{}"
        )
        return output

    def _read_bills(self) -> list[dict[str, Any]]:
        file = self._folder / "charged"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def _check_limits(self, life: str) -> int:
        """Nothing that was charged is unaccounted for, and no limit is passed; what is held."""
        scope = next((b for b in self._read_output("budget")["budgets"] if b["scope"] == RUN), None)
        if scope is None:
            self.problems.append(f"after {life}: the run has no budget")
            return 0
        total, billed = (
            self._read_output("costs")["total"],
            sum(b["amount"] for b in self._read_bills()),
        )
        spent, held = scope["spent"], scope["held"]
        if spent + held < billed:
            self.problems.append(
                f"after {life}: {spent} spent and {held} held, {billed} was charged"
            )
        if spent + held > scope["limit"]:
            self.problems.append(f"after {life}: {spent} spent and {held} held of {scope['limit']}")
        reported = (total["cost_nano_usd"] + total["assumed_nano_usd"], total["held_nano_usd"])
        if reported != (spent, held):
            self.problems.append(f"after {life}: costs says {reported}, the budget {(spent, held)}")
        calls = self._read_output("budget")["calls"]
        if sum(call["held"] for call in calls) != held:
            self.problems.append(f"after {life}: the calls that hold money do not add up to {held}")
        self.doubts += len(calls) if life == "goes" else 0
        return int(held)

    def _check_settled(self) -> None:
        """It is the bills, once and all of them."""
        scope = next(b for b in self._read_output("budget")["budgets"] if b["scope"] == RUN)
        billed = sum(bill["amount"] for bill in self._read_bills())
        if (scope["spent"], scope["held"]) != (billed, 0):
            self.problems.append(
                f"in the end {scope['spent']} spent, {scope['held']} held: {billed}"
            )
        total = self._read_output("costs")["total"]
        reported = total["cost_nano_usd"] + total["assumed_nano_usd"]
        if (reported, total["held_nano_usd"]) != (billed, 0):
            self.problems.append(f"in the end costs says {reported}, {billed} was charged")
