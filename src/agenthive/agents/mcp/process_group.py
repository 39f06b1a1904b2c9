"""A child process in a group of its own, of which nothing survives `end`.

Its stdout is read line by line within a bound, the end of its stderr is kept for the error message,
and its own end is noticed at once, also when a grandchild holds the pipes open. Never a shell,
never our environment, nothing of it on our terminal.
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

TAIL: Final = 4096
"""Bytes of stderr that are kept."""
LEFT_OVER: Final = 0.5
"""Seconds to read what a process said before it ended, and to see how one ended that is silent."""
TERM_GRACE: Final = 1.0
INHERITED: Final = ("HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER")
"""The variables a child gets without asking; none of them is a secret."""


class _ExitProtocol(SubprocessStreamProtocol):
    """Tells of the exit when it happens; asyncio's own waits for the pipes."""

    def __init__(self, limit: int, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit, loop)
        self.exited = asyncio.Event()

    def process_exited(self) -> None:
        super().process_exited()
        self.exited.set()


class ProcessGroup:
    """A child under way. Made by `start`; must be ended by `end`."""

    def __init__(
        self, transport: asyncio.SubprocessTransport, protocol: _ExitProtocol, max_line: int
    ) -> None:
        self._transport, self._protocol, self._max_line = transport, protocol, max_line
        self.pid = transport.get_pid()
        self._tail = b""
        self._descendants: list[psutil.Process] = []
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
        """Start ``command`` with ``env`` on top of `INHERITED`. Raises OSError, ValueError.

        ``max_line`` bounds a line of its output, in bytes.
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
        """How it ended: its exit code, or the negative number of the signal; None while it runs."""
        return self._transport.get_returncode()

    @property
    def exit_story(self) -> str:
        """How it ended, and the last that it said on stderr. Not scrubbed."""
        code = self.status
        ending = "still runs" if code is None else f"ended with exit code {code}"
        if code is not None and code < 0:
            ending = f"was ended by signal {-code}"
        last_line = self._tail.decode("utf-8", "replace").strip().splitlines()[-1:]
        return f"{ending}; it said: {last_line[0][:300]}" if last_line else ending

    async def write(self, data: bytes) -> None:
        """Send to its stdin. Raises OSError when it does not listen any more."""
        assert self._protocol.stdin is not None
        self._protocol.stdin.write(data)
        await self._protocol.stdin.drain()

    async def read_lines(self) -> AsyncIterator[bytes]:
        """The lines of its stdout, until that is closed. Raises APIError for one too long."""
        assert self._protocol.stdout is not None
        try:
            while line := await self._protocol.stdout.readline():
                yield line
        except ValueError:
            raise APIError(f"it sent a line of more than {self._max_line} bytes") from None
        finally:
            self._stdout_closed.set()

    async def wait_finished(self) -> None:
        """Ends when the process has ended or closed its stdout; if both, then after both."""
        waiters = {
            asyncio.ensure_future(event.wait())
            for event in (self._protocol.exited, self._stdout_closed)
        }
        try:
            await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
            # A grandchild may hold the pipe for ever, and a silent one may live on.
            await asyncio.wait(waiters, timeout=LEFT_OVER)
        finally:
            for waiter in waiters:
                waiter.cancel()

    def kill(self) -> None:
        """Kill the whole group, and those of its children that left it, now."""
        if self._killed:
            return  # its number may belong to somebody else by now
        self._record_descendants()
        self._killed = self.status is not None
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        for member in self._descendants:
            with suppress(psutil.Error):
                member.kill()

    async def end(self, grace: float) -> None:
        """End it: by closing its stdin, by asking, by force; then kill what it left behind."""
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
            self._transport.close()
        await self._wait_group_gone()

    async def _wait_exited(self, seconds: float) -> bool:
        waiting = asyncio.ensure_future(self._protocol.exited.wait())
        await asyncio.wait({waiting}, timeout=seconds)
        waiting.cancel()
        return self._protocol.exited.is_set()

    async def _wait_group_gone(self) -> None:
        """What was killed goes in its own time; wait for that, within reason."""
        await self._wait_exited(TERM_GRACE)
        for _ in range(100):
            if not any(_is_running(member) for member in self._descendants):
                return
            await asyncio.sleep(TERM_GRACE / 100)

    def _record_descendants(self) -> None:
        """Remember its descendants while they can still be found through it."""
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
    """The absolute path of a command: on the PATH, else beside the Python that runs us."""
    python_folder = str(Path(sys.executable).parent)
    path = shutil.which(command) or shutil.which(command, path=python_folder)
    return None if path is None else os.path.abspath(path)
