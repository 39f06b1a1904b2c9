"""The kit for stores: the good ones pass, and each planted bad one is caught by what it breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from agenthive.core.journal.hash_chain import seal_record
from agenthive.core.journal.records import Batch, Record, RequestRow, RunRow, Sizes, StreamSize
from agenthive.core.journal.store import Store
from agenthive.errors import StoreFailed
from agenthive.stores.memory import MemoryStore
from agenthive.stores.sqlite import SqliteStore
from agenthive.testing import NotConforming, check_store


async def test_memory_passes() -> None:
    await check_store(lambda name: MemoryStore(), lasting=False)


async def test_sqlite_passes(tmp_path: Path) -> None:
    await check_store(lambda name: SqliteStore.open(tmp_path / name / "journal.db"))


async def test_store_that_opens_slowly(tmp_path: Path) -> None:
    async def opened(name: str) -> Store:
        await asyncio.sleep(0)
        return SqliteStore.open(tmp_path / name / "journal.db")

    await check_store(opened)


class Tidies(MemoryStore):
    """Writes the payload in its own way."""

    def write(self, batch: Batch) -> None:
        tidied = [
            msgspec.structs.replace(r, payload=msgspec.json.encode(msgspec.json.decode(r.payload)))
            for r in batch.records
        ]
        batch.records = tidied
        super().write(batch)


class DropsCause(MemoryStore):
    def write(self, batch: Batch) -> None:
        batch.records = [msgspec.structs.replace(r, cause="") for r in batch.records]
        super().write(batch)


class Unchained(MemoryStore):
    async def read(self, stream: str, after: int = 0) -> AsyncIterator[Record]:
        async for record in super().read(stream, after):
            yield seal_record(record, b"\1" * 32, record.pos)


class ForgetsToChain(MemoryStore):
    """Chains all records of the store, not those of a stream."""

    def write(self, batch: Batch) -> None:
        super().write(batch)
        prev = bytes(32)
        for number, record in enumerate(self._records):
            self._records[number] = seal_record(record, prev, record.pos)
            prev = self._records[number].hash
        for stream in self._streams:
            self._streams[stream] = [r for r in self._records if r.stream == stream]


class CountsRecords(MemoryStore):
    """Its positions count records, not events."""

    async def scan_records(self, after: int = 0, limit: int = 1000) -> Sequence[Record]:
        found = await super().scan_records(0, 10**9)
        renumbered = [msgspec.structs.replace(r, pos=n) for n, r in enumerate(found, 1)]
        return [record for record in renumbered if record.pos > after][:limit]


class TakesAnything(MemoryStore):
    """Numbers records itself."""

    def write(self, batch: Batch) -> None:
        for number, record in enumerate(batch.records):
            last = self._streams.get(record.stream, [None])[-1]
            seq = last.seq + last.count if last else 1
            batch.records[number] = msgspec.structs.replace(record, seq=seq)
            super().write(Batch(records=[batch.records[number]]))
        super().write(Batch(definitions=batch.definitions, runs=batch.runs))


class WritesInPart(MemoryStore):
    """Each record by itself."""

    def write(self, batch: Batch) -> None:
        super().write(Batch(definitions=batch.definitions, runs=batch.runs))
        for record in batch.records:
            super().write(Batch(records=[record]))


class Forgives(MemoryStore):
    """Goes on after a failure."""

    def write(self, batch: Batch) -> None:
        self._poison = None
        super().write(batch)


class ReadsFromBefore(MemoryStore):
    async def read(self, stream: str, after: int = 0) -> AsyncIterator[Record]:
        for record in self.records(stream):
            if record.seq >= after:
                yield record


class OnePage(MemoryStore):
    async def read(self, stream: str, after: int = 0) -> AsyncIterator[Record]:
        for record in [r for r in self.records(stream) if r.seq > after][:500]:
            yield record


class ScansByStream(MemoryStore):
    async def scan_records(self, after: int = 0, limit: int = 1000) -> Sequence[Record]:
        found = [r for r in self._records if r.pos > after]
        return sorted(found, key=lambda record: record.stream)[:limit]


class ScansTooMuch(MemoryStore):
    async def scan_records(self, after: int = 0, limit: int = 1000) -> Sequence[Record]:
        return await super().scan_records(after, limit + 1)


class LosesDefinitions(MemoryStore):
    async def load_definition(self, digest: str) -> bytes | None:
        found = await super().load_definition(digest)
        return found or b"{}"


class OldestFirst(MemoryStore):
    def rows(self, tenant: str = "default", *, unfinished: bool = False) -> list[RunRow]:
        return super().rows(tenant, unfinished=unfinished)[::-1]


class NoUpdate(MemoryStore):
    def write(self, batch: Batch) -> None:
        batch.runs = [row for row in batch.runs if row.run not in self._runs]
        super().write(batch)


class LimitsNothing(MemoryStore):
    async def list_runs(
        self, *, tenant: str = "default", unfinished: bool = False, limit: int | None = None
    ) -> Sequence[RunRow]:
        return self.rows(tenant, unfinished=unfinished)


class FilterAfterLimit(MemoryStore):
    async def list_runs(
        self, *, tenant: str = "default", unfinished: bool = False, limit: int | None = None
    ) -> Sequence[RunRow]:
        rows = self.rows(tenant)[:limit]
        return [row for row in rows if not (unfinished and row.finished is not None)]


class OneBigTenant(MemoryStore):
    async def find_run(self, run: str, *, tenant: str = "default") -> RunRow | None:
        return self._runs.get(run)


class ListsEverybody(MemoryStore):
    def rows(self, tenant: str = "default", *, unfinished: bool = False) -> list[RunRow]:
        theirs = super().rows("acme", unfinished=unfinished)
        return theirs + super().rows("default", unfinished=unfinished)


class Disorderly(MemoryStore):
    """Writes what waits in another order than it was asked for."""

    async def append(self, batch: Batch) -> None:
        names = [record.stream for record in batch.records if record.stream.startswith("own-")]
        if names and names[0].endswith("7"):
            keep, batch.records = batch.records, [r for r in batch.records if r.stream == "s"]
            self.write(batch)
            await asyncio.sleep(0.01)
            batch = Batch(records=[r for r in keep if r.stream != "s"])
        self.write(batch)


class EmptyTakesARow(MemoryStore):
    def write(self, batch: Batch) -> None:
        super().write(batch)
        self._pos += not (batch.records or batch.definitions or batch.runs)


class LosesBlobs(MemoryStore):
    async def load_blob(self, digest: str) -> bytes | None:
        found = await super().load_blob(digest)
        return found and found[:100_000]


class DropsNothing(MemoryStore):
    def write(self, batch: Batch) -> None:
        batch.drops = []
        super().write(batch)


class OverwritesAccounts(MemoryStore):
    def _apply_entries(self, batch: Batch) -> None:
        for entry in batch.entries:
            self._accounts.pop(entry.scope, None)
        super()._apply_entries(batch)


class KeepsAccountsOfRuns(MemoryStore):
    def _drop_streams(self, streams: Sequence[str]) -> None:
        kept = dict(self._accounts)
        super()._drop_streams(streams)
        self._accounts = kept


class ForgetsLimits(MemoryStore):
    def _apply_entries(self, batch: Batch) -> None:
        batch.standings = []
        super()._apply_entries(batch)


class DropsWhatIsShared(MemoryStore):
    def _unshared_digests(self, streams: Sequence[str]) -> set[str]:
        return set[str]().union(*(self._uses.get(stream, ()) for stream in streams))


class KeepsWhatNobodyUses(MemoryStore):
    def _unshared_digests(self, streams: Sequence[str]) -> set[str]:
        return set()


class DropsAllTheSame(MemoryStore):
    """Also when the batch is refused."""

    def write(self, batch: Batch) -> None:
        self._drop_streams(batch.drops)
        super().write(batch)


class ListsWhatIsGone(MemoryStore):
    def _drop_streams(self, streams: Sequence[str]) -> None:
        rows = dict(self._runs)
        super()._drop_streams(streams)
        self._runs = rows


class WeighsAnything(MemoryStore):
    async def measure_sizes(self, streams: Sequence[str] | None = None) -> Sizes:
        return await super().measure_sizes()


class SmallestFirst(MemoryStore):
    async def list_largest_streams(self, limit: int = 20) -> Sequence[StreamSize]:
        return (await super().list_largest_streams(100))[::-1][:limit]


class SharesRequests(MemoryStore):
    async def find_request(self, key: str, *, tenant: str = "default") -> RequestRow | None:
        return next((row for row in self._requests.values() if row.key == key), None)


class ForgetsRequests(MemoryStore):
    def _put_requests(self, rows: Sequence[RequestRow]) -> None:
        pass


class KeepsTheFirstRequest(MemoryStore):
    def _put_requests(self, rows: Sequence[RequestRow]) -> None:
        self._requests = {(row.tenant, row.key): row for row in rows} | self._requests


class KeepsRequestsForEver(MemoryStore):
    def _put_requests(self, rows: Sequence[RequestRow]) -> None:
        self._requests |= {(row.tenant, row.key): row for row in rows}


class KeepsNoRequestLong(MemoryStore):
    def _put_requests(self, rows: Sequence[RequestRow]) -> None:
        super()._put_requests(rows)
        self._requests = dict(list(self._requests.items())[-1000:])


class BreaksOnRead(MemoryStore):
    async def scan_records(self, after: int = 0, limit: int = 1000) -> Sequence[Record]:
        raise StoreFailed("always")


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (Tidies, "right after the append"),
        (DropsCause, "right after the append"),
        (Unchained, "chained to another record"),
        (ForgetsToChain, "chained to another record|chain does not hold"),
        (CountsRecords, "positions are"),
        (TakesAnything, "was accepted"),
        (WritesInPart, "written in part"),
        (Forgives, "after a failed one"),
        (ReadsFromBefore, "read after 4"),
        (OnePage, "a long stream"),
        (ScansByStream, "in a scan|positions"),
        (ScansTooMuch, r"scan\(0, 2\)"),
        (LosesDefinitions, "definition"),
        (OldestFirst, "newest first"),
        (NoUpdate, "not what was written"),
        (LimitsNothing, r"limit=1"),
        (FilterAfterLimit, r"unfinished=True, limit=1"),
        (OneBigTenant, "sees the run"),
        (ListsEverybody, "sees other runs"),
        (Disorderly, "not in the order of calls"),
        (EmptyTakesARow, "takes a position"),
        (LosesBlobs, "blobs are not returned"),
        (DropsNothing, "dropped stream has records"),
        (OverwritesAccounts, "accounts are"),
        (ForgetsLimits, "accounts are"),
        (KeepsAccountsOfRuns, "after a drop"),
        (DropsWhatIsShared, "the wrong definitions were dropped"),
        (KeepsWhatNobodyUses, "the wrong definitions were dropped"),
        (DropsAllTheSame, "a batch was written in part"),
        (ListsWhatIsGone, "the run list contains a dropped run"),
        (WeighsAnything, "would free"),
        (SmallestFirst, "largest streams are"),
        (SharesRequests, "gets the request of another"),
        (ForgetsRequests, "does not come back"),
        (KeepsTheFirstRequest, "does not replace"),
        (KeepsRequestsForEver, "the requests that have expired"),
        (KeepsNoRequestLong, "the oldest requests above"),
        (BreaksOnRead, "It raised StoreFailed"),
    ],
)
async def test_planted_fault_is_caught(kind: Callable[[], Store], says: str) -> None:
    with pytest.raises(NotConforming, match=says):
        await check_store(lambda name: kind(), lasting=False)


class Forgetful(MemoryStore):
    """Gone when it is closed, though it should last."""


class ClosesOver(SqliteStore):
    """Acknowledges what waits at the end without writing it."""

    async def append(self, batch: Batch) -> None:  # type: ignore[override]
        late = self._closing
        for _ in range(3):
            await asyncio.sleep(0)
        if late or not self._closing:
            await super().append(batch)


class NeverClosed(SqliteStore):
    """Can be read after the end."""

    async def scan_records(self, after: int = 0, limit: int = 1000) -> Sequence[Record]:
        return () if self._closing else await super().scan_records(after, limit)


class ClosesRudely(SqliteStore):
    async def scan_records(self, after: int = 0, limit: int = 1000) -> Sequence[Record]:
        if self._closing:
            raise RuntimeError("cannot schedule new futures after shutdown")
        return await super().scan_records(after, limit)


class NewChain(SqliteStore):
    """Begins a new chain after a restart."""

    def _read_head(self, stream: str) -> tuple[int, bytes]:
        return super()._read_head(stream)[0], bytes(32)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (ClosesOver, "pending at close"),
        (NeverClosed, "scan after close.* succeeded"),
        (ClosesRudely, "scan after close.* raised RuntimeError"),
        (NewChain, "chain does not hold"),
    ],
)
async def test_planted_fault_of_a_lasting_store_is_caught(
    kind: type[SqliteStore], says: str, tmp_path: Path
) -> None:
    with pytest.raises(NotConforming, match=says):
        await check_store(lambda name: kind.open(tmp_path / name / "journal.db"))


async def test_store_that_forgets_is_caught() -> None:
    with pytest.raises(NotConforming, match="later"):
        await check_store(lambda name: Forgetful())
