"""Reads a journal in an SQL database: every read of the port `Store` is one named query.

A store passes in the function that runs a query; this module turns the rows into the values of the
port. Never writes, and knows no database. To add a read: a query in `sql/`, a method here.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias

from agenthive.core.journal.records import (
    AccountState,
    CachedResult,
    Record,
    RequestRow,
    RunRow,
    Sizes,
    StreamSize,
)
from agenthive.stores.row_codec import record_of, request_of, run_of, standing_of

PAGE: Final = 500
"""Records that `SqlReader.read` fetches with one query."""

Rows: TypeAlias = list[tuple[Any, ...]]
RunQuery: TypeAlias = Callable[[str, tuple[Any, ...]], Awaitable[Rows]]
"""Runs a query, by its name in `sql/`, with these values. Raises StoreUnavailable, StoreFailed."""


class SqlReader:
    """The reads of `core.journal.store.Store`.

    ``measure_log`` gives the bytes of a write-ahead log beside the database, 0 if there is none.
    """

    def __init__(self, run_query: RunQuery, measure_log: Callable[[], int]) -> None:
        self._run_query = run_query
        self._measure_log = measure_log

    async def read(self, stream: str, after: int = 0) -> AsyncIterator[Record]:
        """Records of a stream that begin after event number ``after``, a page at a time."""
        while True:
            rows = await self._run_query("read", (stream, after, PAGE))
            for row in rows:
                record = record_of(row)
                after = record.seq
                yield record
            if len(rows) < PAGE:
                return

    async def read_last_record(self, stream: str) -> Record | None:
        """The last record of a stream; None if the stream is empty."""
        rows = await self._run_query("last", (stream,))
        return record_of(rows[0]) if rows else None

    async def read_marked_record(self, stream: str, cause: str) -> Record | None:
        """The last record of a stream that has a cause beginning with ``cause``."""
        rows = await self._run_query("marked", (stream, len(cause), cause))
        return record_of(rows[0]) if rows else None

    async def scan_records(self, after: int = 0, limit: int = 1000) -> Sequence[Record]:
        """Records of all streams with ``pos`` > ``after``, in the order they were committed."""
        return [record_of(row) for row in await self._run_query("scan", (after, limit))]

    async def load_definition(self, digest: str) -> bytes | None:
        """The definition with that digest."""
        rows = await self._run_query("definition", (digest,))
        return str(rows[0][0]).encode() if rows else None

    async def load_blob(self, digest: str) -> bytes | None:
        """The blob with that digest."""
        rows = await self._run_query("blob", (digest,))
        return bytes(rows[0][0]) if rows else None

    async def find_cached_result(self, key: str) -> CachedResult | None:
        """The result that is stored under that key; it may have expired."""
        rows = await self._run_query("cached", (key,))
        if not rows:
            return None
        origin, result, at, expires = rows[0]
        return CachedResult(key=key, origin=origin, result=result.encode(), at=at, expires=expires)

    async def find_request(self, key: str, *, tenant: str = "default") -> RequestRow | None:
        """The request of that key; it may have expired."""
        rows = await self._run_query("request", (tenant, key))
        return request_of(rows[0]) if rows else None

    async def list_account_states(self) -> Sequence[AccountState]:
        """All accounts with their limits and amounts, in order of their scopes."""
        return [standing_of(row) for row in await self._run_query("standings", ())]

    async def list_marks(self) -> dict[str, str]:
        """The stored texts by name."""
        return dict(await self._run_query("marks", ()))

    async def list_runs(
        self, *, tenant: str = "default", unfinished: bool = False, limit: int | None = None
    ) -> Sequence[RunRow]:
        """Rows of the run list, newest first."""
        query = "open_runs" if unfinished else "runs"
        # To SQLite a negative limit is no limit.
        rows = await self._run_query(query, (tenant, -1 if limit is None else limit))
        return [run_of(row) for row in rows]

    async def find_run(self, run: str, *, tenant: str = "default") -> RunRow | None:
        """The row of one run; None if that tenant has no such run."""
        rows = await self._run_query("run", (run, tenant))
        return run_of(rows[0]) if rows else None

    async def measure_sizes(self, streams: Sequence[str] | None = None) -> Sizes:
        """Bytes of the journal; with ``streams``, only what would be deleted with them."""
        if streams is not None:
            parameters = (json.dumps(list(streams)),)
            records, blobs, definitions = (await self._run_query("sizes_of", parameters))[0]
            return Sizes(records=records, blobs=blobs, definitions=definitions)
        records, blobs, definitions, file, free = (await self._run_query("sizes", ()))[0]
        return Sizes(
            records=records,
            blobs=blobs,
            definitions=definitions,
            file=file,
            free=free,
            log=self._measure_log(),
        )

    async def list_largest_streams(self, limit: int = 20) -> Sequence[StreamSize]:
        """The largest streams, largest first."""
        rows = await self._run_query("largest", (limit,))
        return [StreamSize(stream=row[0], records=row[1], blobs=row[2]) for row in rows]
