"""What a power cut may leave of some files: states of a disk, rebuilt from recorded system calls.

What was synced before the cut is there. What was not may be there whole, up to some write, in any
selection of its writes, torn between sectors of 512 bytes, or not at all; a file's size is one more
of its writes. Names (made, moved, gone, folders too) are safe once their folder was synced; before
that as many of them as a journalling file system may have kept, in order, or all of them at once.

Simpler than the world: sectors are written whole or not at all and never as something else; calls
that failed changed nothing; mapped memory is not looked at (SQLite makes its `-shm` file anew).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path, PurePath
from random import Random
from typing import Any, Final, NamedTuple

from tests.lab.strace import Call

SECTOR: Final = 512
SYNCS: Final = ("fsync", "fdatasync")
MODES: Final = ("nothing", "everything", "a prefix", "a selection", "torn")


class Wrote(NamedTuple):
    """Bytes written at an offset, or, without any, the file cut or stretched to that size."""

    offset: int
    data: bytes | None


class Name(NamedTuple):
    """What a name stands for from now on: a file's number, or None for nothing."""

    path: str
    file: int | None


class File:
    """What is safe of a file, and what was written to it since."""

    def __init__(self) -> None:
        self.safe, self.loose = bytearray(), list[tuple[int, Wrote]]()

    def sync(self, began: int) -> None:
        """All that had ended before the sync began is safe after it."""
        for ended, wrote in self.loose:
            if ended < began:
                put(self.safe, wrote)
        self.loose = [one for one in self.loose if one[0] >= began]

    def after(self, mode: str, rng: Random) -> bytes:
        """What a power cut leaves of it."""
        left = bytearray(self.safe)
        for wrote in chosen([wrote for _, wrote in self.loose], mode, rng):
            put(left, wrote)
        return bytes(left)


def put(content: bytearray, wrote: Wrote) -> None:
    """Write, as a file system does: what lies between the end and the offset is zeros."""
    if len(content) < wrote.offset:
        content.extend(bytes(wrote.offset - len(content)))
    if wrote.data is None:
        del content[wrote.offset :]
    else:
        content[wrote.offset : wrote.offset + len(wrote.data)] = wrote.data


def chosen(loose: list[Wrote], mode: str, rng: Random) -> list[Wrote]:
    """Those of the writes that reached the disk."""
    if mode == "nothing":
        return []
    if mode == "everything":
        return loose
    if mode == "a prefix":
        return loose[: rng.randint(0, len(loose))]
    share = rng.choice((0.1, 0.5, 0.9))
    if mode == "torn":
        loose = [part for wrote in loose for part in sectors(wrote)]
    return [wrote for wrote in loose if rng.random() < share]


def sectors(wrote: Wrote) -> list[Wrote]:
    """A write, cut where the disk cuts it."""
    if wrote.data is None:
        return [wrote]
    found, start, end = [], wrote.offset, wrote.offset + len(wrote.data)
    while start < end:
        stop = min(start - start % SECTOR + SECTOR, end)
        found.append(Wrote(start, wrote.data[start - wrote.offset : stop - wrote.offset]))
        start = stop
    return found


