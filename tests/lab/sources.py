"""Which sources a result is about: a digest of what decides, stores and acts.

Results of one digest add up. A commit that leaves these rooms alone keeps its results; one that
touches them starts anew.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("core", "stores", "queries", "runtimes")
HARNESS = (
    "src/agenthive/simulation",
    "src/agenthive/testing",
    "tests/fuzz",
    "tests/lab",
    "tests/planted",
)
"""What looks for planted bugs: when it changes, they must be caught again."""


def hash_folders(folders: Iterable[Path], root: Path) -> str:
    """Over names and contents of all files below, whatever git thinks of them."""
    mark = hashlib.sha256()
    for folder in folders:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                body = file.read_bytes()
                mark.update(f"{file.relative_to(root).as_posix()}\0{len(body)}\0".encode())
                mark.update(body)
    return mark.hexdigest()[:16]


def digest(root: Path = ROOT) -> str:
    """Of core, stores, queries and runtimes."""
    return hash_folders([root / "src" / "agenthive" / room for room in ROOMS], root)


def harness_digest(root: Path = ROOT) -> str:
    """Of those, and of what looks for planted bugs in them."""
    rooms = [root / "src" / "agenthive" / room for room in ROOMS]
    return hash_folders([*rooms, *(root / name for name in HARNESS)], root)


def current_commit(root: Path = ROOT) -> str:
    """The commit, with a plus if the sources differ from it; empty where there is no git."""
    head = _run_git(root, "rev-parse", "--short=12", "HEAD")
    return head + ("+" if _run_git(root, "status", "--porcelain", "--", "src") else "")


def _run_git(root: Path, *arguments: str) -> str:
    process = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True)
    return process.stdout.strip() if process.returncode == 0 else ""
