"""Unified diffs, applied to a copy of the source by what they say, not by line number.

A hunk's old lines must stand in the file once; so a patch lives on while the code around it moves,
and a patch whose place is gone says so.
"""

from __future__ import annotations

import shutil
from pathlib import Path

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "src"


class Stale(Exception):
    """A patch does not fit the source any more: plant the same bug in the new code."""


def planted() -> list[Path]:
    """The patches, one bug each, that the simulator must catch."""
    return sorted(HERE.glob("*.patch"))


def beyond(*names: str) -> list[Path]:
    """Patches that the simulator cannot see, for rows of the laboratory; those of these names."""
    found = {patch.stem: patch for patch in (HERE.parent / "lab" / "plants").glob("*.patch")}
    return [found[name] for name in names]


def apply(patch: Path, root: Path) -> list[str]:
    """Apply a patch to the tree below ``root``; the files that were changed."""
    changed = []
    for block in patch.read_text("utf-8").split("\n--- a/")[1:]:
        name, *lines = block.splitlines()
        target = root / name.strip()
        text = target.read_text("utf-8")
        for hunk in "\n".join(lines).split("\n@@")[1:]:
            text = _swap(text, hunk.splitlines()[1:], f"{patch.name}: {name}")
        target.write_text(text, "utf-8")
        changed.append(name.strip())
    if not changed:
        raise Stale(f"{patch.name}: no file to change")
    return changed


def _swap(text: str, hunk: list[str], where: str) -> str:
    old = "".join(line[1:] + "\n" for line in hunk if line[:1] in (" ", "-"))
    new = "".join(line[1:] + "\n" for line in hunk if line[:1] in (" ", "+"))
    if text.count(old) != 1:
        raise Stale(f"{where}: the old lines stand there {text.count(old)} times:\n{old}")
    return text.replace(old, new)


def copy_with(patch: Path | None, root: Path) -> Path:
    """A copy of the source below ``root`` with that bug in it; what to put on PYTHONPATH."""
    target = root / "src"
    shutil.copytree(SOURCE, target, ignore=shutil.ignore_patterns("__pycache__"))
    if patch is not None:
        apply(patch, root)
    return target
