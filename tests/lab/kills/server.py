"""Runs the subject, sound or with a planted bug, has it killed, and asks the oracle.

One subject forks the processes that are killed, so a crash costs no start of an interpreter.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.copies import make_environment
from tests.lab.kills.flows import REFERENCE
from tests.lab.kills.oracle import judge, read_lines
from tests.planted.bugs import Bug, copy_with_bug

STUCK = 3


class CrashResult(NamedTuple):
    """What came of one hive that was killed: how often, what is wrong, how many crash points its
    last life had and how many of them while it opened the home, seconds to be ready each time.
    """

    kills: int
    problems: list[str]
    points: int
    openings: int
    ready_times: list[float]
    repeated_calls: int


class KillTarget:
    """The process that can be killed, with or without a bug; killed again and again."""

    def __init__(self, folder: Path, bug: Bug | None) -> None:
        source = copy_with_bug(bug, folder)
        env = make_environment(source)
        self._folder = folder
        self._server = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(Path(__file__).with_name("subject.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
            text=True,
        )
        self.kills = self._cases = 0

    def crash(
        self,
        scenario: str,
        points: Iterable[int] = (),
        after: Iterable[float] = (),
        remains: Path | None = None,
        inspect: Callable[[Path], None] | None = None,
    ) -> CrashResult:
        """Processes that die at these points, or after so many seconds, and one that lives.

        ``remains``: what an earlier process left behind, to go on from. ``inspect`` is shown the
        folder before it goes.
        """
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._cases += 1
        case = self._folder / f"case{self._cases}"
        if remains is None:
            case.mkdir()
        else:
            restore_remains(remains, case)
        request = {
            "folder": str(case),
            "scenario": scenario,
            "points": [*points],
            "after": [*after],
        }
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        response = json.loads(self._server.stdout.readline())
        self.kills += response["kills"]
        problems = judge(case, scenario)
        if response["code"] == STUCK:
            problems.insert(0, "some run neither ends nor waits")
        ledger = read_lines(case / "ledger")
        if inspect is not None:
            inspect(case)
        shutil.rmtree(case)
        ready = [line for line in ledger if line["what"] == "ready" and "openings" in line]
        calls = [(line["run"], line["task"]) for line in ledger if line["what"] == "begin"]
        return CrashResult(
            kills=response["kills"],
            problems=problems,
            points=int(ledger[-1].get("points", 0)),
            openings=max((line["openings"] for line in ready), default=0),
            ready_times=[line["seconds"] for line in ready],
            repeated_calls=len(calls) - len(set(calls)),
        )

    def close(self) -> None:
        """End it."""
        self._server.communicate()


@contextmanager
def start_target(bug: Bug | None = None) -> Iterator[KillTarget]:
    """A subject of its own folder, gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        victim = KillTarget(Path(folder), bug)
        try:
            yield victim
        finally:
            victim.close()


def restore_remains(remains: Path, case: Path) -> None:
    """A folder as `keep_remains` found it. The database comes from its text, so that it is made by
    nothing that is judged.
    """
    shutil.copytree(remains, case)
    text = (case / "journal.sql").read_text("utf-8")
    for folder in (case / "home", case / "kill1"):
        folder.mkdir(mode=0o700)
        with closing(sqlite3.connect(folder / "journal.db")) as connection:
            connection.executescript(text)


def keep_remains(case: Path, target: Path) -> None:
    """The first death in a folder, in files that can lie in a repository."""
    target.mkdir(parents=True)
    for name in ("ledger", "told"):
        lines = read_lines(case / name)
        first = [n for n, line in enumerate(lines) if line["what"] == "life" and line["number"]]
        first_lines = lines[: first[0]] if first else lines
        (target / name).write_text("".join(json.dumps(line) + "\n" for line in first_lines))
    with closing(sqlite3.connect(case / "kill1" / "journal.db")) as connection:
        [version] = connection.execute("PRAGMA user_version").fetchone()
        text = "\n".join(connection.iterdump())
    text = f"PRAGMA user_version = {version};\n{text}\n"
    (target / "journal.sql").write_text(text, "utf-8")


def spread_points(size: int, count: int, seed: int = 1) -> list[tuple[int, ...]]:
    """``count`` of the crash points, spread evenly; every other one followed by a second crash."""
    rng = Random(seed)
    points = sorted({1 + size * n // count for n in range(count)})
    rng.shuffle(points)
    return [(p, rng.randint(1, size)) if n % 2 else (p,) for n, p in enumerate(points)]


def hunt_bug(bug: Bug, max_crashes: int) -> tuple[int | None, str]:
    """How many kills it took to catch the bug (None: not within ``max_crashes``), and how."""
    with start_target(bug) as victim:
        for scenario in (*REFERENCE, "mixed"):
            baseline = victim.crash(scenario)
            if baseline.problems:
                return 0, f"{scenario} without a crash: {baseline.problems[0]}"
        for points in spread_points(baseline.points or 300, max_crashes):
            problems = victim.crash("mixed", points).problems
            if problems:
                return victim.kills, f"crash at {points}: {problems[0]}"
    return None, ""
