"""A home: the state directory of an installation, with a journal, secrets and one owner.

    HOME/journal.db   the journal
    HOME/secrets/     secrets that were moved out of workflow definitions (files with mode 0600)
    HOME/owner.lock   the lock of the owner, with its process id
    HOME/socket       the socket on which the owner takes commands (mode 0600)
    HOME/door         the address of the owner, and the token that callers must send (mode 0600)

At most one process owns a home, and only the owner writes the journal. The lock is an flock(2) lock
of the kernel, which releases it when the process ends in any way. Never reads the journal.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from agenthive.errors import HomeBusy, StoreUnavailable
from agenthive.infra.fsync import make_folder


class Home:
    """The home at ``path``. Nothing is created before `acquire`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal = path / "journal.db"
        self.secrets = path / "secrets"
        self.socket = path / "socket"
        self._lock = path / "owner.lock"
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Become the owner; the folder is created if it is missing.

        Raises HomeBusy if another process is the owner, and StoreUnavailable if the folder or the
        lock cannot be written.
        """
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
                hint="Wait until that process ends, or use another home with --home.",
            ) from error
        try:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode())
        except OSError as error:
            os.close(descriptor)
            raise self._unusable_error(error) from error
        self._descriptor = descriptor

    @property
    def has_journal(self) -> bool:
        """Whether there is anything under the name of the journal, even a link to nothing."""
        return os.path.lexists(self.journal)

    def check_path(self) -> None:
        """Check that the path is a folder, and the journal in it a file; either may be missing.

        Raises StoreUnavailable. Creates nothing.
        """
        if self.path.exists() and not self.path.is_dir():
            raise self._unusable_error(
                NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            )
        if self.has_journal and not self.journal.is_file():
            # A new journal in its place would forget all runs and what was spent; to open a pipe
            # would wait for ever.
            if self.journal.is_symlink():
                problem = f"is a link to {os.readlink(self.journal)}, where no file is"
                hint = "Mount the disk that it is on, or choose another home with --home."
            else:
                problem = "is not a file"
                hint = "Move it away, and put the journal back that belongs here."
            raise StoreUnavailable(f"the journal {self.journal} {problem}", hint=hint)

    def _unusable_error(self, error: OSError) -> StoreUnavailable:
        return StoreUnavailable(
            f"the home {self.path} cannot be used: {error.strerror or error}",
            hint="Choose another folder with --home, or make this one writable.",
        )

    def owner_pid(self) -> int | None:
        """The process id in the lock file; None if it cannot be read."""
        try:
            return int(self._lock.read_text() or 0) or None
        except (OSError, ValueError):
            return None

    def write(self, name: str, content: bytes) -> None:
        """Write a small file of the home atomically, with mode 0600. Raises StoreUnavailable."""
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
        """The contents of a small file of the home. Raises OSError."""
        return (self.path / name).read_bytes()

    def release(self) -> None:
        """Stop being the owner. May be called twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
