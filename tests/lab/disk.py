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


class Write(NamedTuple):
    """Bytes written at an offset, or, without any, the file cut or stretched to that size."""

    offset: int
    data: bytes | None


class NameChange(NamedTuple):
    """What a name stands for from now on: a file's number, or None for nothing."""

    path: str
    file: int | None


class TracedFile:
    """What is safe of a file, and what was written to it since."""

    def __init__(self) -> None:
        self.synced, self.unsynced = bytearray(), list[tuple[int, Write]]()

    def sync(self, start: int) -> None:
        """All that had ended before the sync began is safe after it."""
        for end, write in self.unsynced:
            if end < start:
                apply_write(self.synced, write)
        self.unsynced = [entry for entry in self.unsynced if entry[0] >= start]

    def content_after_cut(self, mode: str, rng: Random) -> bytes:
        """What a power cut leaves of it."""
        content = bytearray(self.synced)
        for write in choose_writes([write for _, write in self.unsynced], mode, rng):
            apply_write(content, write)
        return bytes(content)


def apply_write(content: bytearray, write: Write) -> None:
    """Write, as a file system does: what lies between the end and the offset is zeros."""
    if len(content) < write.offset:
        content.extend(bytes(write.offset - len(content)))
    if write.data is None:
        del content[write.offset :]
    else:
        content[write.offset : write.offset + len(write.data)] = write.data


def choose_writes(writes: list[Write], mode: str, rng: Random) -> list[Write]:
    """Those of the writes that reached the disk."""
    if mode == "nothing":
        return []
    if mode == "everything":
        return writes
    if mode == "a prefix":
        return writes[: rng.randint(0, len(writes))]
    share = rng.choice((0.1, 0.5, 0.9))
    if mode == "torn":
        writes = [part for write in writes for part in split_sectors(write)]
    return [write for write in writes if rng.random() < share]


def split_sectors(write: Write) -> list[Write]:
    """A write, cut where the disk cuts it."""
    if write.data is None:
        return [write]
    pieces, start, end = [], write.offset, write.offset + len(write.data)
    while start < end:
        stop = min(start - start % SECTOR + SECTOR, end)
        pieces.append(Write(start, write.data[start - write.offset : stop - write.offset]))
        start = stop
    return pieces


class TracedDisk:
    """The files of one folder, as far as calls have gone."""

    def __init__(self) -> None:
        self.files: list[TracedFile] = []
        self.names: dict[str, int] = {}
        self.synced_names: dict[str, int] = {}
        self.unsynced_names: list[tuple[int, list[NameChange]]] = []

    def apply(self, call: Call, *, ignore_sync: bool) -> None:
        """What this call does."""
        if call.name in SYNCS:
            if not ignore_sync:
                self._apply_sync(call)
        elif call.name in ("pwrite64", "ftruncate"):
            data = call.texts[0] if call.name == "pwrite64" else None
            if call.path in self.names:
                write = Write(call.number, data)
                self.files[self.names[call.path]].unsynced.append((call.end, write))
        else:
            self._apply_rename(call)

    def _apply_sync(self, call: Call) -> None:
        if call.path in self.names and self.files[self.names[call.path]] is not FOLDER:
            self.files[self.names[call.path]].sync(call.start)
            return
        for end, names in self.unsynced_names:
            if end < call.start and str(PurePath(names[0].path).parent) == call.path:
                apply_names(self.synced_names, names)
        self.unsynced_names = [
            entry
            for entry in self.unsynced_names
            if entry[0] >= call.start or str(PurePath(entry[1][0].path).parent) != call.path
        ]

    def _apply_rename(self, call: Call) -> None:
        """Files and folders that are made, moved, taken away."""
        changes: list[NameChange] = []
        path = call.texts[0].decode()
        if call.name.startswith("rename"):
            target = call.texts[1].decode()
            changes = [NameChange(target, self.names[path]), NameChange(path, None)]
        elif call.name.startswith("unlink"):
            changes = [NameChange(path, None)]
        elif path not in self.names and (call.name.startswith("mkdir") or "O_CREAT" in call[3]):
            self.files.append(FOLDER if call.name.startswith("mkdir") else TracedFile())
            changes = [NameChange(path, len(self.files) - 1)]
        if changes:
            apply_names(self.names, changes)
            self.unsynced_names.append((call.end, changes))

    def cut_power(self, mode: str, rng: Random, *, names_at_once: bool) -> dict[str, bytes]:
        """What the power cut leaves: files by path."""
        names = dict(self.synced_names)
        kept_count = (
            len(self.unsynced_names) if names_at_once else rng.randint(0, len(self.unsynced_names))
        )
        for _, changes in self.unsynced_names[:kept_count]:
            apply_names(names, changes)
        return {
            path: self.files[file].content_after_cut(mode, rng)
            for path, file in names.items()
            if self.files[file] is not FOLDER and self._is_reachable(path, names)
        }

    def _is_reachable(self, path: str, names: dict[str, int]) -> bool:
        """A file is there if every folder that was made for it is there."""
        created = {name for name, file in self.names.items() if self.files[file] is FOLDER}
        return all(
            str(folder) in names for folder in PurePath(path).parents if str(folder) in created
        )


FOLDER: Final = TracedFile()


def apply_names(names: dict[str, int], changes: Iterable[NameChange]) -> None:
    """Give and take names."""
    for change in changes:
        if change.file is None:
            names.pop(change.path, None)
        else:
            names[change.path] = change.file


class DiskState(NamedTuple):
    """What is on the disk after a power cut, and what had been promised by then."""

    description: str
    files: dict[str, bytes]
    promises: list[dict[str, Any]]


class CallTrace:
    """The calls of one process and its forks; gives a state for every number."""

    def __init__(self, calls: list[Call], promise_file: Path, *, ignore_sync: bool = False) -> None:
        self._promises = [
            (call.start, json.loads(call.texts[0]))
            for call in calls
            if call.path == str(promise_file) and call.name == "write"
        ]
        self._calls = [call for call in calls if call.path != str(promise_file)]
        self._ignore_sync = ignore_sync
        self.syncs = sum(call.name in SYNCS for call in self._calls)

    def __len__(self) -> int:
        return len(self._calls)

    def state(self, unit: int) -> DiskState:
        """The state with this number: always the same one for the same record."""
        rng = Random(unit)
        mode, at_once = rng.choice(MODES), rng.random() < 0.5
        when = rng.choice(self._promises)[0] if rng.random() < 0.5 else None
        if when is None:
            when = rng.choice(self._calls).start
        disk = TracedDisk()
        for moment, call in self._calls_until(when):
            if moment <= when:
                disk.apply(call, ignore_sync=self._ignore_sync)
        names = "names at once" if at_once else "names with their folder"
        return DiskState(
            f"cut at line {when}, {mode}, {names}",
            disk.cut_power(mode, rng, names_at_once=at_once),
            [promise for line, promise in self._promises if line <= when],
        )

    def _calls_until(self, when: int) -> list[tuple[int, Call]]:
        """Calls that count at that moment: a sync when it has ended, all else when it begins."""
        moments = [
            (call.end if call.name in SYNCS else call.start, call)
            for call in self._calls
            if call.start <= when
        ]
        return sorted(moments, key=lambda one: one[0])
