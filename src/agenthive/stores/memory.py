"""A journal in memory: for tests, simulations and `Hive.open("memory:")`. Gone with the process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from agenthive.core.journal import GENESIS, seal
from agenthive.core.ports import Batch, Record, RunRow
from agenthive.errors import StoreFailed


class MemoryStore:
    """Implements `core.ports.Store` with lists and dicts."""

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._streams: dict[str, list[Record]] = {}
        self.definitions: dict[str, bytes] = {}
        self._runs: dict[str, RunRow] = {}
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
            before = sealed.get(record.stream) or self._streams.get(record.stream)
            last = before[-1] if before else None
            if record.seq != (last.seq + last.count if last else 1):
                self._poison = StoreFailed(f"stream {record.stream}: {record.seq} is out of order")
                raise self._poison
            new = seal(record, last.hash if last else GENESIS, pos + 1)
            pos += record.count
            sealed.setdefault(record.stream, []).append(new)
            written.append(new)
        self._pos = pos
        self._records += written
        for stream, records in sealed.items():
            self._streams.setdefault(stream, []).extend(records)
        for digest, body in batch.definitions:
            self.definitions.setdefault(digest, body)
        for row in batch.runs:
            self._runs[row.run] = row

    async def read(self, stream: str, after: int = 0) -> AsyncIterator[Record]:
        """Records of a stream that begin after event number ``after``."""
        for record in self.records(stream):
            if record.seq > after:
                yield record

    def records(self, stream: str) -> list[Record]:
        """All records of a stream, for callers without an event loop."""
        return list(self._streams.get(stream, ()))

    async def scan(self, after: int = 0, limit: int = 1000) -> Sequence[Record]:
        """Records of all streams with ``pos`` > ``after``."""
        return [record for record in self._records if record.pos > after][:limit]

    async def definition(self, digest: str) -> bytes | None:
        """The definition with that digest."""
        return self.definitions.get(digest)

    def definition_of(self, digest: str) -> bytes:
        """What `definition` gives, for callers without an event loop."""
        return self.definitions[digest]

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
