"""Plants bugs that tests are to find, instead of the simulator. By hand, to record what found them:

    python -m tests.planted.by_tests FOLDER TEST_FILE ...

`found_by.txt` in the folder of the bugs has a line for each: its name, then the test that found it,
which is run first the next time.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.planted.bugs import Bug, copy_with_bug, list_bugs

ROOT: Final = Path(__file__).parents[2]
RECORDED: Final = "found_by.txt"
_COMMAND: Final = (sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider")


def hunt_by_tests(bug: Bug, tests: tuple[str, ...], first: str | None = None) -> str | None:
    """The id of a test that fails with the bug; None if all pass.

    ``first`` is run before the others. It may be out of date: then all of them are run. Raises
    RuntimeError if the tests could not be run.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = copy_with_bug(bug, Path(folder))
        environment = dict(os.environ, PYTHONPATH=f"{source}{os.pathsep}{ROOT}")
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
        for selected in ((first,), tests) if first else (tests,):
            done = subprocess.run(
                [*_COMMAND, *selected], cwd=ROOT, env=environment, capture_output=True, text=True
            )
            if done.returncode == 1 and (
                found := re.search(r"^FAILED (.+?)( - |$)", done.stdout, re.M)
            ):
                return found[1]
    if done.returncode != 0:
        raise RuntimeError(
            f"the tests could not be run:\n{done.stdout[-2000:]}{done.stderr[-500:]}"
        )
    return None


def read_found(folder: Path) -> dict[str, str]:
    """The recorded tests by the names of the bugs."""
    lines = (folder / RECORDED).read_text("utf-8").splitlines()
    return {name: test for name, _, test in (line.partition(" ") for line in lines)}


def main(arguments: list[str]) -> int:
    """Record which test finds each bug of a folder; exit code 1 if one is not found."""
    folder, tests = Path(arguments[0]), tuple(arguments[1:])
    found = {bug.name: hunt_by_tests(bug, tests) for bug in list_bugs(folder)}
    lines = [f"{name} {test}\n" for name, test in sorted(found.items()) if test is not None]
    (folder / RECORDED).write_text("".join(lines), "utf-8")
    for name in sorted(name for name, test in found.items() if test is None):
        print(f"{name} is not found")
    return 1 if None in found.values() else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
