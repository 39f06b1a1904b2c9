"""A child in a group of its own: what it says, how it ends, and what is left of it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from agenthive.agents.mcp import process_group
from agenthive.agents.mcp.process_group import TAIL, ProcessGroup, find_program
from agenthive.errors import APIError
from tests.agents.peers import alive, group, until

pytestmark = pytest.mark.slow
"""Many of its tests start processes or wait."""

Start = Callable[..., Awaitable[ProcessGroup]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts Python code; afterwards nothing of it may be left."""
    begun: list[ProcessGroup] = []

    async def one(code: str, longest: int = 10_000) -> ProcessGroup:
        process = await ProcessGroup.start([sys.executable, "-c", code], env={}, max_line=longest)
        begun.append(process)
        return process

    yield one
    for process in begun:
        await process.end(0.1)
        assert group(process.pid) == []


async def lines(process: ProcessGroup) -> list[bytes]:
    return [line async for line in process.read_lines()]


ECHO = "import sys\nfor line in sys.stdin: print(line.upper(), end='', flush=True)"


async def test_a_conversation(start: Start) -> None:
    process = await start(ECHO)
    await process.write(b"bees\n")
    talk = process.read_lines()
    assert await anext(talk) == b"BEES\n"
    assert process.status is None
    assert process.exit_story == "still runs"
    started = time.monotonic()
    await process.end(5)
    assert time.monotonic() - started < 4  # its stdin was closed, and it went by itself
    assert process.status == 0
    assert [line async for line in talk] == []
    await process.wait_finished()


async def test_its_group_is_its_own(start: Start) -> None:
    process = await start("input()")
    assert os.getpgid(process.pid) == os.getsid(process.pid) == process.pid


async def test_a_long_line(start: Start) -> None:
    process = await start("print('x' * 9_000); print('y' * 20_000); input()")
    with pytest.raises(APIError, match="more than 10000 bytes"):
        await lines(process)


async def test_the_end_of_stderr_is_kept(start: Start, capfd: pytest.CaptureFixture[str]) -> None:
    code = "import sys; sys.stderr.write('x\\n' * 100_000 + 'the end\\n'); sys.exit(7)"
    process = await start(code)
    assert await lines(process) == []
    await process.wait_finished()
    await until(lambda: "the end" in process.exit_story)
    assert process.exit_story == "ended with exit code 7; its last line on stderr: the end"
    assert len(process._tail) == TAIL
    assert capfd.readouterr() == ("", "")


