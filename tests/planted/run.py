"""Plants each bug in a copy of the source and lets the simulator look for it. By hand:

    python tests/planted/run.py [--seeds N] [NAME ...]
    python tests/planted/run.py --check [NAME ...]

One line a bug; exit code 1 if one was not caught. ``--check`` only locates the bugs, also those of
the laboratory: exit code 1 if one does not fit the source any more. A bug is a `.toml` beside this
file (its form: `bugs.py`) that changes shipped files other than the simulator itself.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.planted.bugs import LAB, Bug, Stale, copy_with_bug, edit_sources, list_bugs


class Verdict(NamedTuple):
    """The first seed that fails, None if none of ``seeds_tried`` does; and what is wrong there."""

    seed: int | None
    seeds_tried: int
    violation: str


def hunt(bug: Bug | None, seeds: int) -> Verdict:
    """Look for the bug in seeds 0, 1, 2, ...; stop at the first that fails."""
    command = ["-m", "tests.fuzz.campaign", "--seeds", f"0:{seeds}", "--stop-after", "1"]
    with tempfile.TemporaryDirectory() as folder:
        source = copy_with_bug(bug, Path(folder))
        env = dict(os.environ, PYTHONPATH=str(source), PYTHONDONTWRITEBYTECODE="1")
        package = _run_python(["-c", "import agenthive; print(agenthive.__file__)"], env)
        if not Path(package.stdout.strip()).is_relative_to(source):
            raise RuntimeError(f"the copy is not what runs, but {package.stdout}{package.stderr}")
        process = _run_python(command, env)
    if process.returncode not in (0, 1) or not process.stdout:
        raise RuntimeError(f"{bug}: the simulator broke:\n{process.stderr}")
    summary, *violations = process.stdout.splitlines()
    counts = json.loads(summary)
    return Verdict(counts["first_bad_seed"], counts["seeds"], violations[0] if violations else "")


def _run_python(command: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", *command], env=env, capture_output=True, text=True
    )


def hunt_all(bugs: Iterable[Bug], seeds: int) -> int:
    """Print where each bug is caught; how many are not."""
    missed = 0
    for bug in bugs:
        verdict = hunt(bug, seeds)
        missed += verdict.seed is None
        outcome = "NOT CAUGHT" if verdict.seed is None else f"caught at seed {verdict.seed}"
        print(f"{bug.name:32} {outcome} of {seeds}: {verdict.violation[:120]}", flush=True)
    return missed


def check_all(bugs: Iterable[Bug]) -> int:
    """Print the bugs that do not fit the source, and why; how many they are."""
    count = misfits = 0
    for bug in bugs:
        count += 1
        try:
            edit_sources(bug)
        except (Stale, ValueError) as error:
            misfits += 1
            print(f"{error}\n")
    print(f"{count - misfits} of {count} bugs fit the source")
    return misfits


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--check", action="store_true", help="only locate the bugs")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args(arguments)
    bugs = list_bugs() + (list_bugs(LAB) if options.check else [])
    unknown = set(options.names) - {bug.name for bug in bugs}
    if unknown:
        parser.error(f"no such bug: {', '.join(sorted(unknown))}")
    bugs = [bug for bug in bugs if not options.names or bug.name in options.names]
    return 1 if (check_all(bugs) if options.check else hunt_all(bugs, options.seeds)) else 0


if __name__ == "__main__":
    sys.exit(main())
