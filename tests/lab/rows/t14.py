"""T14: kill -9 between a call and its settlement: the hold stays, nothing is counted twice.

Each unit is a home of its own. A process is killed about a charge: before its answer, before the
write that settles it, or after; every second time another one takes over and is killed as well.
Looked at are what `agenthive costs` and `agenthive budget show` say after each life, beside the
bills that the other side kept: what is spent and held is never less than they, nor above the limit;
once a person has said what came of the calls in doubt, it is the bills to the nano-dollar.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from tests.lab import records, sources
from tests.lab.result import Result, Say
from tests.lab.spread import place, spread
from tests.planted.bugs import Bug, copy_with_bug, find_bug

ROW = "T14"
WHAT = "kill -9 between a call and its settlement, and what costs and budgets say then"
GATE = range(40)
NIGHTLY = range(2_000)
UNIT = "homes"
CHUNK = 500
PIECE = 5
HUNT = 60
"""Homes within which a planted bug must be caught."""
PLANTS = (
    "book_again_what_was_settled", "book_the_worst_case", "free_a_lost_call", "lose_the_entries",
    "void_a_lost_hold",
)  # fmt: skip
SUBJECT = Path(__file__).parents[1] / "bills" / "subject.py"
SOUND = sources.ROOT / "src"
RUN, MOST = "run spends", 1_000_000
KILLED = -signal.SIGKILL


class Seen(NamedTuple):
    """What came of some homes: what is wrong, how often a process was killed, and where."""

    wrong: list[str]
    kills: Counter[str]
    doubts: int


def run(units: range, *, say: Say) -> Result:
    """Kill in so many homes."""
    began = time.monotonic()
    caught = {name: hunt(find_bug(name), say) for name in PLANTS}
    seen = spread(partial(look, SOUND), units, PIECE, say)
    kills = sum((one.kills for one in seen), Counter[str]())
    return Result(
        row=ROW,
        first=units.start,
        last=units.stop,
        count=len(units),
        violations=[line for one in seen for line in one.wrong],
        planted=caught,
        figures={
            "kills": kills.total(),
            "kills before the answer": kills["call"],
            "kills before the settlement is on disk": kills["answer"],
            "calls left in doubt": sum(one.doubts for one in seen),
        },
        seconds=round(time.monotonic() - began, 1),
    )


def hunt(bug: Bug, say: Say) -> int | None:
    """The first home in which a planted bug shows."""
    known = records.planted(ROW, sources.harness()).get(bug.name)
    if known is not None:
        return known
    with place() as folder:
        source = copy_with_bug(bug, folder)
        for unit in range(HUNT):
            if look(source, range(unit, unit + 1)).wrong:
                say(f"{bug.name}: home {unit}")
                return unit
    say(f"{bug.name}: not caught in {HUNT} homes")
    return None


def look(source: Path, units: range) -> Seen:
    """Live through these homes and judge them."""
    wrong: list[str] = []
    kills: Counter[str] = Counter()
    doubts = 0
    for unit in units:
        with place() as folder:
            home = Home(folder, unit, source)
            home.live()
            wrong += [f"home {unit}: {line}" for line in home.wrong]
            kills += home.kills
            doubts += home.doubts
    return Seen(wrong, kills, doubts)


class Home:
    """One home, from its first process to its last."""

    def __init__(self, folder: Path, unit: int, source: Path) -> None:
        self._folder, self._unit, self._source = folder, unit, source
        self.wrong: list[str] = []
        self.kills: Counter[str] = Counter()
        self.doubts = 0
        self._number = 0

    def live(self) -> None:
        """Killed once or twice, then seen through."""
        rng = Random(f"bills {self._unit}")
        places = [rng.choice(("call", "answer", "written")) for _ in range(2)]
        at = [rng.randint(1, 6), rng.randint(1, 3)]
        self._killed(f"first.{at[0]}.{places[0]}", places[0])
        if self._unit % 2:
            self._killed(f"again.{at[1]}.{places[1]}", places[1])
        self._lives("goes")
        self._within("goes")
        self._lives("settles")
        self._settled()

    def _killed(self, life: str, where: str) -> None:
        ended = self._lives(life)
        if ended == KILLED:
            self.kills[where] += 1
            held = self._within(life)
            if where != "written" and held < MOST:
                self.wrong.append(f"killed in the middle ({where}), and nothing is held")

    def _lives(self, life: str) -> int:
        """How a process with this life ended."""
        env = dict(os.environ, PYTHONPATH=str(self._source), PYTHONDONTWRITEBYTECODE="1")
        command = [sys.executable, "-W", "ignore", str(SUBJECT), str(self._folder)]
        self._number += 1
        looks = [f"{what}{self._number}" for what in ("costs", "budget")]
        done = subprocess.run(
            [*command, str(self._unit), life, *looks], env=env, capture_output=True, text=True
        )
        ends = [json.loads(line)["ended"] for line in done.stdout.splitlines()]
        if len(ends) != 3 or ends[1:] != [0, 0] or ends[0] not in (0, KILLED):
            self.wrong.append(f"{life} ended with {ends}: {done.stderr[-300:]}")
        return int(ends[0]) if ends else 1

    def _told(self, what: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            (self._folder / f"{what}{self._number}.json").read_text() or "{}"
        )
        return found

    def _bills(self) -> list[dict[str, Any]]:
        file = self._folder / "charged"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def _within(self, life: str) -> int:
        """Nothing that was charged is unaccounted for, and no limit is passed; what is held."""
        scope = next((b for b in self._told("budget")["budgets"] if b["scope"] == RUN), None)
        if scope is None:
            self.wrong.append(f"after {life}: the run has no budget")
            return 0
        total, billed = self._told("costs")["total"], sum(b["amount"] for b in self._bills())
        spent, held = scope["spent"], scope["held"]
        if spent + held < billed:
            self.wrong.append(f"after {life}: {spent} spent and {held} held, {billed} was charged")
        if spent + held > scope["limit"]:
            self.wrong.append(f"after {life}: {spent} spent and {held} held of {scope['limit']}")
        told = (total["cost_nano_usd"] + total["assumed_nano_usd"], total["held_nano_usd"])
        if told != (spent, held):
            self.wrong.append(f"after {life}: costs says {told}, the budget {(spent, held)}")
        calls = self._told("budget")["calls"]
        if sum(call["held"] for call in calls) != held:
            self.wrong.append(f"after {life}: the calls that hold money do not add up to {held}")
        self.doubts += len(calls) if life == "goes" else 0
        return int(held)

    def _settled(self) -> None:
        """It is the bills, once and all of them."""
        scope = next(b for b in self._told("budget")["budgets"] if b["scope"] == RUN)
        billed = sum(bill["amount"] for bill in self._bills())
        if (scope["spent"], scope["held"]) != (billed, 0):
            self.wrong.append(f"in the end {scope['spent']} spent, {scope['held']} held: {billed}")
        total = self._told("costs")["total"]
        told = total["cost_nano_usd"] + total["assumed_nano_usd"]
        if (told, total["held_nano_usd"]) != (billed, 0):
            self.wrong.append(f"in the end costs says {told}, {billed} was charged")
