"""A child process in a process group of its own, of which nothing survives `ProcessGroup.end`.

Its stdout is read line by line within a bound, the last bytes of its stderr are kept for the error
message, and its exit is noticed at once, also when a grandchild holds its pipes open. It never runs
in a shell, never inherits the environment of agenthive beyond `INHERITED`, and never writes to the
terminal.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from asyncio.subprocess import PIPE, SubprocessStreamProtocol
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from agenthive.errors import APIError

#: Bytes at the end of stderr that are kept.
TAIL: Final = 4096
#: Seconds to read the rest of the output of a process that has ended, and to wait for the exit of
#: one that has closed its stdout.
LEFT_OVER: Final = 0.5
#: Seconds between SIGTERM and SIGKILL.
TERM_GRACE: Final = 1.0
#: Environment variables that every child inherits; none of them holds a secret.
INHERITED: Final = ("HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER")


class _ExitProtocol(SubprocessStreamProtocol):
    """Sets an event when the process exits; asyncio's own `wait` also waits for the pipes."""

    def __init__(self, limit: int, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit, loop)
        self.exited = asyncio.Event()

    def process_exited(self) -> None:
        super().process_exited()
        self.exited.set()


class ProcessGroup:
    """A running child process. Created by `start`; must be ended by `end`."""

    def __init__(
        self, transport: asyncio.SubprocessTransport, protocol: _ExitProtocol, max_line: int
    ) -> None:
        self._transport, self._protocol, self._max_line = transport, protocol, max_line
        self.pid = transport.get_pid()
        #: The last bytes of stderr.
        self._tail = b""
        #: Descendants that may have left the group, to be killed one by one.
        self._descendants: list[psutil.Process] = []
        #: Whether the group was killed after the exit of its leader; see `kill`.
        self._killed = False
        self._stdout_closed = asyncio.Event()
        self._stderr_reader = asyncio.ensure_future(self._read_stderr())

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str | Path | None = None,
        max_line: int,
    ) -> ProcessGroup:
        """Start ``command`` with ``env`` on top of `INHERITED`.

        ``max_line`` is the longest line of its stdout, in bytes. Raises OSError if the command
        cannot be started, and ValueError if an argument cannot be passed (a null character).
        """
        loop = asyncio.get_running_loop()
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        transport, protocol = await loop.subprocess_exec(
            lambda: _ExitProtocol(max_line, loop),
            *command,
            env={**inherited, **env},
            cwd=cwd,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            start_new_session=True,
        )
        return cls(transport, protocol, max_line)

    @property
    def status(self) -> int | None:
        """The exit code, or the negative number of the signal that ended it; None while it runs."""
        return self._transport.get_returncode()

    @property
    def exit_story(self) -> str:
        """How the process ended, and the last line of its stderr. It may contain secrets."""
        code = self.status
        ending = "still runs" if code is None else f"ended with exit code {code}"
        if code is not None and code < 0:
            ending = f"was ended by signal {-code}"
        last_line = self._tail.decode("utf-8", "replace").strip().splitlines()[-1:]
        return f"{ending}; its last line on stderr: {last_line[0][:300]}" if last_line else ending

    async def write(self, data: bytes) -> None:
        """Write to its stdin. Raises OSError if the process has closed it."""
        assert self._protocol.stdin is not None
        self._protocol.stdin.write(data)
        await self._protocol.stdin.drain()

    async def read_lines(self) -> AsyncIterator[bytes]:
        """The lines of its stdout until it is closed. Raises APIError for a line too long."""
        assert self._protocol.stdout is not None
        try:
            while line := await self._protocol.stdout.readline():
                yield line
        except ValueError:
            raise APIError(f"the server sent a line of more than {self._max_line} bytes") from None
        finally:
            self._stdout_closed.set()

    async def wait_finished(self) -> None:
        """Return when the process has exited or closed its stdout.

        The other of the two is then awaited for `LEFT_OVER` seconds.
        """
        waiters = {
            asyncio.ensure_future(event.wait())
            for event in (self._protocol.exited, self._stdout_closed)
        }
        try:
            await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
            # Not longer: a grandchild may hold the pipe for ever, and a process that has closed
            # its stdout may continue to run.
            await asyncio.wait(waiters, timeout=LEFT_OVER)
        finally:
            for waiter in waiters:
                waiter.cancel()

    def kill(self) -> None:
        """Kill the whole group at once, and the descendants that have left it."""
        if self._killed:
            return  # The id of the group may belong to another group by now.
        self._record_descendants()
        self._killed = self.status is not None
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        for member in self._descendants:
            with suppress(psutil.Error):
                member.kill()

    async def end(self, grace: float) -> None:
        """End the process: close its stdin, after ``grace`` seconds send SIGTERM, then SIGKILL.

        The rest of its group is killed in any case.
        """
        self._record_descendants()
        assert self._protocol.stdin is not None
        self._protocol.stdin.close()
        try:
            if not await self._wait_exited(grace):
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, signal.SIGTERM)
                await self._wait_exited(TERM_GRACE)
        finally:
            self.kill()
            self._stderr_reader.cancel()
            try:
                # Closing polls a process that was not reaped yet, and its exit code would be lost.
                await self._wait_exited(TERM_GRACE)
            finally:
                self._transport.close()
        await self._wait_group_gone()

    async def _wait_exited(self, seconds: float) -> bool:
        waiting = asyncio.ensure_future(self._protocol.exited.wait())
        await asyncio.wait({waiting}, timeout=seconds)
        waiting.cancel()
        return self._protocol.exited.is_set()

    async def _wait_group_gone(self) -> None:
        """Wait until all descendants are gone, for about a second: a kill is not immediate."""
        await self._wait_exited(TERM_GRACE)
        for _ in range(100):
            if not any(_is_running(member) for member in self._descendants):
                return
            await asyncio.sleep(TERM_GRACE / 100)

    def _record_descendants(self) -> None:
        """Remember the descendants while the process runs; later they cannot be found."""
        if self.status is None:
            with suppress(psutil.Error):
                self._descendants += psutil.Process(self.pid).children(recursive=True)

    async def _read_stderr(self) -> None:
        assert self._protocol.stderr is not None
        while chunk := await self._protocol.stderr.read(TAIL):
            self._tail = (self._tail + chunk)[-TAIL:]


def _is_running(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def find_program(command: str) -> str | None:
    """The absolute path of a command: on the PATH, else beside the running Python; else None.

    The second place finds the commands of the virtual environment that agenthive is installed in.
    """
    python_folder = str(Path(sys.executable).parent)
    path = shutil.which(command) or shutil.which(command, path=python_folder)
    return None if path is None else os.path.abspath(path)
