"""A journal in memory: for tests, simulations and `Hive.open("memory:")`. Gone with the process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec

from agenthive.core.journal.hash_chain import GENESIS, seal
from agenthive.core.journal.records import (
    Batch,
    Cached,
    Record,
    RunRow,
    Sizes,
    Standing,
    StreamSize,
)
from agenthive.errors import StoreFailed


class MemoryStore:
    """Implements `core.journal.store.Store` with lists and dicts."""

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._streams: dict[str, list[Record]] = {}
        self._definitions: dict[str, bytes] = {}
        self.contents: dict[str, bytes] = {}
        self._uses: dict[str, set[str]] = {}
        self._cached: dict[str, Cached] = {}
        self._runs: dict[str, RunRow] = {}
        self._accounts: dict[str, Standing] = {}
        self._marks: dict[str, str] = {}
        self._pos = 0
        self._poison: StoreFailed | None = None

    async def append(self, batch: Batch) -> None:
        """Write one batch. Raises StoreFailed if a record does not follow its stream's last."""
        self.write(batch)

    def write(self, batch: Batch) -> None:
        """What `append` does, for callers without an event loop."""
        if self._poison is not None:
            raise self._poison
        sealed: dict[str, list[Record]] = {}
        written: list[Record] = []
        pos = self._pos
        for record in batch.records:
            gone = record.stream in batch.drops
            before = sealed.get(record.stream) or (not gone and self._streams.get(record.stream))
            last = before[-1] if before else None
            if record.seq != (last.seq + last.count if last else 1):
                self._poison = StoreFailed(f"stream {record.stream}: {record.seq} is out of order")
                raise self._poison
            new = seal(record, last.hash if last else GENESIS, pos + 1)
            pos += record.count
            sealed.setdefault(record.stream, []).append(new)
            written.append(new)
        self._pos = pos
        self._drop(batch.drops)
        self._records += written
        for stream, records in sealed.items():
            self._streams.setdefault(stream, []).extend(records)
        for digest, body in batch.definitions:
            self._definitions.setdefault(digest, body)
        for digest, body in batch.blobs:
            self.contents.setdefault(digest, body)
        for stream, digest in batch.uses:
            self._uses.setdefault(stream, set()).add(digest)
        for one in batch.cached:
            self._cached[one.key] = one
        self._enter(batch)
        self._marks |= dict(batch.marks)
        for row in batch.runs:
            self._runs[row.run] = row

    def _enter(self, batch: Batch) -> None:
        accounts, changed = self._accounts, msgspec.structs.replace
        for entry in batch.entries:
            one = accounts.get(entry.scope, Standing(scope=entry.scope))
            captured, held = one.captured + entry.captured, one.held + entry.held
            accounts[entry.scope] = changed(one, captured=captured, held=held)
        for new in batch.standings:
            one = accounts.get(new.scope, new)
            accounts[new.scope] = changed(one, limit=new.limit, frozen=new.frozen)

    def _drop(self, streams: Sequence[str]) -> None:
        lost = self._lost(streams)
        for kept in (self._definitions, self.contents):
            for digest in lost & kept.keys():
                del kept[digest]
        for stream in streams:
            for held in (self._streams, self._uses, self._runs):
                held.pop(stream, None)
            for scope in [s for s in self._accounts if f"{s} ".startswith(f"run {stream} ")]:
                del self._accounts[scope]
        if streams:
            self._records = [one for one in self._records if one.stream not in streams]

    def _lost(self, streams: Sequence[str]) -> set[str]:
        """What only these streams use."""
        theirs = set[str]().union(*(self._uses.get(stream, ()) for stream in streams))
        others = (used for stream, used in self._uses.items() if stream not in streams)
        return theirs.difference(*others)

    async def read(self, stream: str, after: int = 0) -> AsyncIterator[Record]:
        """Records of a stream that begin after event number ``after``."""
        for record in self.records(stream):
            if record.seq > after:
                yield record

    def records(self, stream: str) -> list[Record]:
        """All records of a stream, for callers without an event loop."""
        return list(self._streams.get(stream, ()))

    async def last(self, stream: str) -> Record | None:
        """The last record of a stream."""
        records = self._streams.get(stream)
        return records[-1] if records else None

    async def marked(self, stream: str, cause: str) -> Record | None:
        """The last record of a stream whose cause begins so."""
        return self.marked_as(stream, cause)

    def marked_as(self, stream: str, cause: str) -> Record | None:
        """What `marked` gives, for callers without an event loop."""
        found = (r for r in reversed(self._streams.get(stream, ())) if r.cause.startswith(cause))
        return next(found, None)

    async def scan(self, after: int = 0, limit: int = 1000) -> Sequence[Record]:
        """Records of all streams with ``pos`` > ``after``."""
        return [record for record in self._records if record.pos > after][:limit]

    async def definition(self, digest: str) -> bytes | None:
        """The definition with that digest."""
        return self._definitions.get(digest)

    async def cached(self, key: str) -> Cached | None:
        """The result that is kept under that key; it may have expired."""
        return self.cached_as(key)

    def cached_as(self, key: str) -> Cached | None:
        """What `cached` gives, for callers without an event loop."""
        return self._cached.get(key)

    def definition_of(self, digest: str) -> bytes:
        """What `definition` gives, for callers without an event loop."""
        return self._definitions[digest]

    async def standings(self) -> Sequence[Standing]:
        """How every account stands."""
        return self.accounts()

    async def marks(self) -> dict[str, str]:
        """The texts that are kept, by name."""
        return self.marked_so()

    def marked_so(self) -> dict[str, str]:
        """What `marks` gives, for callers without an event loop."""
        return dict(self._marks)

    def accounts(self) -> list[Standing]:
        """What `standings` gives, for callers without an event loop."""
        return [self._accounts[scope] for scope in sorted(self._accounts)]

    async def blob(self, digest: str) -> bytes | None:
        """The blob with that digest."""
        return self.contents.get(digest)

    async def sizes(self, streams: Sequence[str] | None = None) -> Sizes:
        """How much is in the journal; with ``streams``, only what would go with them."""
        lost = None if streams is None else self._lost(streams)
        found = Sizes(
            records=sum(map(self._size, self._streams if streams is None else streams)),
            blobs=_size(self.contents, lost),
            definitions=_size(self._definitions, lost),
        )
        whole = found.records + found.blobs + found.definitions
        return found if streams is not None else msgspec.structs.replace(found, file=whole)

    async def largest(self, limit: int = 20) -> Sequence[StreamSize]:
        """The largest streams, largest first."""
        found = [
            StreamSize(
                stream=stream,
                records=self._size(stream),
                blobs=_size(self.contents, self._uses.get(stream, set())),
            )
            for stream in self._streams
        ]
        return sorted(found, key=lambda one: (-one.records - one.blobs, one.stream))[:limit]

    def _size(self, stream: str) -> int:
        return sum(len(record.payload) for record in self._streams.get(stream, ()))

    async def shrink(self) -> int:
        """There is no disk to give anything back to."""
        return 0

    async def runs(
        self, *, tenant: str = "default", unfinished: bool = False, limit: int | None = None
    ) -> Sequence[RunRow]:
        """Rows of the run list, newest first."""
        return self.rows(tenant, unfinished=unfinished)[:limit]

    def rows(self, tenant: str = "default", *, unfinished: bool = False) -> list[RunRow]:
        """What `runs` gives, for callers without an event loop."""
        rows = [
            row
            for row in self._runs.values()
            if row.tenant == tenant and not (unfinished and row.finished is not None)
        ]
        rows.sort(key=lambda row: (row.created, row.run), reverse=True)
        return rows

    async def run(self, run: str, *, tenant: str = "default") -> RunRow | None:
        """The row of one run."""
        row = self._runs.get(run)
        return row if row is not None and row.tenant == tenant else None

    async def close(self) -> None:
        """Nothing to let go of."""


def _size(kept: Mapping[str, bytes], only: set[str] | None) -> int:
    return sum(len(body) for digest, body in kept.items() if only is None or digest in only)
