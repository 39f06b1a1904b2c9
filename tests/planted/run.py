"""Plants each bug in a copy of the source and lets the simulator look for it. By hand:

    python tests/planted/run.py [--seeds N] [--record] [NAME ...]
    python tests/planted/run.py --check [NAME ...]

One line a bug; exit code 1 if one was not caught. ``--record`` writes the seeds into `seeds.txt`,
where the tests look first. ``--check`` only locates the bugs, also those of the laboratory: exit
code 1 if one does not fit the source any more. A bug is a `.toml` beside this file (its form:
`bugs.py`) that changes shipped files other than the simulator itself.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.copies import make_environment
from tests.planted.bugs import LAB, Bug, Stale, copy_with_bug, edit_sources, list_bugs

RECORDED = Path(__file__).with_name("seeds.txt")
"""A bug a line, with a seed that catches it: the first one, or one that does so sooner."""
CAMPAIGN = (
    "import agenthive; print(agenthive.__file__);"
    " from tests.fuzz.campaign import main; raise SystemExit(main())"
)


class Verdict(NamedTuple):
    """The first seed that fails, None if none of ``seeds_tried`` does; and what is wrong there."""

    seed: int | None
    seeds_tried: int
    violation: str


def hunt(bug: Bug | None, seeds: int, first: int | None = None) -> Verdict:
    """Look for the bug in seeds 0, 1, 2, ...; stop at the first that fails.

    ``first``: a seed to try before the others. It may be out of date: then all of them are tried.
    """
    parts = [] if first is None else [range(first, first + 1)]
    verdict = Verdict(None, 0, "")
    with tempfile.TemporaryDirectory() as folder:
        source = copy_with_bug(bug, Path(folder))
        for part in (*parts, range(seeds)):
            verdict = _run_campaign(bug, source, part)
            if verdict.seed is not None:
                break
    return verdict


def _run_campaign(bug: Bug | None, source: Path, seeds: range) -> Verdict:
    env = make_environment(source)
    command = [sys.executable, "-W", "ignore", "-c", CAMPAIGN]
    options = ["--seeds", f"{seeds.start}:{seeds.stop}", "--stop-after", "1"]
    process = subprocess.run([*command, *options], env=env, capture_output=True, text=True)
    package, *lines = process.stdout.splitlines() or [""]
    if not Path(package).is_relative_to(source):
        raise RuntimeError(f"the copy is not what runs, but {package}{process.stderr}")
    if process.returncode not in (0, 1) or not lines:
        raise RuntimeError(f"{bug}: the simulator broke:\n{process.stderr}")
    summary, *violations = lines
    counts = json.loads(summary)
    return Verdict(counts["first_bad_seed"], counts["seeds"], violations[0] if violations else "")


def read_seeds(file: Path = RECORDED) -> dict[str, int]:
    """The recorded seeds by the names of the bugs."""
    pairs = (line.split() for line in file.read_text("utf-8").splitlines())
    return {name: int(seed) for name, seed in pairs}


def write_seeds(seeds: dict[str, int], file: Path = RECORDED) -> None:
    """Record seeds, sorted by name."""
    lines = [f"{name} {seed}\n" for name, seed in sorted(seeds.items())]
    file.write_text("".join(lines), "utf-8")


def hunt_all(bugs: Iterable[Bug], seeds: int, *, record: bool = False) -> int:
    """Print where each bug is caught, and record it if wanted; how many are not caught."""
    missed = 0
    for bug in bugs:
        # One that still catches it stays: it may have been chosen because it is fast.
        verdict = hunt(bug, seeds, read_seeds().get(bug.name) if record else None)
        missed += verdict.seed is None
        if record and verdict.seed is not None:
            write_seeds(read_seeds() | {bug.name: verdict.seed})
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
    parser.add_argument("--record", action="store_true", help="write the seeds into seeds.txt")
    parser.add_argument("--check", action="store_true", help="only locate the bugs")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args(arguments)
    bugs = list_bugs() + (list_bugs(LAB) if options.check else [])
    unknown = set(options.names) - {bug.name for bug in bugs}
    if unknown:
        parser.error(f"no such bug: {', '.join(sorted(unknown))}")
    bugs = [bug for bug in bugs if not options.names or bug.name in options.names]
    if options.check:
        return 1 if check_all(bugs) else 0
    return 1 if hunt_all(bugs, options.seeds, record=options.record) else 0


if __name__ == "__main__":
    sys.exit(main())
