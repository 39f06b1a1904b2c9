"""Records: one row of the journal, the batch that is written at once, and the projections."""

from __future__ import annotations

import msgspec

from agenthive.core.values import Micros, NanoUSD


class Blob(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Where a large value is: the SHA-256 of its JSON in hex, and how many bytes that has."""

    digest: str
    size: int


class Record(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One row of the journal: what one step wrote into one stream.

    ``seq`` is the number of its first event within the stream, ``pos`` across the store; ``count``
    events are in ``payload`` (a JSON array, kept as the exact UTF-8 bytes written). ``at`` is the
    time of the last of them. ``hash`` chains the records of a stream.
    """

    stream: str
    seq: int
    count: int
    at: Micros
    type: str
    payload: bytes
    v: int = 1
    rules: int = 1
    actor: str = "engine"
    cause: str = ""
    pos: int = 0
    prev: bytes = b""
    hash: bytes = b""


class RunRow(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What the list of runs shows: a projection, written in the transaction of its records."""

    run: str
    name: str
    status: str
    created: Micros
    finished: Micros | None = None
    total_tasks: int = 0
    completed_tasks: int = 0
    failed_tasks: int = 0
    tenant: str = "default"
    owner: str = "local"


class CachedResult(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A result that equal calls may use again. ``origin`` is the ``run/task`` that it is of.

    ``result`` is JSON. Nobody uses it after ``expires`` (None: always).
    """

    key: str
    origin: str
    result: bytes
    at: Micros
    expires: Micros | None = None


class LedgerEntry(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a run adds to the account of a scope. Nano-dollars; either may be negative."""

    run: str
    scope: str
    captured: NanoUSD = 0
    held: NanoUSD = 0


class AccountState(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """How the account of a scope stands. Nano-dollars; ``limit`` None is none that was set.

    ``frozen``: it takes no holds until its limit is set again.
    """

    scope: str
    limit: NanoUSD | None = None
    captured: NanoUSD = 0
    held: NanoUSD = 0
    frozen: bool = False


class Batch(msgspec.Struct, kw_only=True):
    """All that one transaction writes: records in order, definitions, rows of the run list.

    ``blobs`` are large values, (digest, JSON). ``uses`` says which definitions and blobs a stream
    needs, (stream, digest). ``drops`` are streams that go before anything is written, each with
    its row, and with the definitions and blobs that no other stream uses. ``cached`` are results
    that equal calls may use again. ``entries`` are added to the accounts; of ``standings`` only
    the limit and whether it is frozen count. ``marks`` are texts kept by name, the last one of
    each.
    """

    records: list[Record] = []
    definitions: list[tuple[str, bytes]] = []
    runs: list[RunRow] = []
    blobs: list[tuple[str, bytes]] = []
    uses: list[tuple[str, str]] = []
    drops: list[str] = []
    cached: list[CachedResult] = []
    entries: list[LedgerEntry] = []
    standings: list[AccountState] = []
    marks: list[tuple[str, str]] = []

    def merge(self, other: Batch) -> None:
        """Write what the other would write as well."""
        for name in self.__struct_fields__:
            getattr(self, name).extend(getattr(other, name))


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of a journal: what is in it by kind, then what it takes on the disk.

    ``file`` is all of its main file, ``free`` the part that waits to be used again or given back,
    ``log`` what was written and not yet moved there.
    """

    records: int = 0
    blobs: int = 0
    definitions: int = 0
    file: int = 0
    free: int = 0
    log: int = 0


class StreamSize(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of one stream, and of the blobs it uses (others may use them too)."""

    stream: str
    records: int
    blobs: int
