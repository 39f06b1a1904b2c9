"""Makes files and folders survive a power cut.

The contents of a file are durable after an fsync of the file, and its name after an fsync of its
folder (see fsync(2)). Never writes contents and never removes anything. To add a function: another
step that has to be durable before agenthive relies on it.
"""

from __future__ import annotations

import os
from pathlib import Path


def make_folder(folder: Path) -> None:
    """Make a folder (mode 0700) and its missing parents, durably. Raises OSError."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for path in missing:
        sync_path(path.parent)


def sync_path(path: Path) -> None:
    """Make the contents of a file, or the names in a folder, durable. Raises OSError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:
        # A folder may be writable and not readable; then it cannot be opened for an fsync.
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
