"""Kills a real process at its crash points and has the judge look at what is left. By hand:

    python tests/planted/embedded.py [--points N] [--all] [NAME ...]

First the sound code, which must pass at every point; then each planted bug, until it is caught.
``--all`` looks at every point of the sound code. Exit code 1 if sound code fails, or if fewer than
ten bugs are caught.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.planted.judge import judge
from tests.planted.patches import copy_with, planted

HERE = Path(__file__).parent


class Subject:
    """The process that can be killed, with or without a bug; killed again and again."""

    def __init__(self, folder: Path, patch: Path | None) -> None:
        source = copy_with(patch, folder)
        env = dict(os.environ, PYTHONPATH=str(source), PYTHONDONTWRITEBYTECODE="1")
        self._folder = folder
        self._server = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(HERE / "subject.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
            text=True,
        )
        self.kills = self.tried = 0

    def crash(self, *points: int) -> list[str]:
        """What is wrong after crashes at these points of one process after the other."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self.tried += 1
        case = self._folder / f"case{self.tried}"
        case.mkdir()
        self._server.stdin.write(f"{case} {','.join(map(str, points))}\n")
        self._server.stdin.flush()
        told = json.loads(self._server.stdout.readline())
        self.kills += told["codes"].count(-9)
        wrong = judge(case)
        return ["some run neither ends nor waits", *wrong] if told["stuck"] else wrong

    def size(self) -> int:
        """How many crash points a life without a crash has."""
        ledger = (self._folder / f"case{self.tried}" / "ledger").read_text()
        last = json.loads(ledger.splitlines()[-1])
        return int(last.get("points", 0)) or 300

    def close(self) -> None:
        self._server.communicate()


@contextmanager
def subject(patch: Path | None) -> Iterator[Subject]:
    with tempfile.TemporaryDirectory() as folder:
        one = Subject(Path(folder), patch)
        try:
            yield one
        finally:
            one.close()


def spread(size: int, count: int, seed: int = 1) -> list[tuple[int, ...]]:
    """``count`` of the crash points, spread evenly; every other one followed by a second crash."""
    rng = Random(seed)
    points = sorted({1 + size * n // count for n in range(count)})
    rng.shuffle(points)
    return [(p, rng.randint(1, size)) if n % 2 else (p,) for n, p in enumerate(points)]


def first_wrong(
    one: Subject, crashes: Iterable[tuple[int, ...]]
) -> tuple[tuple[int, ...], str] | None:
    for points in crashes:
        wrong = one.crash(*points)
        if wrong:
            return points, wrong[0]
    return None


def hunt(patch: Path | None, count: int) -> tuple[str | None, int, int]:
    """What was found first (None: nothing), how many kills that took, how many points there are."""
    with subject(patch) as one:
        wrong = one.crash(0)
        if wrong:
            return f"without a crash: {wrong[0]}", one.kills, 0
        size = one.size()
        crashes = spread(size, count) if count else [(n,) for n in range(1, size + 1)]
        found = first_wrong(one, crashes)
        return (f"crash at {found[0]}: {found[1]}" if found else None), one.kills, size


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=40, help="crash points a bug, at most")
    parser.add_argument("--all", action="store_true", help="every point of the sound code")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    began = time.monotonic()
    found, kills, size = hunt(None, 0 if options.all else options.points)
    seconds = time.monotonic() - began
    print(f"{'sound code':32} {found or 'passes'} ({kills} kills, {size} points, {seconds:.1f} s)")
    caught = looked = 0
    for patch in planted():
        if options.names and patch.stem not in options.names:
            continue
        looked += 1
        told, kills, _ = hunt(patch, options.points)
        caught += told is not None
        print(f"{patch.stem:32} {told or 'not caught'} ({kills} kills)", flush=True)
    print(f"{caught} of {looked} bugs caught by kills, {time.monotonic() - began:.0f} s")
    return 1 if found or (caught < 10 and not options.names) else 0


if __name__ == "__main__":
    sys.exit(main())
