"""The figures of a source tree count what they say they count."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.house import figures

MODULE = '''"""A module
of two lines."""

import os  # noqa: F401


class Plan:
    """One line."""

    #: Micro-dollars.
    cost: int = 0

    def __init__(self, given: int) -> None:
        # Reason.
        self.cost = given

    def settled(self) -> int:
        found = name = self.cost
        with open("x") as told:
            return found + name + told

    def read_rows_ofHTTPServer(self) -> None: ...
'''


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two modules that count, and three that do not."""
    for name in ("one.py", "facades/doc.py", "tests/test_a.py", "test_b.py", "c_pb2.py"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(MODULE)
    return tmp_path


def test_names_and_lines(tree: Path) -> None:
    row = figures.measure_tree(tree)
    assert (row.files, row.functions, row.words) == (2, 4, 3.0)
    assert (row.one_word, row.participles) == (50.0, 50.0)
    assert (row.vague_locals, row.vague_names) == (66.7, 75.0)
    assert row.code_lines == 20
    assert (row.comments, row.docstrings) == (20.0, 30.0)


def test_class_with_two_meanings(tree: Path) -> None:
    assert figures.measure_tree(tree).double_classes == 0
    (tree / "two.py").write_text("class Plan: ...\nclass _Plan: ...\n")
    (tree / "three.py").write_text("class _Plan: ...\n")
    row = figures.measure_tree(tree)
    assert row.details["classes with two meanings"] == ["Plan (2)"]


def test_sizes(tree: Path) -> None:
    methods = "".join(f"    def m{number}(self): ...\n" for number in range(26))
    body = "    x = 1\n" * 41
    (tree / "big.py").write_text(f"class Big:\n{methods}\ndef f():\n{body}" + "\n" * 700)
    row = figures.measure_tree(tree)
    assert (row.long_files, row.wide_classes, row.long_functions) == (1, 1, 1)


@pytest.mark.parametrize(
    ("word", "expected"),
    [("settled", True), ("running", True), ("told", True), ("string", False), ("read", False)],
)
def test_participles(word: str, expected: bool) -> None:
    assert figures.is_participle(word) is expected


def test_printout_has_the_peers(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert figures.main([str(tree), "--details"]) == 0
    printed = capsys.readouterr().out
    assert "trio 0." in printed
    assert "files over 700 lines: none" in printed
    assert figures.main([str(tree), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 1 + len(figures.PEERS)
