"""The journal in memory: for tests, simulations and `Hive.open("memory:")`.

Behaves like the other stores, but is lost with the process. Most reads also exist without ``async``
for callers that have no event loop, such as the simulator. Never writes a file.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec

from agenthive.core.journal.hash_chain import GENESIS, seal_record
from agenthive.core.journal.records import (
    MAX_REQUESTS,
    AccountState,
    Batch,
    CachedResult,
    Record,
    RequestRow,
    RunRow,
    Sizes,
    StreamSize,
)
from agenthive.errors import StoreFailed


class MemoryStore:
    """Implements `core.journal.store.Store` with lists and dicts."""

    def __init__(self) -> None:
        #: All records in the order of their ``pos``.
        self._records: list[Record] = []
        #: The same records by stream.
        self._streams: dict[str, list[Record]] = {}
        self._definitions: dict[str, bytes] = {}
        #: Blobs by digest.
        self.contents: dict[str, bytes] = {}
        #: Digests of the definitions and blobs that a stream uses.
        self._uses: dict[str, set[str]] = {}
        self._cached: dict[str, CachedResult] = {}
        #: Requests by tenant and key, those that were written first in front.
        self._requests: dict[tuple[str, str], RequestRow] = {}
        self._runs: dict[str, RunRow] = {}
        self._accounts: dict[str, AccountState] = {}
        self._marks: dict[str, str] = {}
        #: Position of the last event.
        self._pos = 0
        #: The error of a failed write; every later write raises it.
        self._poison: StoreFailed | None = None

    async def append(self, batch: Batch) -> None:
        """Write one batch. Raises StoreFailed if a record does not follow its stream's last."""
        self.write(batch)

    def write(self, batch: Batch) -> None:
        """As `append`, without an event loop."""
        if self._poison is not None:
            raise self._poison
        sealed: dict[str, list[Record]] = {}
        written: list[Record] = []
        pos = self._pos
        for record in batch.records:
            dropped = record.stream in batch.drops
            before = sealed.get(record.stream) or (not dropped and self._streams.get(record.stream))
            last = before[-1] if before else None
            expected = last.seq + last.count if last else 1
            if record.seq != expected:
                self._poison = StoreFailed(
                    f"stream {record.stream}: record {record.seq}, expected {expected}"
                )
                raise self._poison
            new = seal_record(record, last.hash if last else GENESIS, pos + 1)
            pos += record.count
            sealed.setdefault(record.stream, []).append(new)
            written.append(new)
        self._pos = pos
        self._drop_streams(batch.drops)
        self._records += written
        for stream, records in sealed.items():
            self._streams.setdefault(stream, []).extend(records)
        for digest, body in batch.definitions:
            self._definitions.setdefault(digest, body)
        for digest, body in batch.blobs:
            self.contents.setdefault(digest, body)
        for stream, digest in batch.uses:
            self._uses.setdefault(stream, set()).add(digest)
        for result in batch.cached:
            self._cached[result.key] = result
        self._apply_entries(batch)
        self._marks |= dict(batch.marks)
        if batch.requests:
            self._put_requests(batch.requests)
        for row in batch.runs:
            self._runs[row.run] = row

    def _put_requests(self, rows: Sequence[RequestRow]) -> None:
        requests = self._requests
        for row in rows:
            requests.pop((row.tenant, row.key), None)
            requests[row.tenant, row.key] = row
        for oldest in list(requests):
            if len(requests) <= MAX_REQUESTS and requests[oldest].expires >= rows[-1].at:
                return
            del requests[oldest]

    def _apply_entries(self, batch: Batch) -> None:
        accounts, replace = self._accounts, msgspec.structs.replace
        for entry in batch.entries:
            account = accounts.get(entry.scope, AccountState(scope=entry.scope))
            captured, held = account.captured + entry.captured, account.held + entry.held
            accounts[entry.scope] = replace(account, captured=captured, held=held)
        for new in batch.standings:
            account = accounts.get(new.scope, new)
            accounts[new.scope] = replace(account, limit=new.limit, frozen=new.frozen)

    def _drop_streams(self, streams: Sequence[str]) -> None:
        unshared = self._unshared_digests(streams)
        for bodies in (self._definitions, self.contents):
            for digest in unshared & bodies.keys():
                del bodies[digest]
        for stream in streams:
            for index in (self._streams, self._uses, self._runs):
                index.pop(stream, None)
            # The account of the run itself, and those of its tasks and agents.
            for run_scope in [
                account_scope
                for account_scope in self._accounts
                if f"{account_scope} ".startswith(f"run {stream} ")
            ]:
                del self._accounts[run_scope]
        if streams:
            self._records = [record for record in self._records if record.stream not in streams]

    def _unshared_digests(self, streams: Sequence[str]) -> set[str]:
        """Digests that only these streams use."""
        digests = set[str]().union(*(self._uses.get(stream, ()) for stream in streams))
        other_uses = (uses for stream, uses in self._uses.items() if stream not in streams)
        return digests.difference(*other_uses)

    async def read(self, stream: str, after: int = 0) -> AsyncIterator[Record]:
        """Records of a stream that begin after event number ``after``."""
        for record in self.records(stream):
            if record.seq > after:
                yield record

    def records(self, stream: str) -> list[Record]:
        """All records of a stream, without an event loop."""
        return list(self._streams.get(stream, ()))

    async def read_last_record(self, stream: str) -> Record | None:
        """The last record of a stream."""
        records = self._streams.get(stream)
        return records[-1] if records else None

    async def read_marked_record(self, stream: str, cause: str) -> Record | None:
        """The last record of a stream that has a cause beginning with ``cause``."""
        return self.marked_as(stream, cause)

    def marked_as(self, stream: str, cause: str) -> Record | None:
        """As `read_marked_record`, without an event loop."""
        matches = (
            record
            for record in reversed(self._streams.get(stream, ()))
            if record.cause.startswith(cause)
        )
        return next(matches, None)

    async def scan_records(self, after: int = 0, limit: int = 1000) -> Sequence[Record]:
        """Records of all streams with ``pos`` > ``after``, in the order they were committed."""
        return [record for record in self._records if record.pos > after][:limit]

    async def load_definition(self, digest: str) -> bytes | None:
        """The definition with that digest."""
        return self._definitions.get(digest)

    async def find_cached_result(self, key: str) -> CachedResult | None:
        """The result that is stored under that key; it may have expired."""
        return self.get_cached(key)

    async def find_request(self, key: str, *, tenant: str = "default") -> RequestRow | None:
        """The request of that key; it may have expired."""
        return self._requests.get((tenant, key))

    def get_cached(self, key: str) -> CachedResult | None:
        """As `find_cached_result`, without an event loop."""
        return self._cached.get(key)

    def get_definition(self, digest: str) -> bytes:
        """As `load_definition`, without an event loop. Raises KeyError if there is none."""
        return self._definitions[digest]

    async def list_account_states(self) -> Sequence[AccountState]:
        """All accounts with their limits and amounts, in order of their scopes."""
        return self.accounts()

    async def list_marks(self) -> dict[str, str]:
        """The stored texts by name."""
        return self.get_marks()

    def get_marks(self) -> dict[str, str]:
        """As `list_marks`, without an event loop."""
        return dict(self._marks)

    def accounts(self) -> list[AccountState]:
        """As `list_account_states`, without an event loop."""
        return [self._accounts[scope] for scope in sorted(self._accounts)]

    async def load_blob(self, digest: str) -> bytes | None:
        """The blob with that digest."""
        return self.contents.get(digest)

    async def measure_sizes(self, streams: Sequence[str] | None = None) -> Sizes:
        """Bytes of the journal; with ``streams``, only what would be deleted with them."""
        unshared = None if streams is None else self._unshared_digests(streams)
        sizes = Sizes(
            records=sum(map(self._stream_size, self._streams if streams is None else streams)),
            blobs=_total_size(self.contents, unshared),
            definitions=_total_size(self._definitions, unshared),
        )
        total = sizes.records + sizes.blobs + sizes.definitions
        return sizes if streams is not None else msgspec.structs.replace(sizes, file=total)

    async def list_largest_streams(self, limit: int = 20) -> Sequence[StreamSize]:
        """The largest streams, largest first."""
        sizes = [
            StreamSize(
                stream=stream,
                records=self._stream_size(stream),
                blobs=_total_size(self.contents, self._uses.get(stream, set())),
            )
            for stream in self._streams
        ]
        return sorted(sizes, key=lambda size: (-size.records - size.blobs, size.stream))[:limit]

    def _stream_size(self, stream: str) -> int:
        return sum(len(record.payload) for record in self._streams.get(stream, ()))

    async def reclaim_space(self) -> int:
        """Always 0: memory has no free space to return to a disk."""
        return 0

    async def list_runs(
        self, *, tenant: str = "default", unfinished: bool = False, limit: int | None = None
    ) -> Sequence[RunRow]:
        """Rows of the run list, newest first."""
        return self.rows(tenant, unfinished=unfinished)[:limit]

    def rows(self, tenant: str = "default", *, unfinished: bool = False) -> list[RunRow]:
        """As `list_runs`, without an event loop."""
        rows = [
            row
            for row in self._runs.values()
            if row.tenant == tenant and not (unfinished and row.finished is not None)
        ]
        rows.sort(key=lambda row: (row.created, row.run), reverse=True)
        return rows

    async def find_run(self, run: str, *, tenant: str = "default") -> RunRow | None:
        """The row of one run; None if that tenant has no such run."""
        row = self._runs.get(run)
        return row if row is not None and row.tenant == tenant else None

    async def close(self) -> None:
        """Do nothing: there are no files to close."""


def _total_size(bodies: Mapping[str, bytes], digests: set[str] | None) -> int:
    return sum(len(body) for digest, body in bodies.items() if digests is None or digest in digests)


def open_store(place: str, *, owner: bool) -> MemoryStore:
    """A new, empty store for the URL ``memory:``; ``place`` and ``owner`` have no meaning here."""
    return MemoryStore()
