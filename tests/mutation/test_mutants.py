"""The mutants are what they say, and the runner tells killed from surviving ones."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutation import mutate
from tests.mutation.mutants import mutants, mutated
from tests.mutation.mutate import TESTS, equivalent, package_of, sources

SOURCE = '''
"""Text."""
LIMIT: int = 3
__slots__ = ("a",)
def f(a: int = 1) -> int:
    """Text."""
    assert a
    b = a + 1
    while a < b and not b:
        a -= 1
        if a == 2:
            break
        g(a)
    return -a
'''
EXPECTED = [
    (3, "one more"),
    (3, "one less"),
    (5, "one more"),
    (5, "one less"),
    (8, "leave out"),
    (8, "Sub instead"),
    (8, "one more"),
    (8, "one less"),
    (9, "negate"),
    (9, "and/or"),
    (9, "turn LtE"),
    (9, "reverse Gt"),
    (9, "drop not"),
    (10, "Add instead"),
    (10, "leave out"),
    (10, "one more"),
    (10, "one less"),
    (11, "negate"),
    (11, "turn NotEq"),
    (11, "one more"),
    (11, "one less"),
    (12, "break/continue"),
    (13, "leave out"),
    (14, "return None"),
    (14, "drop minus"),
]


def test_every_place_and_change() -> None:
    found = mutants("m", SOURCE)
    assert sorted((m.line, m.what) for m in found) == sorted(EXPECTED)
    assert {m.function for m in found if m.line > 5} == {"f"}


def test_what_counts_at_import() -> None:
    found = mutants(
        "m", "X = f()\ndef f():\n    return g()\ndef g():\n    return 1\ndef h():\n    return 1"
    )
    assert {m.line: m.function for m in found} == {1: "", 3: "", 5: "", 7: "h"}


def test_each_change_is_one_and_can_be_compiled() -> None:
    whole = ast.unparse(ast.parse(SOURCE))
    texts = [ast.unparse(mutated(SOURCE, m.number)) for m in mutants("m", SOURCE)]
    assert whole not in texts
    assert len(set(texts)) == len(texts)
    for text in texts:
        compile(text, "m", "exec")
    with pytest.raises(IndexError):
        mutated(SOURCE, 999)


def test_the_whole_core_can_be_changed() -> None:
    files = sources([])
    assert len(files) > 25
    every = [m for module, file in files.items() for m in mutants(module, file.read_text("utf-8"))]
    assert len(every) > 1500
    assert {m.module for m in every} <= set(files)


def test_every_package_has_its_tests() -> None:
    for module in sources([], [*TESTS]):
        arguments = mutate.tests_of(module)
        paths = [Path(__file__).parents[2] / a for a in arguments if a.startswith("tests/")]
        assert paths
        assert all(path.exists() for path in paths)
    assert package_of("agenthive.agents.mcp.transport") == "agents.mcp"
    assert package_of("agenthive.agents.llm.base") == "agents"
    assert package_of("agenthive.hive") == "hive"


def test_async_functions_are_functions_too() -> None:
    found = mutants("m", "class A:\n    async def f(self):\n        return g()")
    assert [m.function for m in found] == ["A.f"]


def test_what_is_called_equivalent_still_stands_there() -> None:
    files = sources([], [*TESTS])
    places = {
        (m.module, m.what, m.text)
        for module, file in files.items()
        for m in mutants(module, file.read_text("utf-8"))
    }
    assert equivalent() <= places, "some of these are gone: take them off the list"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no fork there")
def test_the_runner() -> None:
    script = str(Path(__file__).parent / "mutate.py")
    options = ("--tests", "tests/core/test_flow.py", "--sample", "0")
    done = subprocess.run(
        [sys.executable, script, *options, "dependencies"], capture_output=True, text=True
    )
    assert done.stdout, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, told["score"]) == (0, 1.0)
    assert told["mutants"] == told["killed"] > 4
