"""What is installed: locks that cover what is asked for, and a wheel that holds what it needs."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import agenthive

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^ ;\\]+)", re.MULTILINE)


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=;~! ]", name, maxsplit=1)[0]).lower()


def lock(name: str) -> str:
    return (ROOT / "requirements" / name).read_text("utf-8")


def pins(text: str) -> dict[str, str]:
    return {plain(name): version for name, version in PIN.findall(text)}


@pytest.mark.parametrize("name", ["base.lock", "dev.lock", "installer.lock"])
def test_every_pin_has_hashes(name: str) -> None:
    entries = re.split(r"\n(?=[A-Za-z0-9])", lock(name))
    bare = [
        entry.split("\n")[0] for entry in entries if PIN.match(entry) and "sha256:" not in entry
    ]
    assert bare == []
    assert pins(lock(name))


def test_locks_cover_what_is_asked_for() -> None:
    base, dev = pins(lock("base.lock")), pins(lock("dev.lock"))
    wanted = {plain(name) for name in PROJECT["dependencies"]}
    lines = lock("dev.in").splitlines()
    tools = {plain(line) for line in lines if line and not line.startswith("#")}
    assert wanted <= set(base)
    assert wanted | tools <= set(dev)
    assert {name: dev.get(name) for name in base} == base, "the locks disagree"


def test_extras_are_what_is_imported() -> None:
    extras = PROJECT["optional-dependencies"]
    assert set(extras) == {"anthropic", "mcp", "openai", "uvloop", "models", "all"}
    source = "".join(file.read_text("utf-8") for file in (ROOT / "src").rglob("*.py"))
    single = [name for name, needs in extras.items() if "agenthive-workflows[" not in needs[0]]
    assert [
        name for name in single if not re.search(rf"\bimport {name}\b|from {name}\b", source)
    ] == []
    assert set(single) <= set(pins(lock("dev.lock"))), "the tests need every extra"


def test_base_needs_no_vendor() -> None:
    assert {"openai", "anthropic", "mcp", "uvloop"} & set(pins(lock("base.lock"))) == set()


def test_requirements_txt_is_the_base_lock() -> None:
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#")] == ["-r requirements/base.lock"]


def test_wheel_holds_the_package_and_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="hatchling is not installed: python3 x.py setup")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    source = ROOT / "src"
    files = {
        file.relative_to(source).as_posix()
        for file in (source / "agenthive").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert files <= names
    assert "agenthive/py.typed" in names
    assert {name.split("/")[0] for name in names} == {
        "agenthive",
        f"agenthive_workflows-{agenthive.__version__}.dist-info",
    }
