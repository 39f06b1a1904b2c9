"""A home: the folder that holds a journal, its secrets and the lock of its one owner.

    HOME/journal.db   the journal        HOME/secrets/   literals moved out of definitions (0600)
    HOME/owner.lock   held by the owner  HOME/socket     where the owner takes commands (0600)
    HOME/door         how to reach the owner, with the token that callers show (0600)

The lock is the kernel's, so it goes when its process goes, however that ends.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from agenthive.errors import HomeBusy, StoreUnavailable
from agenthive.infra.fsync import make_folder


class Home:
    """The folder at ``path``. Nothing is made before `acquire`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal = path / "journal.db"
        self.secrets = path / "secrets"
        self.socket = path / "socket"
        self._lock = path / "owner.lock"
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Become the owner. Raises HomeBusy if there is one, StoreUnavailable if it cannot be."""
        try:
            make_folder(self.path)
            descriptor = os.open(self._lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._unusable_error(error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise HomeBusy(
                f"the home {self.path} is owned by process {self.owner_pid() or 'unknown'}",
                hint="Wait for it, or use another home with --home.",
            ) from error
        try:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode())
        except OSError as error:
            os.close(descriptor)
            raise self._unusable_error(error) from error
        self._descriptor = descriptor

    def check_path(self) -> None:
        """Raises StoreUnavailable if what is at the path cannot be a home. Makes nothing."""
        if self.path.exists() and not self.path.is_dir():
            raise self._unusable_error(
                NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            )

    def _unusable_error(self, error: OSError) -> StoreUnavailable:
        return StoreUnavailable(
            f"the home {self.path} cannot be used: {error.strerror or error}",
            hint="Choose another folder with --home, or make this one writable.",
        )

    def owner_pid(self) -> int | None:
        """The process id that the owner wrote down, if it can be read."""
        try:
            return int(self._lock.read_text() or 0) or None
        except (OSError, ValueError):
            return None

    def write(self, name: str, content: bytes) -> None:
        """Write a small file into the home, all or nothing, for its owner's eyes only (0600).

        Raises StoreUnavailable.
        """
        partial = self.path / f"{name}.new"
        try:
            partial.unlink(missing_ok=True)
            descriptor = os.open(
                partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600
            )
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            partial.replace(self.path / name)
        except OSError as error:
            raise self._unusable_error(error) from error

    def read(self, name: str) -> bytes:
        """A small file of the home. Raises OSError."""
        return (self.path / name).read_bytes()

    def release(self) -> None:
        """Give the home up. May be called twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
