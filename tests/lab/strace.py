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
    start: int
    end: int

    @property
    def number(self) -> int:
        """Its last argument: the offset of a write, the size of a truncation."""
        return int(self.arguments.rpartition(",")[2])


def require_strace() -> None:
    """Raises Skipped unless strace is there and may trace."""
    is_available, remedy = THINGS["strace"]
    if not is_available():
        raise Skipped("strace", remedy)
    tried = subprocess.run(["strace", "-f", "-o", os.devnull, "true"], capture_output=True)
    if tried.returncode:
        raise Skipped("strace", f"tracing must be allowed: {tried.stderr.decode()[-200:]}")


def path_options(paths: Iterable[Path]) -> list[str]:
    """Options that leave out every call that is not about one of these paths."""
    return [option for path in paths for option in ("-P", str(path))]


def trace_command(
    command: Sequence[str],
    paths: Iterable[Path],
    out: Path,
    env: dict[str, str],
    extra_options: Sequence[str] = (),
) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end, with what it does to these paths written down in ``out``."""
    options = ["-f", "-qq", "-y", "-xx", "-s", str(LONGEST), "-e", "signal=none"]
    if not extra_options:
        # Faster; but then strace (6.1) injects no signals.
        options.append("--seccomp-bpf")
    traced = [
        "strace",
        *options,
        "-e",
        f"trace={RECORDED}",
        *path_options(paths),
        *extra_options,
        "-o",
        str(out),
        "--",
    ]
    return subprocess.run([*traced, *command], env=env, capture_output=True, timeout=300)


def read_calls(*outs: Path) -> list[Call]:
    """The calls in these records that went well, ordered by where they began."""
    recorded: list[Call] = []
    for out in outs:
        first = 1 + max((call.start for call in recorded), default=0)
        with out.open(encoding="ascii") as lines:
            recorded += sorted(_parse_calls(lines, first), key=lambda call: call.start)
    return recorded


def _parse_calls(lines: Iterable[str], first: int) -> Iterator[Call]:
    open_calls: dict[str, tuple[str, str, int]] = {}
    for number, line in enumerate(lines, first):
        match = _LINE.match(line.rstrip("\n"))
        if match is None:
            continue
        process, name, arguments, resumed, tail = match.groups()
        start = number
        if resumed is not None:
            name, before, start = open_calls.pop(process)
            arguments = before + tail
        if arguments.endswith(" <unfinished ...>"):
            open_calls[process] = (name, arguments.removesuffix(" <unfinished ...>"), start)
            continue
        end = _ENDED.match(arguments)
        if end is not None and int(end[2]) >= 0:
            yield _build_call(name, end[1], start, number, int(end[2]))
    for name, arguments, start in open_calls.values():
        # Under way when the process was killed: it may have happened, and nothing waited for it.
        yield _build_call(name, arguments, start, NEVER, -1)


def _build_call(name: str, arguments: str, start: int, end: int, result: int) -> Call:
    matches = _TEXT.findall(arguments)
    texts = tuple(_decode_bytes(text) for text, _ in matches)
    handle = _HANDLE.match(arguments)
    path = _decode_bytes(handle[1]) if handle else texts[0]
    whole = name not in ("write", "pwrite64") or result in (-1, len(texts[0]))
    if not whole or any(cut for _, cut in matches):
        raise ValueError(f"{name} on {path!r}: not recorded whole, {result} bytes")
    return Call(name, os.fsdecode(path), texts, _TEXT.sub("", arguments), start, end)


def _decode_bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))
