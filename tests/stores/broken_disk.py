"""Disks that fail, for real: SQLite's own system calls, a kernel filter, a small file system."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw

_Write = ctypes.CFUNCTYPE(
    ctypes.c_ssize_t,
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int64,
    use_errno=True,
)


@contextlib.contextmanager
def writes_fail(code: int, when: Callable[[int], bool] = lambda number: True) -> Iterator[None]:
    """SQLite's writes to a file end with ``code``, if ``when`` says so of their number."""
    vfs = apsw.VFS("broken-disk", "unix")
    name = "pwrite64" if "pwrite64" in _calls(vfs) else "pwrite"
    real = vfs.xGetSystemCall(name)
    assert real is not None
    call_real = _Write(real)
    count = 0

    def write(file: int, data: int, size: int, offset: int) -> int:
        nonlocal count
        count += 1
        if when(count):
            ctypes.set_errno(code)
            return -1
        return int(call_real(file, data, size, offset))

    hook = _Write(write)
    vfs.xSetSystemCall(name, ctypes.cast(hook, ctypes.c_void_p).value)
    try:
        yield
    finally:
        vfs.xSetSystemCall(name, real)
        vfs.unregister()


def _calls(vfs: apsw.VFS) -> list[str]:
    found: list[str] = []
    name = vfs.xNextSystemCall(None)
    while name is not None:
        found.append(name)
        name = vfs.xNextSystemCall(name)
    return found


FAIL_FSYNC = f"""
import ctypes, platform, struct
def fail_fsync():
    '''From here on the kernel answers every fsync and fdatasync of this process with EIO.'''
    numbers = {{"x86_64": (74, 75, 317), "aarch64": (82, 83, 277)}}[platform.machine()]
    fsync, fdatasync, seccomp = numbers
    load, equal, end = 0x20, 0x15, 0x06
    allow, fail = 0x7FFF0000, 0x00050000 | {errno.EIO}
    steps = [(load, 0, 0, 0), (equal, 2, 0, fsync), (equal, 1, 0, fdatasync),
             (end, 0, 0, allow), (end, 0, 0, fail)]
    code = b"".join(struct.pack("HBBI", *step) for step in steps)
    text = ctypes.create_string_buffer(code)
    program = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(text))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.syscall(seccomp, 1, 1, program) == 0, ctypes.get_errno()
"""
"""Source of a function, for a process of its own: what it does cannot be undone."""


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own. Needs the right to mount one: raises PermissionError."""
    if shutil.which("mount") is None:
        raise PermissionError("there is no mount here")
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        raise PermissionError(mounted.stderr.decode())
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def read_only(folder: Path) -> None:
    """Nobody can write there any more, root neither."""
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)


def fill(file: Path) -> None:
    """Take all the space that is left."""
    with file.open("ab", buffering=0) as ballast:
        for size in (65536, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    ballast.write(b"\0" * size)
    assert os.statvfs(file.parent).f_bavail == 0
