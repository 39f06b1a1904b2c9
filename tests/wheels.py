"""The wheels of this repository: building them, and a folder with both installed.

A test that has the folder on its path imports nothing from the source tree.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[1]
PROJECTS: Final = {"agenthive-workflows": ROOT, "agenthive-compat": ROOT / "compat"}
"""Distribution -> the folder that it is built from."""


def build_distribution(name: str, target: Path, kind: str = "wheel", root: Path = ROOT) -> Path:
    """Build the wheel or the sdist of a distribution into ``target``; gives the file."""
    pytest.importorskip("hatchling", reason="hatchling is not installed: python3 x.py setup")
    before = set(target.glob("*")) if target.is_dir() else set()
    folder = root / PROJECTS[name].relative_to(ROOT)
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(target)]
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr
    (file,) = set(target.glob("*")) - before
    return file


def install_wheels(target: Path) -> Path:
    """Unpack freshly built wheels of all distributions into one folder, as pip --target does."""
    for name in PROJECTS:
        wheel = build_distribution(name, target.with_name(f"{target.name}-{name}"))
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(target)
    return target


def clean_environment(site: Path | None = None, **variables: str) -> dict[str, str]:
    """The environment without settings of agenthive and Python, with ``site`` on the path."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AGENTHIVE_", "PYTHON", "COV_", "VIRTUAL_ENV"))
    }
    path = {} if site is None else {"PYTHONPATH": str(site)}
    return kept | path | {"NO_COLOR": "1"} | variables


def call_console_script(name: str, *arguments: str) -> list[str]:
    """The command that does what the console script of an unpacked wheel does."""
    code = (
        "import sys; from importlib.metadata import entry_points as e; "
        f"sys.argv[0] = {name!r}; (s,) = e(group='console_scripts', name={name!r}); "
        "sys.exit(s.load()())"
    )
    return [sys.executable, "-c", code, *arguments]
