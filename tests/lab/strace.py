"""What a process did to some files, as Debian's strace saw it: calls in order, with their data.

Only calls on the paths that are named are recorded. A call has a line where it began and one where
it ended, so that what two threads did at once can be told from what one did after the other.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tests.lab.result import Skipped
from tests.requires import THINGS

RECORDED: Final = (
    "openat,mkdir,mkdirat,write,pwrite64,ftruncate,fsync,fdatasync,rename,renameat,renameat2,"
    "unlink,unlinkat"
)
"""The calls that change what is on a disk, as our processes make them."""
LONGEST: Final = 2**21
"""Bytes of one write that are recorded; a longer one is refused when the record is read."""

NEVER: Final = 2**62
"""Where a call ended that had not ended when its process did."""

_LINE = re.compile(r"^(\d+) +(?:(\w+)\((.*)|<\.\.\. (\w+) resumed>(.*))$")
_ENDED = re.compile(r"^(.*)\) += (-?\d+)(?:<[^>]*>)?(?: .*)?$")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
_HANDLE = re.compile(r"^\d+<((?:\\x[0-9a-f]{2})*)>")


class Call(NamedTuple):
    """One system call that went well. ``path``: what its handle or its first name stands for."""

    name: str
    path: str
    texts: tuple[bytes, ...]
    arguments: str
    began: int
    ended: int

    @property
    def number(self) -> int:
        """Its last argument: the offset of a write, the size of a truncation."""
        return int(self.arguments.rpartition(",")[2])


def need() -> None:
    """Raises Skipped unless strace is there and may trace."""
    there, how = THINGS["strace"]
    if not there():
        raise Skipped("strace", how)
    tried = subprocess.run(["strace", "-f", "-o", os.devnull, "true"], capture_output=True)
    if tried.returncode:
        raise Skipped("strace", f"tracing must be allowed: {tried.stderr.decode()[-200:]}")


def on(paths: Iterable[Path]) -> list[str]:
    """Options that leave out every call that is not about one of these paths."""
    return [word for path in paths for word in ("-P", str(path))]


def record(
    command: Sequence[str],
    paths: Iterable[Path],
    out: Path,
    env: dict[str, str],
    more: Sequence[str] = (),
) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end, with what it does to these paths written down in ``out``."""
    how = ["-f", "-qq", "-y", "-xx", "-s", str(LONGEST), "-e", "signal=none"]
    if not more:
        # Faster; but then strace (6.1) injects no signals.
        how.append("--seccomp-bpf")
    traced = ["strace", *how, "-e", f"trace={RECORDED}", *on(paths), *more, "-o", str(out), "--"]
    return subprocess.run([*traced, *command], env=env, capture_output=True, timeout=300)


def calls(*outs: Path) -> list[Call]:
    """The calls in these records that went well, ordered by where they began."""
    found: list[Call] = []
    for out in outs:
        first = 1 + max((call.began for call in found), default=0)
        with out.open(encoding="ascii") as lines:
            found += sorted(_calls(lines, first), key=lambda call: call.began)
    return found


def _calls(lines: Iterable[str], first: int) -> Iterator[Call]:
    open_calls: dict[str, tuple[str, str, int]] = {}
    for number, line in enumerate(lines, first):
        found = _LINE.match(line.rstrip("\n"))
        if found is None:
            continue
        process, name, rest, resumed, more = found.groups()
        began = number
        if resumed is not None:
            name, before, began = open_calls.pop(process)
            rest = before + more
        if rest.endswith(" <unfinished ...>"):
            open_calls[process] = (name, rest.removesuffix(" <unfinished ...>"), began)
            continue
        ended = _ENDED.match(rest)
        if ended is not None and int(ended[2]) >= 0:
            yield _call(name, ended[1], began, number, int(ended[2]))
    for name, rest, began in open_calls.values():
        # Under way when the process was killed: it may have happened, and nothing waited for it.
        yield _call(name, rest, began, NEVER, -1)


def _call(name: str, arguments: str, began: int, ended: int, result: int) -> Call:
    found = _TEXT.findall(arguments)
    texts = tuple(_bytes(text) for text, _ in found)
    handle = _HANDLE.match(arguments)
    path = _bytes(handle[1]) if handle else texts[0]
    whole = name not in ("write", "pwrite64") or result in (-1, len(texts[0]))
    if not whole or any(cut for _, cut in found):
        raise ValueError(f"{name} on {path!r}: not recorded whole, {result} bytes")
    return Call(name, os.fsdecode(path), texts, _TEXT.sub("", arguments), began, ended)


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))
