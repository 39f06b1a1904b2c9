"""A home has one owner, and the kernel says who."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agenthive import Hive
from agenthive.errors import HomeBusy, StoreUnavailable
from agenthive.hive import open_journal
from agenthive.infra.home import Home

HOLD = """
import sys
from pathlib import Path
from agenthive.infra.home import Home
Home(Path(sys.argv[1])).acquire()
print("held", flush=True)
sys.stdin.read()
"""


def holder(path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_nothing_is_made_before_it_is_acquired(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    assert home.owner_pid() is None
    assert not home.path.exists()
    assert {path.parent for path in (home.journal, home.secrets, home.socket)} == {home.path}


def test_one_owner(tmp_path: Path) -> None:
    first, second = Home(tmp_path / "a" / "home"), Home(tmp_path / "a" / "home")
    first.acquire()
    assert first.owner_pid() == second.owner_pid() == os.getpid()
    assert first.path.stat().st_mode & 0o777 == 0o700
    with pytest.raises(HomeBusy, match=f"owned by process {os.getpid()}"):
        second.acquire()
    first.release()
    first.release()
    second.acquire()
    second.release()


def test_the_lock_goes_with_its_process(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with holder(tmp_path) as process:
        assert home.owner_pid() == process.pid
        with pytest.raises(HomeBusy, match=f"owned by process {process.pid}"):
            home.acquire()
        process.kill()
        process.wait()
    home.acquire()
    assert home.owner_pid() == os.getpid()
    home.release()


def test_a_child_does_not_inherit_the_lock(tmp_path: Path) -> None:
    first, second = Home(tmp_path), Home(tmp_path)
    first.acquire()
    child = subprocess.Popen(["sleep", "60"], close_fds=False)
    first.release()
    second.acquire()
    second.release()
    child.kill()
    child.wait()


@pytest.mark.parametrize("text", ["", "not a number", "0"])
def test_an_owner_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    home = Home(tmp_path)
    home.acquire()
    (tmp_path / "owner.lock").write_text(text)
    assert home.owner_pid() is None
    with pytest.raises(HomeBusy, match="owned by process unknown"):
        Home(tmp_path).acquire()
    home.release()


def test_a_home_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreUnavailable, match="cannot be used: Not a directory"):
        Home(tmp_path / "file" / "home").acquire()
    with pytest.raises(StoreUnavailable, match="cannot be used: File exists"):
        Home(tmp_path / "file").acquire()


FULL = """
import resource, signal, sys
from pathlib import Path
from agenthive.errors import StoreUnavailable
from agenthive.infra.home import Home
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
home = Home(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
try:
    home.acquire()
except StoreUnavailable as error:
    print(error.message)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
Home(Path(sys.argv[1])).acquire()
print("acquired")
"""


@pytest.mark.parametrize("kind", ["folder", "pipe", "link to nothing", "link to itself", "device"])
async def test_a_journal_that_is_no_file_is_refused_and_left(kind: str, tmp_path: Path) -> None:
    journal = tmp_path / "journal.db"
    if kind == "folder":
        journal.mkdir()
    elif kind == "pipe":
        os.mkfifo(journal)
    else:
        targets = {"link to nothing": "/nowhere/at/all", "link to itself": journal}
        journal.symlink_to(targets.get(kind, "/dev/null"))
    before = journal.lstat()
    with pytest.raises(StoreUnavailable, match=r"journal\.db is ") as refused:
        await Hive.open(tmp_path)
    assert refused.value.hint
    with pytest.raises(StoreUnavailable, match=r"journal\.db is "):
        async with open_journal(tmp_path):
            pass
    assert journal.lstat() == before


def test_a_disk_that_takes_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL, str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True)
    assert said.stderr == ""
    assert said.stdout == f"the home {tmp_path} cannot be used: File too large\nacquired\n"


def test_a_lock_file_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", full)
        with pytest.raises(StoreUnavailable, match="No space left on device"):
            Home(tmp_path).acquire()
    home = Home(tmp_path)
    home.acquire()  # the lock was given up
    home.release()


def test_small_files(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.write("door", b"first")
    home.write("door", b"second")
    assert home.read("door") == b"second"
    assert (tmp_path / "door").stat().st_mode & 0o777 == 0o600
    (tmp_path / "door.new").write_text("left over from a crash")
    home.write("door", b"third")
    assert home.read("door") == b"third"
    assert os.listdir(tmp_path) == ["door"]
