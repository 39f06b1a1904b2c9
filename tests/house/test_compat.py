"""agenthive-compat holds re-exports and nothing else, and fits the agenthive of its version."""

from __future__ import annotations

import ast
import sys
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

import agenthive
from tests.documents.code_blocks import PACKAGES
from tests.house.test_x import x
from tests.wheels import ROOT, build_distribution

pytestmark = pytest.mark.slow
"""Many of its tests start processes or wait."""

__all__ = ["x"]

SOURCE = ROOT / "compat" / "packages"
DATA = "lead_agent/examples/"
INFO = f"agenthive_compat-{agenthive.__version__}.dist-info"
SOURCES = ("agenthive.facades.", "agenthive.errors")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_distribution("agenthive-compat", tmp_path_factory.mktemp("compat"))


@pytest.fixture(scope="module")
def names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def read_metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        return Parser().parsestr(archive.read(f"{INFO}/METADATA").decode())


def find_code(text: str) -> list[str]:
    """Statements that are no re-export: allowed are a docstring, imports, ``__all__``, a guard."""
    offences = []
    for number, node in enumerate(ast.parse(text).body):
        is_docstring = number == 0 and isinstance(node, ast.Expr)
        if is_docstring or isinstance(node, ast.Import) or is_reexport(node) or is_guard(node):
            continue
        offences.append(ast.unparse(node))
    return offences


def is_reexport(node: ast.stmt) -> bool:
    """An import of names from agenthive, or the list of them."""
    if isinstance(node, ast.ImportFrom):
        return node.level == 0 and str(node.module).startswith(SOURCES)
    targets = node.targets if isinstance(node, ast.Assign) else []
    return [ast.unparse(target) for target in targets] == ["__all__"]


def is_guard(node: ast.stmt) -> bool:
    """``if __name__ == "__main__":`` and one call."""
    if not isinstance(node, ast.If) or node.orelse or len(node.body) != 1:
        return False
    call = isinstance(node.body[0], ast.Expr) and isinstance(node.body[0].value, ast.Call)
    return call and ast.unparse(node.test) == "__name__ == '__main__'"


def list_imported(text: str) -> list[str]:
    return sorted(
        name.asname or name.name
        for node in ast.parse(text).body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    )


def test_wheel_holds_the_names_of_the_documents(names: list[str]) -> None:
    tops = {name.split("/")[0] for name in names}
    assert tops == {*PACKAGES, INFO} - {"cli"}, "cli is not there yet"
    modules = {path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py")}
    others = {name for name in names if not name.startswith((DATA, INFO))}
    assert others == modules
    assert not [name for name in names if name.startswith(DATA) and "__init__" in name]


def test_wheel_holds_no_code(wheel: Path, names: list[str]) -> None:
    with zipfile.ZipFile(wheel) as archive:
        texts = {
            name: archive.read(name).decode()
            for name in names
            if name.endswith(".py") and not name.startswith(DATA)
        }
    assert len(texts) > 30
    assert {name: find_code(text) for name, text in texts.items() if find_code(text)} == {}
    for name, text in texts.items():
        assert ast.get_docstring(ast.parse(text)), name
        lists = [node.value for node in ast.parse(text).body if isinstance(node, ast.Assign)]
        assert sorted(map(str, ast.literal_eval(lists[0]) if lists else [])) == list_imported(text)


@pytest.mark.parametrize(
    "text",
    [
        "def f(): ...",
        "x = 1",
        "from json import loads",
        "from . import a",
        "import json\njson.dumps(1)",
        "if True:\n    print()",
        'if __name__ == "__main__":\n    a()\n    b()',
    ],
)
def test_planted_code_is_found(text: str) -> None:
    assert find_code(f'"""A module."""\n{text}')


def test_metadata(wheel: Path, names: list[str]) -> None:
    metadata = read_metadata(wheel)
    assert metadata["Name"] == "agenthive-compat"
    assert metadata["Version"] == agenthive.__version__
    assert metadata.get_all("Requires-Dist") == [f"agenthive-workflows=={agenthive.__version__}"]
    assert "Opt-in" in metadata["Summary"]
    description = " ".join(str(metadata.get_payload()).split())
    assert "no package should depend on it" in description
    assert f"{INFO}/licenses/LICENSE" in names
    with zipfile.ZipFile(wheel) as archive:
        scripts = archive.read(f"{INFO}/entry_points.txt").decode().splitlines()
    assert [line for line in scripts if line] == [
        "[console_scripts]",
        "agenthive-compat = agenthive.facades.document_files:main",
    ]


def test_licence_is_that_of_the_repository() -> None:
    assert (ROOT / "compat" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_no_distribution_needs_it() -> None:
    assert "agenthive-compat" not in (ROOT / "pyproject.toml").read_text("utf-8")
    locks = (ROOT / "requirements").iterdir()
    assert [file.name for file in locks if "agenthive-compat" in file.read_text("utf-8")] == []


def test_sdist_holds_what_is_needed_to_test_and_build(tmp_path: Path, names: list[str]) -> None:
    """Tests, locks and compat; the wheel of compat built from it is the same."""
    sdist = build_distribution("agenthive-workflows", tmp_path / "sdist", "sdist")
    with tarfile.open(sdist) as archive:
        files = {name.partition("/")[2] for name in archive.getnames()}
        archive.extractall(tmp_path / "unpacked", filter="data")
    for name in ("x.py", "tests/house/test_compat.py", "requirements/dev.lock", "requirements.txt",
                 "compat/pyproject.toml", "compat/hatch_build.py", "compat/README.md",
                 "compat/packages/src/agents/base.py", "tests/node/package-lock.json",
                 "src/agenthive/py.typed", "Makefile"):  # fmt: skip
        assert name in files
    assert not [name for name in files if "node_modules" in name or ".venv" in name]
    (folder,) = (tmp_path / "unpacked").iterdir()
    rebuilt = build_distribution("agenthive-compat", tmp_path / "again", root=folder)
    with zipfile.ZipFile(rebuilt) as archive:
        assert sorted(archive.namelist()) == sorted(names)


def test_build_makes_everything(x: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`python3 x.py build DIR`: a wheel and an sdist of agenthive, a wheel of agenthive-compat."""
    monkeypatch.setattr(x, "ensure", lambda: None)
    monkeypatch.setattr(x, "PYTHON", sys.executable)
    assert x.build([str(tmp_path)]) == 0  # type: ignore[attr-defined]
    version = agenthive.__version__
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        f"agenthive_compat-{version}-py3-none-any.whl",
        f"agenthive_workflows-{version}-py3-none-any.whl",
        f"agenthive_workflows-{version}.tar.gz",
    ]
