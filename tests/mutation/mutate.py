"""Makes small wrong changes in a package, one at a time, and sees whether a test notices. By hand:

    python tests/mutation/mutate.py [--packages P,P] [--tests FILE,FILE] [--sample N] [--seed N]
                                    [MODULE ...]

The package is `core` unless others are named, and the tests are all of the package. They are
collected once; each mutant is a fork in which one function's code is exchanged (or, for a change
outside functions, a process that imports the changed module). Those of `core` that no test notices
are shown to the simulator. The rest are listed as survivors. Prints figures as JSON; exit code 1
below 90 % killed. To add a package: a line in `TESTS`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout, suppress
from functools import partial
from pathlib import Path
from random import Random
from types import CodeType, FunctionType
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.mutation.mutants import Mutant, mutants, mutated

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "src"
PATIENCE = 20.0
"""Seconds at least; a mutant that takes longer does not end, and that is noticed."""
LONGEST = 600.0
"""Seconds that the tests may take without any change."""
SLOWER = 3.0
"""As many times what the tests take without any change, on a machine that is busy."""
SEEDS = 120
"""What survivors are shown to."""
GOAL = 0.9
RUNNING = ("-x", "-q", "-p", "no:cacheprovider", "-W", "ignore")
EXPRESSIONS = "expression"
MCP = sorted(
    file.name
    for pattern in ("test_mcp*.py", "test_process_group.py", "test_session_owner.py")
    for file in (ROOT / "tests" / "agents").glob(pattern)
)
TESTS: dict[str, list[str]] = {
    "core": ["tests/core", "--ignore-glob=*/test_expression*"],
    "infra": ["tests/infra"],
    "hive": ["tests/test_hive.py", "tests/test_hive_schedules.py", "tests/cli/test_schedule.py"],
    "cli": ["tests/cli", "--ignore=tests/cli/test_processes.py"],
    "stores": ["tests/stores"],
    "agents": ["tests/agents", "tests/test_models.py", *(f"--ignore-glob=*/{t}" for t in MCP)],
    "agents.mcp": [f"tests/agents/{t}" for t in MCP],
}
"""Package -> its tests; the longest name counts."""


def sources(names: Sequence[str], packages: Sequence[str] = ("core",)) -> dict[str, Path]:
    """Module -> file, of whole packages or of the modules asked for."""
    found = {
        ".".join(file.relative_to(SOURCES).with_suffix("").parts).removesuffix(".__init__"): file
        for package in packages
        for file in sorted((SOURCES / "agenthive" / package.replace(".", "/")).rglob("*.py"))
    }
    return {m: f for m, f in found.items() if not names or m.rpartition(".")[2] in names}


def code_of(tree: Any, qualified: str) -> CodeType:
    """The code of one function in a compiled module."""
    todo = [compile(tree, "<mutant>", "exec")]
    while todo:
        code = todo.pop()
        if code.co_qualname == qualified:
            return code
        todo += [const for const in code.co_consts if isinstance(const, CodeType)]
    raise LookupError(qualified)


def exchangeable(mutant: Mutant, files: dict[str, Path]) -> bool:
    """Whether a fork can exchange the code: the function is found and keeps its free variables."""
    if not mutant.function:
        return False
    try:
        code = code_of(
            mutated(files[mutant.module].read_text("utf-8"), mutant.number), mutant.function
        )
        return function_at(mutant.module, mutant.function).__code__.co_freevars == code.co_freevars
    except (LookupError, AssertionError):
        return False


def function_at(module: str, qualified: str) -> FunctionType:
    """The function object itself, out of properties and class methods."""
    found: Any = importlib.import_module(module)
    for name in qualified.split("."):
        found = vars(found)[name]
    for attribute in ("fget", "__func__", "__wrapped__"):
        found = getattr(found, attribute, found)
    assert isinstance(found, FunctionType), found
    return found


class Runner:
    """A pytest plugin: collects as usual, then runs the collected tests once for each mutant."""

    def __init__(self, todo: list[Mutant], files: dict[str, Path]) -> None:
        self.todo, self.files = todo, files
        self.survivors: list[Mutant] = []
        self.sound = False

    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Takes the place of pytest's own loop, but in the forks."""
        items = list(session.items)
        began = time.monotonic()
        if forked(lambda: None, partial(_loop, session), LONGEST):
            raise SystemExit("the tests fail without any change")
        self.sound = True
        patience = max(PATIENCE, SLOWER * (time.monotonic() - began))
        for mutant in self.todo:
            stem = mutant.module.rpartition(".")[2]
            session.items[:] = sorted(items, key=partial(_distance, stem))
            if not forked(partial(self.exchange, mutant), partial(_loop, session), patience):
                self.survivors.append(mutant)
        session.items[:] = []
        return True

    def exchange(self, mutant: Mutant) -> None:
        tree = mutated(self.files[mutant.module].read_text("utf-8"), mutant.number)
        code = code_of(tree, mutant.function)
        function_at(mutant.module, mutant.function).__code__ = code


