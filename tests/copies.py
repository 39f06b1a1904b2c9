"""Copies of the source tree, for tests that change it, and the environment that runs them.

A copy has the bytecode of all modules, which are compiled once: a changed file is newer than its
bytecode, so Python compiles it again, and nothing else.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).resolve().parents[1] / "src"


@functools.cache
def compile_source(source: Path) -> None:
    """Compile what has no bytecode yet, unless none may be written."""
    if not os.environ.get("PYTHONDONTWRITEBYTECODE"):
        command = [sys.executable, "-m", "compileall", "-q", str(source)]
        subprocess.run(command, capture_output=True)


def copy_source(target: Path, source: Path = SOURCE) -> Path:
    """Copy the tree to ``target``, which must not exist, so that its bytecode is found."""
    compile_source(source)
    # Bytecode is written under a temporary name, which may be gone when its turn comes.
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.pyc.*"))
    if prefix := os.environ.get("PYTHONPYCACHEPREFIX"):
        folder = Path(f"{prefix}{target.resolve()}")
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.symlink_to(f"{prefix}{source}")
    return target


def make_environment(source: Path) -> dict[str, str]:
    """The environment in which Python imports the tree at ``source``.

    A copy may share its bytecode with the original, so nothing is written there.
    """
    environment = dict(os.environ, PYTHONPATH=str(source))
    if source != SOURCE:
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
    return environment