class Disk:
    """The files of one folder, as far as calls have gone."""

    def __init__(self) -> None:
        self.files: list[File] = []
        self.names: dict[str, int] = {}
        self.safe: dict[str, int] = {}
        self.loose: list[tuple[int, list[Name]]] = []

    def apply(self, call: Call, *, ignore_sync: bool) -> None:
        """What this call does."""
        if call.name in SYNCS:
            if not ignore_sync:
                self._sync(call)
        elif call.name in ("pwrite64", "ftruncate"):
            data = call.texts[0] if call.name == "pwrite64" else None
            if call.path in self.names:
                wrote = Wrote(call.number, data)
                self.files[self.names[call.path]].loose.append((call.ended, wrote))
        else:
            self._rename(call)

    def _sync(self, call: Call) -> None:
        if call.path in self.names and self.files[self.names[call.path]] is not FOLDER:
            self.files[self.names[call.path]].sync(call.began)
            return
        for ended, names in self.loose:
            if ended < call.began and str(PurePath(names[0].path).parent) == call.path:
                named(self.safe, names)
        self.loose = [
            one
            for one in self.loose
            if one[0] >= call.began or str(PurePath(one[1][0].path).parent) != call.path
        ]

    def _rename(self, call: Call) -> None:
        """Files and folders that are made, moved, taken away."""
        new: list[Name] = []
        path = call.texts[0].decode()
        if call.name.startswith("rename"):
            other = call.texts[1].decode()
            new = [Name(other, self.names[path]), Name(path, None)]
        elif call.name.startswith("unlink"):
            new = [Name(path, None)]
        elif path not in self.names and (call.name.startswith("mkdir") or "O_CREAT" in call[3]):
            self.files.append(FOLDER if call.name.startswith("mkdir") else File())
            new = [Name(path, len(self.files) - 1)]
        if new:
            named(self.names, new)
            self.loose.append((call.ended, new))

    def cut(self, mode: str, rng: Random, *, names_at_once: bool) -> dict[str, bytes]:
        """What the power cut leaves: files by path."""
        names = dict(self.safe)
        kept = len(self.loose) if names_at_once else rng.randint(0, len(self.loose))
        for _, new in self.loose[:kept]:
            named(names, new)
        return {
            path: self.files[file].after(mode, rng)
            for path, file in names.items()
            if self.files[file] is not FOLDER and self._reached(path, names)
        }

    def _reached(self, path: str, names: dict[str, int]) -> bool:
        """A file is there if every folder that was made for it is there."""
        made = {name for name, file in self.names.items() if self.files[file] is FOLDER}
        return all(str(one) in names for one in PurePath(path).parents if str(one) in made)


FOLDER: Final = File()


def named(names: dict[str, int], new: Iterable[Name]) -> None:
    """Give and take names."""
    for name in new:
        if name.file is None:
            names.pop(name.path, None)
        else:
            names[name.path] = name.file


class State(NamedTuple):
    """What is on the disk after a power cut, and what had been promised by then."""

    about: str
    files: dict[str, bytes]
    said: list[dict[str, Any]]


class Record:
    """The calls of one process and its forks; gives a state for every number."""

    def __init__(self, calls: list[Call], said: Path, *, ignore_sync: bool = False) -> None:
        self._said = [
            (call.began, json.loads(call.texts[0]))
            for call in calls
            if call.path == str(said) and call.name == "write"
        ]
        self._calls = [call for call in calls if call.path != str(said)]
        self._ignore_sync = ignore_sync
        self.syncs = sum(call.name in SYNCS for call in self._calls)

    def __len__(self) -> int:
        return len(self._calls)

    def state(self, unit: int) -> State:
        """The state with this number: always the same one for the same record."""
        rng = Random(unit)
        mode, at_once = rng.choice(MODES), rng.random() < 0.5
        when = rng.choice(self._said)[0] if rng.random() < 0.5 else None
        if when is None:
            when = rng.choice(self._calls).began
        disk = Disk()
        for moment, call in self._by_then(when):
            if moment <= when:
                disk.apply(call, ignore_sync=self._ignore_sync)
        names = "names at once" if at_once else "names with their folder"
        return State(
            f"cut at line {when}, {mode}, {names}",
            disk.cut(mode, rng, names_at_once=at_once),
            [said for line, said in self._said if line <= when],
        )

    def _by_then(self, when: int) -> list[tuple[int, Call]]:
        """Calls that count at that moment: a sync when it has ended, all else when it begins."""
        moments = [
            (call.ended if call.name in SYNCS else call.began, call)
            for call in self._calls
            if call.began <= when
        ]
        return sorted(moments, key=lambda one: one[0])