def _distance(stem: str, item: pytest.Item) -> int:
    return 0 if stem.split("_")[0].rstrip("s") in item.path.stem else 1


def _loop(session: pytest.Session) -> bool:
    """Whether a test fails."""
    for i, item in enumerate(session.items):
        following = session.items[i + 1] if i + 1 < len(session.items) else None
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.testsfailed:
            return True
    return False


def forked(change: Callable[[], None], notices: Callable[[], bool], patience: float) -> bool:
    """Make the change in a fork; whether it was noticed there (or broke it, or never ended).

    ``patience`` is how many seconds it has.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        verdict = b"k"
        try:
            os.setsid()
            silence()
            change()
            verdict = b"k" if notices() else b"s"
        except BaseException:
            verdict = b"k"
        finally:
            os.write(writing, verdict)
            os._exit(0)
    os.close(writing)
    ready, _, _ = select.select([reading], [], [], patience)
    said = os.read(reading, 1) if ready else b"k"
    os.close(reading)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # servers that its tests started
    return said != b"s"


def silence() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def inside(todo: list[Mutant], files: dict[str, Path], tests: list[str]) -> list[Mutant]:
    """Mutants within functions: the survivors."""
    if not todo:
        return []
    runner = Runner(todo, files)
    with (
        tempfile.TemporaryDirectory() as folder,
        open(os.devnull, "w") as nowhere,
        redirect_stdout(nowhere),
    ):
        pytest.main([*RUNNING, f"--basetemp={folder}/tests", *tests], plugins=[runner])
    if not runner.sound:
        raise SystemExit("pytest did not come as far as the tests")
    return runner.survivors


def simulated(todo: list[Mutant], files: dict[str, Path]) -> list[Mutant]:
    """Mutants that the simulator does not notice either."""
    from tests.fuzz.campaign import run_campaign

    def notices() -> bool:
        return any(outcome.violations for outcome in run_campaign(range(SEEDS), stop_after=1))

    runner = Runner(todo, files)
    return [m for m in todo if not forked(partial(runner.exchange, m), notices, PATIENCE)]


ALONE = """
import sys, importlib.abc, importlib.util
sys.path[:0] = [{root!r}]
from pathlib import Path
from tests.mutation.mutants import mutated
class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            folders = [str(Path({file!r}).parent)] if {file!r}.endswith("__init__.py") else None
            return importlib.util.spec_from_file_location(
                name, {file!r}, loader=self, submodule_search_locations=folders
            )
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        tree = mutated(Path({file!r}).read_text("utf-8"), {number})
        exec(compile(tree, {file!r}, "exec"), module.__dict__)
