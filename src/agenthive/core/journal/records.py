"""Records, the batch that one transaction writes, and the rows of the projections.

Plain values without behaviour: a store keeps them and never reads a payload. A projection (list of
runs, accounts) is written in the transaction of the events that it follows from, and can be
computed anew from the journal. To add one: a struct here, a field of `Batch`, its table in the
stores, its check in `testing.store_kit`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from agenthive.core.values import Micros, NanoUSD

MAX_REQUESTS: Final = 100_000
"""Rows of requests that a store keeps, the latest ones."""


class Blob(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A reference to a large value, which is stored apart from the events."""

    #: SHA-256 of the value's JSON (hex).
    digest: str
    #: Bytes of the JSON.
    size: int


class Record(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One row of the journal: the events that one step of the engine wrote into one stream."""

    #: The run's id, or `run_events.HIVE`.
    stream: str
    #: Number of its first event within the stream, from 1.
    seq: int
    #: Number of its events.
    count: int
    #: Time of its last event (us).
    at: Micros
    #: Kind of the stream: ``run`` or ``hive``.
    type: str
    #: The events: a JSON array, as the exact UTF-8 bytes that were written.
    payload: bytes
    #: Version of the record format.
    v: int = 1
    #: Version of the machine's rules under which it was written.
    rules: int = 1
    #: The component that wrote it; the users behind its events are in the events.
    actor: str = "engine"
    #: A note of the engine, as a prefix and a value: the snapshot of the state after this record.
    cause: str = ""
    #: Position across all streams of the store, in the order of commits; 0 until it is stored.
    pos: int = 0
    #: Hash of the record before it in the stream.
    prev: bytes = b""
    #: Hash of this record: see `hash_chain`.
    hash: bytes = b""


class RunRow(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One row of the list of runs, a projection."""

    run: str
    #: Name of the workflow.
    name: str
    status: str
    #: When the run was submitted (us).
    created: Micros
    #: When it ended (us); None while it is open.
    finished: Micros | None = None
    #: Tasks of the author, without generated ones.
    total_tasks: int = 0
    completed_tasks: int = 0
    failed_tasks: int = 0
    tenant: str = "default"
    owner: str = "local"


class CachedResult(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A result that equal calls may use again."""

    #: Digest of the call's inputs.
    key: str
    #: The ``run/task`` that produced it.
    origin: str
    #: JSON.
    result: bytes
    #: When it was produced (us).
    at: Micros
    #: It is not used after this time (us); None: no bound.
    expires: Micros | None = None


class RequestRow(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A request that was carried out under an id of its caller, with the answer to give again."""

    #: The id that the caller made.
    key: str
    #: What was requested: a name of `ipc.protocol.VERBS`.
    verb: str
    #: SHA-256 of the verb and its arguments, in hex: another request under the same key differs.
    fingerprint: str
    #: What was returned: JSON.
    answer: bytes = b"null"
    #: Why it was rejected, if that was recorded; empty if it was accepted.
    rejection: str = ""
    #: When it was carried out (us).
    at: Micros
    #: It is forgotten after this time (us).
    expires: Micros
    tenant: str = "default"


class LedgerEntry(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Amounts to add to the account of a scope, in nano-dollars; either may be negative."""

    #: The run with the events that caused it.
    run: str
    scope: str
    captured: NanoUSD = 0
    held: NanoUSD = 0


class AccountState(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The account of a scope, as stored. Amounts are nano-dollars."""

    scope: str
    #: The limit that a user set; None: none was set.
    limit: NanoUSD | None = None
    captured: NanoUSD = 0
    held: NanoUSD = 0
    #: Whether it takes no holds until its limit is set again.
    frozen: bool = False


class Batch(msgspec.Struct, kw_only=True):
    """All that one transaction writes. ``drops`` come first, the rest in any order."""

    #: In the order of their positions.
    records: list[Record] = []
    #: (digest, canonical JSON) of workflows.
    definitions: list[tuple[str, bytes]] = []
    #: New rows of the list of runs; each replaces the row of its run.
    runs: list[RunRow] = []
    #: (digest, JSON) of large values.
    blobs: list[tuple[str, bytes]] = []
    #: (stream, digest): the definitions and blobs that a stream needs.
    uses: list[tuple[str, str]] = []
    #: Streams to delete, each with its row, its accounts, and the definitions and blobs that no
    #: other stream uses.
    drops: list[str] = []
    #: Results for the result cache.
    cached: list[CachedResult] = []
    #: Amounts to add to accounts.
    entries: list[LedgerEntry] = []
    #: Accounts of which ``limit`` and ``frozen`` are set; the amounts are ignored.
    standings: list[AccountState] = []
    #: (name, text): small states of the engine; a text replaces the one before it.
    marks: list[tuple[str, str]] = []
    #: Requests that this transaction carries out; each replaces the row of its tenant and key.
    requests: list[RequestRow] = []

    def merge(self, other: Batch) -> None:
        """Append everything that ``other`` writes."""
        for name in self.__struct_fields__:
            getattr(self, name).extend(getattr(other, name))


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of a journal: its contents by kind, then its files."""

    records: int = 0
    blobs: int = 0
    definitions: int = 0
    #: The main file.
    file: int = 0
    #: The part of ``file`` that is unused.
    free: int = 0
    #: The write-ahead log, which is not yet in ``file``.
    log: int = 0


class StreamSize(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of one stream."""

    stream: str
    records: int
    #: Bytes of the blobs that it uses; other streams may use them too.
    blobs: int