async def test_a_signal_is_told(start: Start) -> None:
    process = await start("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    await process.wait_finished()
    assert process.exit_story == f"was ended by signal {signal.SIGSEGV.value}"


async def test_writing_to_one_that_has_gone(start: Start) -> None:
    process = await start("pass")
    await process.wait_finished()
    await until(lambda: process._transport.is_closing())
    with pytest.raises(OSError, match="lost"):
        await process.write(b"x" * 100_000)


async def test_one_that_does_not_go_by_itself_is_asked_to(start: Start, tmp_path: Path) -> None:
    code = (
        "import signal, sys, time\n"
        f"def bye(*_): open({str(tmp_path / 'bye')!r}, 'w').close(); sys.exit(5)\n"
        "signal.signal(signal.SIGTERM, bye)\nprint(1, flush=True)\n"
        "while True: time.sleep(1)\n"
    )
    process = await start(code)
    await anext(process.read_lines())
    await process.end(0.1)
    assert (tmp_path / "bye").exists()
    assert process.status == 5


async def test_one_that_does_not_listen_is_killed(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_group, "TERM_GRACE", 0.2)
    code = (
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print(1, flush=True)\nwhile True: time.sleep(1)\n"
    )
    process = await start(code)
    await anext(process.read_lines())
    await process.end(0.1)
    await until(lambda: not alive(process.pid))
    assert process.status in (None, -9)


async def test_cancelled_while_it_ends(start: Start) -> None:
    """Whoever ends it may be in a hurry: then it is killed at once."""
    process = await start("import time; time.sleep(60)")
    ending = asyncio.ensure_future(process.end(30))
    await asyncio.sleep(0.1)
    ending.cancel()
    await asyncio.wait({ending})
    await until(lambda: not alive(process.pid))


FAMILY = """
import os, subprocess, sys, time
for own in (False, True):
    child = subprocess.Popen(["sleep", "60"], start_new_session=own, stdout={out})
    print(child.pid, flush=True)
{then}
"""


async def family(start: Start, then: str, out: str = "None") -> tuple[ProcessGroup, list[int]]:
    process = await start(FAMILY.format(then=then, out=out))
    talk = process.read_lines()
    return process, [int(await anext(talk)) for _ in range(2)]


@pytest.mark.parametrize("then", ["input()", "time.sleep(60)"])
async def test_descendants_go_too(start: Start, then: str) -> None:
    """Also those in a session of their own, as long as they can be found through their parent."""
    process, children = await family(start, then)
    await process.end(0.2)
    assert not any(alive(pid) for pid in children)


async def test_descendants_of_one_that_was_killed_at_once(start: Start) -> None:
    process, children = await family(start, "time.sleep(60)")
    process.kill()
    await process.wait_finished()
    process.kill()
    await until(lambda: not any(alive(pid) for pid in children))


async def test_what_a_crashed_one_leaves_in_its_group(start: Start) -> None:
    process, children = await family(start, "os._exit(3)")
    await process.wait_finished()  # although a child holds its stdout
    assert process.status == 3
    assert alive(children[0])
    await process.end(1)
    await until(lambda: not alive(children[0]))
    os.kill(children[1], signal.SIGKILL)  # in a session of its own, and an orphan: out of reach


async def test_the_group_of_a_dead_one_is_killed_once(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After that its number may belong to somebody else."""
    process = await start("pass")
    await process.wait_finished()
    await process.end(0.1)
    killed: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda pid, sign: killed.append(pid))
    process.kill()
    await process.end(0.1)
    assert killed == []


async def test_one_that_closed_its_stdout_and_lives_on(start: Start) -> None:
    process = await start("import os, time; os.close(1); time.sleep(60)")
    assert await lines(process) == []
    await process.wait_finished()
    assert process.exit_story == "still runs"


async def test_only_plain_variables_are_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-yours")
    process = await ProcessGroup.start(
        [sys.executable, "-c", "import os; print(sorted(os.environ))"],
        env={"NAMED": "x"},
        max_line=10_000,
    )
    said = (await lines(process))[0].decode()
    await process.end(0.1)
    assert "NAMED" in said
    assert "PATH" in said
    assert "AWS_SECRET_ACCESS_KEY" not in said


async def test_what_cannot_be_started(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await ProcessGroup.start(["/no/such/command"], env={}, max_line=10)
    with pytest.raises(ValueError, match="null byte"):
        await ProcessGroup.start([sys.executable, "\0"], env={}, max_line=10)


def test_paths_of_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_program("no-such-command") is None
    assert find_program("pytest") == str(Path(sys.executable).parent / "pytest")
    for name in ("mine", "pytest"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    assert find_program("mine") == str(tmp_path / "mine")
    assert find_program("pytest") == str(tmp_path / "pytest")  # the PATH comes first
    monkeypatch.chdir(tmp_path)
    assert find_program("./mine") == str(tmp_path / "mine")


async def test_a_process_that_is_gone_is_no_family_member(start: Start) -> None:
    process, children = await family(start, "input()")
    os.kill(children[0], signal.SIGKILL)
    await process.end(0.2)
    assert not any(alive(pid) for pid in children)


class Vanishing:
    """Gone between two questions."""

    def is_running(self) -> bool:
        return True

    def status(self) -> str:
        raise psutil.NoSuchProcess(1)


async def test_what_does_not_go_is_not_waited_for_for_ever(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not process_group._is_running(Vanishing())  # type: ignore[arg-type]
    process, _ = await family(start, "input()")
    monkeypatch.setattr(process_group, "TERM_GRACE", 0.1)
    monkeypatch.setattr(process_group, "_is_running", lambda member: True)
    started = time.monotonic()
    await process.end(1)
    assert time.monotonic() - started < 10
