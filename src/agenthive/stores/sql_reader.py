"""Reading a journal that lies in SQL: the questions of the port, each a named query.

A store says in `_ask` how a query is asked; what comes back is turned into values here. Never
writes. To add a question: a query in `sql/`, a method here.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Any, Final

from agenthive.core.journal.records import Cached, Record, RunRow, Sizes, Standing, StreamSize
from agenthive.stores.row_codec import record_of, run_of, standing_of

PAGE: Final = 500
"""Records a read fetches at a time."""

Rows = list[tuple[Any, ...]]


class Reads:
    """The half of `core.journal.store.Store` that asks."""

    def _ask(self, query: str, values: tuple[Any, ...]) -> Awaitable[Rows]:
        raise NotImplementedError

    async def read(self, stream: str, after: int = 0) -> AsyncIterator[Record]:
        """Records of a stream that begin after event number ``after``, a page at a time."""
        while True:
            rows = await self._ask("read", (stream, after, PAGE))
            for row in rows:
                record = record_of(row)
                after = record.seq
                yield record
            if len(rows) < PAGE:
                return

    async def last(self, stream: str) -> Record | None:
        """The last record of a stream."""
        rows = await self._ask("last", (stream,))
        return record_of(rows[0]) if rows else None

    async def marked(self, stream: str, cause: str) -> Record | None:
        """The last record of a stream whose cause begins so."""
        rows = await self._ask("marked", (stream, len(cause), cause))
        return record_of(rows[0]) if rows else None

    async def scan(self, after: int = 0, limit: int = 1000) -> Sequence[Record]:
        """Records of all streams with ``pos`` > ``after``, in the order they were committed."""
        return [record_of(row) for row in await self._ask("scan", (after, limit))]

    async def definition(self, digest: str) -> bytes | None:
        """The definition with that digest."""
        rows = await self._ask("definition", (digest,))
        return str(rows[0][0]).encode() if rows else None

    async def blob(self, digest: str) -> bytes | None:
        """The blob with that digest."""
        rows = await self._ask("blob", (digest,))
        return bytes(rows[0][0]) if rows else None

    async def cached(self, key: str) -> Cached | None:
        """The result that is kept under that key; it may have expired."""
        rows = await self._ask("cached", (key,))
        if not rows:
            return None
        origin, result, at, expires = rows[0]
        return Cached(key=key, origin=origin, result=result.encode(), at=at, expires=expires)

    async def standings(self) -> Sequence[Standing]:
        """How every account stands."""
        return [standing_of(row) for row in await self._ask("standings", ())]

    async def marks(self) -> dict[str, str]:
        """The texts that are kept, by name."""
        return dict(await self._ask("marks", ()))

    async def runs(
        self, *, tenant: str = "default", unfinished: bool = False, limit: int | None = None
    ) -> Sequence[RunRow]:
        """Rows of the run list, newest first."""
        query = "open_runs" if unfinished else "runs"
        rows = await self._ask(query, (tenant, -1 if limit is None else limit))
        return [run_of(row) for row in rows]

    async def run(self, run: str, *, tenant: str = "default") -> RunRow | None:
        """The row of one run."""
        rows = await self._ask("run", (run, tenant))
        return run_of(rows[0]) if rows else None

    async def sizes(self, streams: Sequence[str] | None = None) -> Sizes:
        """How much is in the journal; with ``streams``, only what would go with them."""
        if streams is not None:
            asked = (json.dumps(list(streams)),)
            records, blobs, definitions = (await self._ask("sizes_of", asked))[0]
            return Sizes(records=records, blobs=blobs, definitions=definitions)
        records, blobs, definitions, file, free = (await self._ask("sizes", ()))[0]
        return Sizes(
            records=records, blobs=blobs, definitions=definitions, file=file, free=free,
            log=self._log_size(),
        )  # fmt: skip

    def _log_size(self) -> int:
        return 0

    async def largest(self, limit: int = 20) -> Sequence[StreamSize]:
        """The largest streams, largest first."""
        rows = await self._ask("largest", (limit,))
        return [StreamSize(stream=row[0], records=row[1], blobs=row[2]) for row in rows]
