"""The hash chain over the records of a stream: tamper-evident, not more.

Each record's hash covers every one of its fields and the hash before it, so an edit, a deletion, an
insertion or a change of order shows. A store calls `seal_record` when it writes and `verify_chain`
when it reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import sha256
from typing import TypeAlias

import msgspec

from agenthive.core.journal.records import Record
from agenthive.errors import JournalTooNew, StoreCorrupt

VERSION = 1
"""The version of the record format that this code writes, and the newest it reads."""

RULES = 2
"""The version of the machine's rules that records are written under, and the newest it knows."""

GENESIS = bytes(32)
"""What the first record of a stream is chained to."""

Link: TypeAlias = tuple[int, bytes]
"""The number and the ``prev`` that the next record of a stream must have."""


def hash_record(record: Record, prev: bytes) -> bytes:
    """SHA-256 over a domain tag, the length-prefixed fields, the payload and ``prev``."""
    stream, seq, count, at = record.stream, str(record.seq), str(record.count), str(record.at)
    head = (
        f"{_domain_tag(record.v)}{len(stream)}:{stream}{len(seq)}:{seq}{len(count)}:{count}{len(at)}:{at}"
        f"{_common_fields(record.type, record.rules, record.actor, record.cause)}"
        f"{len(record.payload)}:"
    )
    state = sha256(head.encode())
    state.update(record.payload)
    state.update(prev)
    return state.digest()


def _length_prefixed(*fields: str) -> str:
    return "".join(f"{len(field)}:{field}" for field in fields)


@lru_cache(maxsize=16)
def _domain_tag(version: int) -> str:
    return _length_prefixed(f"agenthive/record/{version}")


@lru_cache(maxsize=256)
def _common_fields(kind: str, rules: int, actor: str, cause: str) -> str:
    """What most records of a journal have in common."""
    return _length_prefixed(kind, str(rules), actor, cause)


def seal_record(record: Record, prev: bytes, pos: int) -> Record:
    """The record as it is stored, chained to ``prev``."""
    return msgspec.structs.replace(record, prev=prev, pos=pos, hash=hash_record(record, prev))


def verify_chain(records: Iterable[Record], after: Record | None = None) -> Iterator[Record]:
    """The records of one stream, in order from its first, as long as the chain holds.

    With ``after`` those that follow that one. Raises StoreCorrupt at the first that does not hold,
    JournalTooNew at one from a later version.
    """
    link: Link = (1, GENESIS) if after is None else _verify_link(after, (after.seq, after.prev))
    for record in records:
        link = _verify_link(record, link)
        yield record


class ChainVerifier:
    """Checks the records of many streams as they come, those of each in order from its first."""

    def __init__(self) -> None:
        self._links: dict[str, Link] = {}

    def verify_next(self, record: Record) -> None:
        """The next record. Raises StoreCorrupt, JournalTooNew."""
        link = self._links.get(record.stream, (1, GENESIS))
        self._links[record.stream] = _verify_link(record, link)

    @property
    def event_counts(self) -> dict[str, int]:
        """How many facts each stream has."""
        return {stream: expected - 1 for stream, (expected, _) in self._links.items()}


def _verify_link(record: Record, link: Link) -> Link:
    """What the next record must follow, if this one follows ``link``."""
    expected, prev = link
    if record.v > VERSION or record.rules > RULES:
        raise JournalTooNew(
            f"stream {record.stream}: record {record.seq} has version {record.v} and rules "
            f"{record.rules}, this agenthive reads up to {VERSION} and {RULES}",
            hint="Open this home with the agenthive that wrote it, or a later one.",
        )
    if record.seq != expected or record.prev != prev or hash_record(record, prev) != record.hash:
        raise StoreCorrupt(
            f"stream {record.stream}: the chain breaks at record {record.seq}",
            hint="Restore the journal from a backup; do not go on with this one.",
        )
    return record.seq + record.count, record.hash
