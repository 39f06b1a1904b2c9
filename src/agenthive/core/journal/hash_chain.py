"""The hash chain over the records of a stream: tamper-evident, and no more than that.

The hash of a record covers each of its fields (``v`` in the tag; not ``pos``, which is the store's)
and the hash of the record before it:

    hash = SHA-256(tag stream seq count at type rules actor cause payload prev)

with each field but ``prev`` preceded by its length, so that different fields never give the same
input. An edit, a deletion in the middle, an insertion or a change of order breaks the chain. A
deletion of the last records does not: the hive's stream records the head of each closed run for
that. A program that can rewrite a whole stream can also compute new hashes.

A store calls `seal_record` when it writes; readers call `verify_chain`. Never changes for a version
that was released: a new form of the hash needs a new `VERSION`.
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

RULES = 3
"""The version of the machine's rules that new runs are accepted under, and the newest known.

Rules belong to a run: its first record has the number, and all its later records have the same.
"""

GENESIS = bytes(32)
"""The ``prev`` of the first record of a stream."""

Link: TypeAlias = tuple[int, bytes]
"""The ``seq`` and the ``prev`` that the next record of a stream must have."""


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
    """The fields that most records of a journal have in common, cached."""
    return _length_prefixed(kind, str(rules), actor, cause)


def seal_record(record: Record, prev: bytes, pos: int) -> Record:
    """The record as it is stored: with its place in the store, chained to ``prev``."""
    return msgspec.structs.replace(record, prev=prev, pos=pos, hash=hash_record(record, prev))


def verify_chain(records: Iterable[Record], after: Record | None = None) -> Iterator[Record]:
    """Yield the records of one stream, in order from its first, as long as the chain holds.

    With ``after`` the records are those that follow it; its own hash is checked too. Raises
    StoreCorrupt at the first record that breaks the chain, JournalTooNew at the first one that a
    later version of agenthive wrote.
    """
    link: Link = (1, GENESIS) if after is None else _verify_link(after, (after.seq, after.prev))
    for record in records:
        link = _verify_link(record, link)
        yield record


class ChainVerifier:
    """Checks records of many streams in any mixture, each stream in order from its first record."""

    def __init__(self) -> None:
        self._links: dict[str, Link] = {}

    def verify_next(self, record: Record) -> None:
        """Check the next record. Raises StoreCorrupt, JournalTooNew."""
        link = self._links.get(record.stream, (1, GENESIS))
        self._links[record.stream] = _verify_link(record, link)

    @property
    def event_counts(self) -> dict[str, int]:
        """The number of events of each stream."""
        return {stream: expected - 1 for stream, (expected, _) in self._links.items()}


def _verify_link(record: Record, link: Link) -> Link:
    """Check that a record follows ``link``; returns the link that the next record must follow."""
    if record.v <= VERSION and not _is_linked(record, link):
        raise StoreCorrupt(
            f"stream {record.stream}: the chain breaks at record {record.seq}",
            hint="Restore the journal from a backup; do not continue with this one.",
        )
    # After the hash: a number that was damaged must not pass for that of a later version.
    if record.v > VERSION or record.rules > RULES:
        raise JournalTooNew(
            f"stream {record.stream}: record {record.seq} has version {record.v} and rules "
            f"{record.rules}, this version of agenthive reads up to {VERSION} and {RULES}",
            hint="Open this home with the version of agenthive that wrote it, or a later one.",
        )
    return record.seq + record.count, record.hash


def _is_linked(record: Record, link: Link) -> bool:
    expected, prev = link
    return (
        record.seq == expected
        and record.count > 0
        and record.prev == prev
        and hash_record(record, prev) == record.hash
    )