sys.meta_path.insert(0, Finder())
import pytest
sys.exit(pytest.main({arguments!r}))
"""


def alone(todo: list[Mutant], files: dict[str, Path], tests: list[str]) -> list[Mutant]:
    """Mutants outside functions: a process of its own for each; the survivors."""
    if not todo:
        return []
    began = time.monotonic()
    if not _passes(todo[0]._replace(number=-1), files, tests, LONGEST):
        raise SystemExit("the tests fail without any change")
    patience = max(3 * PATIENCE, SLOWER * (time.monotonic() - began))
    return [mutant for mutant in todo if _passes(mutant, files, tests, patience)]


def _passes(mutant: Mutant, files: dict[str, Path], tests: list[str], patience: float) -> bool:
    text = ALONE.format(
        root=str(ROOT),
        module=mutant.module,
        file=str(files[mutant.module]),
        number=mutant.number,
        arguments=[*RUNNING, *tests],
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", text], capture_output=True, cwd=ROOT, timeout=patience
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def tests_of(module: str) -> list[str]:
    """Arguments for pytest: the tests that are about a module."""
    package = package_of(module)
    if package != "core":
        return [*TESTS[package], "-m", "not slow"]
    if EXPRESSIONS in module:
        return ["tests/core/test_expressions.py", "tests/core/test_expression_bounds.py"]
    return TESTS[package]


def package_of(module: str) -> str:
    """The row of `TESTS` that a module belongs to."""
    return max((p for p in TESTS if f"{module}.".startswith(f"agenthive.{p}.")), key=len)


def chosen(files: dict[str, Path], sample: int, seed: int) -> list[Mutant]:
    every = [m for module, file in files.items() for m in mutants(module, file.read_text("utf-8"))]
    picked = every if not sample else Random(seed).sample(every, min(sample, len(every)))
    return sorted(picked)


def groups(todo: list[Mutant], tests: Sequence[str]) -> dict[tuple[str, ...], list[Mutant]]:
    """Mutants by the tests that are about them; by ``tests`` if there are any."""
    found: dict[tuple[str, ...], list[Mutant]] = {}
    for mutant in todo:
        found.setdefault(tuple(tests or tests_of(mutant.module)), []).append(mutant)
    return found


def equivalent() -> set[tuple[str, str, str]]:
    """(module, what, text) of changes that change nothing, each with its reason in the file."""
    text = (Path(__file__).parent / "equivalent.txt").read_text("utf-8")
    rows = [line.split(" | ") for line in text.splitlines() if " | " in line]
    return {(module, what, code) for module, what, code, _ in rows}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--packages", default="core", help=f"separated by commas, of {','.join(TESTS)}"
    )
    parser.add_argument("--tests", default="", help="separated by commas, instead of all")
    parser.add_argument("--sample", type=int, default=600, help="how many mutants; 0: all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    os.nice(10)
    os.chdir(ROOT)
    packages = options.packages.split(",")
    if unknown := sorted(set(packages) - set(TESTS)):
        parser.error(f"no such package: {', '.join(unknown)}")
    files = sources(options.names, packages)
    todo = chosen(files, options.sample, options.seed)
    began, survivors, same = time.monotonic(), [], equivalent()
    chosen_tests = [name for name in options.tests.split(",") if name]
    for tests, group in groups(todo, chosen_tests).items():
        within = [m for m in group if exchangeable(m, files)]
        left = inside(within, files, [*tests])
        if package_of(group[0].module) == "core":
            left = simulated(left, files)
        left += alone([m for m in group if m not in within], files, [*tests])
        for one in left:
            mark = "equivalent" if (one.module, one.what, one.text) in same else "survived  "
            print(f"{mark} {one.module}:{one.line}: {one.what}: {one.text}", flush=True)
        survivors += left
    even = sum((one.module, one.what, one.text) in same for one in survivors)
    killed = len(todo) - len(survivors)
    score = killed / max(1, len(todo))
    figures = {
        "mutants": len(todo),
        "killed": killed,
        "survived": len(survivors) - even,
        "equivalent": even,
        "score": round(score, 4),
        "seconds": round(time.monotonic() - began),
    }
    print(json.dumps(figures))
    return 0 if score >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
