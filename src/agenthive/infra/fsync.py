"""What is still there after a power cut: contents once they are synced, names once their folder is.

Writes nothing and removes nothing. To add: what else has to be made sure of before it is relied on.
"""

from __future__ import annotations

import os
from pathlib import Path


def make_folder(folder: Path) -> None:
    """Make a folder (0700) and what is missing above it, safe on the disk. Raises OSError."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for path in missing:
        sync_path(path.parent)


def sync_path(path: Path) -> None:
    """What a file holds, or what a folder names, is safe when this returns. Raises OSError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:
        # May be written and not be read: then nobody can sync it either.
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
