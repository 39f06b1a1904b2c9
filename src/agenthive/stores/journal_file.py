"""Looks at the files of a journal before SQLite opens them, and refuses what is no journal.

SQLite would take a file of zero bytes for a new database, and would apply any write-ahead log that
lies beside a file to that file, although the file was replaced by a backup meanwhile. Both lose or
mix up what was recorded. Never writes, and never needs SQLite.

How a log is recognised: each owner raises the number in the field ``application_id`` of the file
by one and moves that into the main file, then raises it again, so that its log begins with a page
that has the second number. A log may thus be ahead of its file by one at most; one that belongs to
a later or earlier state of the journal is not.
"""

from __future__ import annotations

import struct
import time
from pathlib import Path
from typing import BinaryIO, Final

from agenthive.errors import StoreCorrupt

ID_MASK: Final = 2**31 - 1
"""The numbers of ``application_id`` that are used: 31 bits, after which they begin again."""
MAGIC: Final = b"SQLite format 3\0"
ID_OFFSET: Final = 68
"""Where the field ``application_id`` is in the first page."""
MODE_OFFSET: Final = 18
"""Where a file says whether it is written with a log."""
MAX_FRAMES: Final = 100
"""Frames of a log that are read in search of the first page."""
ATTEMPTS, DELAY = 5, 0.05
"""How often a mismatch is looked at again, and the seconds between: an owner may be opening."""
RESTORE_HINT: Final = (
    "Restore the journal from a backup. If there is nothing to restore, remove the file: a new "
    "journal is created."
)
_LOG_MAGICS: Final = {0x377F0682: "<", 0x377F0683: ">"}
"""The first number of a log -> byte order of its checksums."""


def check_journal_files(path: Path) -> None:
    """Check the file at ``path`` and the log beside it. Raises StoreCorrupt, OSError.

    A file that does not exist is no error, if it has no log.
    """
    log = path.with_name(f"{path.name}-wal")
    if not path.exists():
        if has_log(path):
            raise StoreCorrupt(
                f"{path} is missing, and its write-ahead log {log.name} is there",
                hint=f"Put {path.name} back. To begin with a new journal, remove {log.name}.",
            )
        return
    with path.open("rb") as file:
        head = file.read(len(MAGIC))
    if not head:
        raise StoreCorrupt(f"the journal {path} has no content (0 bytes)", hint=RESTORE_HINT)
    if head != MAGIC:
        raise StoreCorrupt(f"{path} is not a journal of agenthive", hint=RESTORE_HINT)
    for attempt in range(ATTEMPTS):
        if _is_log_of(path, log):
            return
        if attempt < ATTEMPTS - 1:
            time.sleep(DELAY)
    raise StoreCorrupt(
        f"the write-ahead log {log} belongs to another state of {path.name}: it seems that the "
        "file was replaced and its log was left",
        hint=f"If {path.name} was restored from a backup, remove {log.name} and {path.name}-shm "
        f"and try again. If not, put the {path.name} back that was there with the log.",
    )


def has_log(path: Path) -> bool:
    """Whether a write-ahead log with content lies beside ``path``."""
    log = path.with_name(f"{path.name}-wal")
    return log.exists() and log.stat().st_size > 0


def is_in_log_mode(path: Path) -> bool:
    """Whether the file is one that SQLite keeps with a write-ahead log, as every journal is."""
    with path.open("rb") as file:
        file.seek(MODE_OFFSET)
        return file.read(1) == b"\x02"


def _is_log_of(path: Path, log: Path) -> bool:
    """Whether the log may be applied to the file; also if there is none or it is unclear."""
    try:
        with log.open("rb") as file:
            log_id = _read_first_id(file)
        # The file after the log: an owner that is opening moves from the log into the file.
        with path.open("rb") as file:
            file.seek(ID_OFFSET)
            file_id = int.from_bytes(file.read(4), "big")
    except FileNotFoundError:
        return True
    return log_id is None or (log_id - file_id) & ID_MASK in (0, 1)


def _read_first_id(log: BinaryIO) -> int | None:
    """The number in the first copy of page 1 that SQLite would take from a log; None without."""
    header = log.read(32)
    order = _LOG_MAGICS.get(int.from_bytes(header[:4], "big")) if len(header) == 32 else None
    if order is None:
        return None
    page_size = int.from_bytes(header[8:12], "big")
    sums = _add_checksum((0, 0), header[:24], order)
    if sums != struct.unpack(">II", header[24:]) or page_size not in range(512, 65537):
        return None
    for _ in range(MAX_FRAMES):
        frame = log.read(24 + page_size)
        if len(frame) < 24 + page_size or frame[8:16] != header[16:24]:
            return None
        sums = _add_checksum(_add_checksum(sums, frame[:8], order), frame[24:], order)
        if sums != struct.unpack(">II", frame[16:24]):
            return None
        if int.from_bytes(frame[:4], "big") == 1:
            return int.from_bytes(frame[24 + ID_OFFSET : 28 + ID_OFFSET], "big")
    return None


def _add_checksum(sums: tuple[int, int], data: bytes, order: str) -> tuple[int, int]:
    """The checksum of the log format of SQLite, continued over ``data``."""
    first, second = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for position in range(0, len(words), 2):
        first = (first + words[position] + second) & 0xFFFFFFFF
        second = (second + words[position + 1] + first) & 0xFFFFFFFF
    return first, second
