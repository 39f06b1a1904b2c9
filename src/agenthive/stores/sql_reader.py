"""Reading a journal that lies in SQL: the questions of the port, each a named query.

A store says in `_run_query` how a query is asked; what comes back is turned into values here. Never
writes. To add a question: a query in `sql/`, a method here.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Any, Final

from agenthive.core.journal.records import (
    AccountState,
    CachedResult,
    Record,
    RunRow,
    Sizes,
    StreamSize,
)
from agenthive.stores.row_codec import record_of, run_of, standing_of

PAGE: Final = 500
"""Records a read fetches at a time."""

Rows = list[tuple[Any, ...]]


class SqlReader:
    """The half of `core.journal.store.Store` that asks."""

    def _run_query(self, query: str, values: tuple[Any, ...]) -> Awaitable[Rows]:
        raise NotImplementedError

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
        """The last record of a stream."""
        rows = await self._run_query("last", (stream,))
        return record_of(rows[0]) if rows else None

    async def read_marked_record(self, stream: str, cause: str) -> Record | None:
        """The last record of a stream whose cause begins so."""
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
        """The result that is kept under that key; it may have expired."""
        rows = await self._run_query("cached", (key,))
        if not rows:
            return None
        origin, result, at, expires = rows[0]
        return CachedResult(key=key, origin=origin, result=result.encode(), at=at, expires=expires)

    async def list_account_states(self) -> Sequence[AccountState]:
        """How every account stands."""
        return [standing_of(row) for row in await self._run_query("standings", ())]

    async def list_marks(self) -> dict[str, str]:
        """The texts that are kept, by name."""
        return dict(await self._run_query("marks", ()))

    async def list_runs(
        self, *, tenant: str = "default", unfinished: bool = False, limit: int | None = None
    ) -> Sequence[RunRow]:
        """Rows of the run list, newest first."""
        query = "open_runs" if unfinished else "runs"
        rows = await self._run_query(query, (tenant, -1 if limit is None else limit))
        return [run_of(row) for row in rows]

    async def find_run(self, run: str, *, tenant: str = "default") -> RunRow | None:
        """The row of one run."""
        rows = await self._run_query("run", (run, tenant))
        return run_of(rows[0]) if rows else None

    async def measure_sizes(self, streams: Sequence[str] | None = None) -> Sizes:
        """How much is in the journal; with ``streams``, only what would go with them."""
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
            log=self._log_size(),
        )

    def _log_size(self) -> int:
        return 0

    async def list_largest_streams(self, limit: int = 20) -> Sequence[StreamSize]:
        """The largest streams, largest first."""
        rows = await self._run_query("largest", (limit,))
        return [StreamSize(stream=row[0], records=row[1], blobs=row[2]) for row in rows]
