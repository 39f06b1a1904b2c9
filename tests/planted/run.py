"""Plants each bug in a copy of the source and lets the simulator look for it. By hand:

    python tests/planted/run.py [--seeds N] [NAME ...]

One line a bug; exit code 1 if one was not caught. A bug is a `.patch` beside this file: a sentence
that says what is wrong, then a diff of shipped files other than the simulator itself.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.planted.patches import copy_with, planted


class Verdict(NamedTuple):
    """The first seed that fails, None if none of ``looked_at`` does; and what is wrong there."""

    seed: int | None
    looked_at: int
    told: str


def hunt(patch: Path | None, seeds: int) -> Verdict:
    """Look for the bug in seeds 0, 1, 2, ...; stop at the first that fails."""
    command = ["-m", "tests.fuzz.campaign", "--seeds", f"0:{seeds}", "--stop-after", "1"]
    with tempfile.TemporaryDirectory() as folder:
        source = copy_with(patch, Path(folder))
        env = dict(os.environ, PYTHONPATH=str(source), PYTHONDONTWRITEBYTECODE="1")
        where = "import agenthive; print(agenthive.__file__)"
        found = _python(["-c", where], env).stdout.strip()
        if not Path(found).is_relative_to(source):
            raise RuntimeError(f"the copy is not what runs, but {found}")
        done = _python(command, env)
    if done.returncode not in (0, 1) or not done.stdout:
        raise RuntimeError(f"{patch}: the simulator broke:\n{done.stderr}")
    summary, *lines = done.stdout.splitlines()
    told = json.loads(summary)
    return Verdict(told["first_bad_seed"], told["seeds"], lines[0] if lines else "")


def _python(command: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", *command], env=env, capture_output=True, text=True
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    missed = 0
    for patch in planted():
        if options.names and patch.stem not in options.names:
            continue
        verdict = hunt(patch, options.seeds)
        missed += verdict.seed is None
        at = f"caught at seed {verdict.seed}" if verdict.seed is not None else "NOT CAUGHT"
        print(f"{patch.stem:32} {at} of {options.seeds}: {verdict.told[:120]}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
