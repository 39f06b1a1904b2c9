"""For stores: the kit that checks a new store against its contract.

    await check_store(lambda name: SqliteStore.open(folder / name))
    await check_store(lambda name: MemoryStore(), lasting=False)

Never measures speed, and uses only the `Store` protocol. To add a check: a function of a `Place`
and a line in `CHECKS`, with a planted bad store in the tests.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias

from agenthive.core.journal.hash_chain import GENESIS, verify_chain
from agenthive.core.journal.records import (
    MAX_REQUESTS,
    AccountState,
    Batch,
    LedgerEntry,
    Record,
    RequestRow,
    RunRow,
)
from agenthive.core.journal.store import Store
from agenthive.errors import AgentHiveError, StoreError, StoreFailed
from agenthive.testing.agent_kit import NotConforming, require

Make: TypeAlias = Callable[[str], "Store | Awaitable[Store]"]

#: More records than a store is likely to fetch at once.
MANY_RECORDS: Final = 1203
#: A payload that changes if a store decodes it and encodes it again as JSON.
ODD_PAYLOAD: Final = '[{"a":1.0,  "ü":"\u2028\\u0000 \U0001f41d"},  12345678901234567890]'.encode()


class Place:
    """Where one check keeps its journal; every call of `open` opens it again."""

    def __init__(self, make: Make, name: str, lasting: bool) -> None:
        self._make, self._name = make, name
        self.lasting = lasting
        self._opened: list[Store] = []

    async def open(self) -> Store:
        """Open the journal of this place."""
        opened = self._make(self._name)
        store = await opened if inspect.isawaitable(opened) else opened
        self._opened.append(store)
        return store

    async def reopen(self, store: Store) -> Store:
        """The journal after a restart; the same store if it does not outlive the process."""
        if not self.lasting:
            return store
        await store.close()
        return await self.open()

    def sibling(self, name: str) -> Place:
        """Another place for the same check."""
        return Place(self._make, f"{self._name}-{name}", self.lasting)

    async def close_all(self) -> None:
        """Close every store that was opened."""
        for store in self._opened:
            await store.close()


async def check_store(make: Make, *, lasting: bool = True) -> None:
    """Check a store against its contract. Raises NotConforming, which is an AssertionError.

    ``make(name)`` opens the journal of that name, or creates it. ``lasting``: whether records exist
    when the same name is opened again after a close.
    """
    for number, store_check in enumerate(CHECKS):
        place = Place(make, f"{number:02}{store_check.__name__}", lasting)
        try:
            await store_check(place)
        except AgentHiveError as error:
            raise NotConforming(f"{store_check.__doc__} It raised {error!r}") from error
        finally:
            await place.close_all()


def _make_record(stream: str, seq: int, count: int = 1, **fields: Any) -> Record:
    values: dict[str, Any] = {"at": seq, "type": "run", "payload": b'[{"n":%d}]' % seq, **fields}
    return Record(stream=stream, seq=seq, count=count, **values)


def _make_row(run: str, created: int = 0, **fields: Any) -> RunRow:
    return RunRow(run=run, name="w", created=created, **{"status": "running", **fields})


async def _read_all(store: Store, stream: str, after: int = 0) -> list[Record]:
    return [record async for record in store.read(stream, after)]


def _plain_fields(record: Record) -> tuple[Any, ...]:
    """The fields of a record without those that the store adds."""
    return (
        record.stream,
        record.seq,
        record.count,
        record.at,
        record.type,
        record.payload,
        record.v,
        record.rules,
        record.actor,
        record.cause,
    )


def _require_same(actual: Sequence[Record], expected: Sequence[Record], label: str) -> None:
    same = [_plain_fields(record) for record in actual] == [
        _plain_fields(record) for record in expected
    ]
    require(
        same, f"{label}: {len(actual)} records came back, not the {len(expected)} that were written"
    )


def _require_chained(records: Sequence[Record]) -> None:
    try:
        for _ in verify_chain(records):
            pass
    except AgentHiveError as error:
        raise NotConforming(f"the chain does not hold: {error}") from error


async def _check_records(place: Place) -> None:
    """Every field of a record comes back as it was written, to the byte."""
    store = await place.open()
    records = [
        _make_record("s", 1, payload=ODD_PAYLOAD, actor="ann", cause="c-1", rules=7, at=1 << 52),
        _make_record("s", 2, 3, payload=b"[" + b"1," * 500_000 + b"1]", type="hive"),
        _make_record("s", 5),
    ]
    await store.append(Batch(records=records[:2]))
    _require_same(await _read_all(store, "s"), records[:2], "right after the append")
    await store.append(Batch(records=records[2:]))
    store = await place.reopen(store)
    _require_same(await _read_all(store, "s"), records, "later")
    _require_same(await store.scan_records(), records, "in a scan")
    require(await _read_all(store, "other") == [], "a stream that does not exist has records")
    last = await store.read_last_record("s")
    require(last is not None and last.seq == 5, "`last` does not give a stream's last record")
    marked = await store.read_marked_record("s", "c-")
    require(marked is not None and marked.seq == 1, "`marked` does not find a record by its cause")
    require(
        await store.read_marked_record("s", "d-") is None,
        "`marked` finds a record that does not exist",
    )
    require(
        await store.read_last_record("other") is None,
        "a stream that does not exist has a last record",
    )


async def _check_chains(place: Place) -> None:
    """Each record is chained to the one before it in its stream, also after a restart."""
    store = await place.open()
    mixed = [
        _make_record("a", 1, 2),
        _make_record("b", 1),
        _make_record("a", 3),
        _make_record("b", 2, 4),
    ]
    await store.append(Batch(records=mixed))
    store = await place.reopen(store)
    await store.append(Batch(records=[_make_record("b", 6), _make_record("a", 4)]))
    for stream, count in (("a", 3), ("b", 3)):
        records = await _read_all(store, stream)
        require(len(records) == count, f"stream {stream} has {len(records)} records, not {count}")
        require(records[0].prev == GENESIS, "a first record is chained to another record")
        _require_chained(records)


async def _check_positions(place: Place) -> None:
    """``pos`` counts events over all streams in the order they were committed, from 1."""
    store = await place.open()
    await store.append(Batch(records=[_make_record("a", 1, 3), _make_record("b", 1)]))
    store = await place.reopen(store)
    await store.append(Batch(records=[_make_record("b", 2, 2), _make_record("a", 4)]))
    actual = [(record.pos, record.stream) for record in await store.scan_records()]
    expected = [(1, "a"), (4, "b"), (5, "b"), (7, "a")]
    require(actual == expected, f"positions are {actual}, not {expected}")


async def _check_sequence(place: Place) -> None:
    """A record that does not follow the last one of its stream is refused, with its whole batch."""
    wrong_numbers = {"gap": 5, "again": 2, "zero": 0, "overlap": 3}
    for name, seq in wrong_numbers.items():
        sibling = place.sibling(name)
        try:
            await _check_refused_batch(sibling, seq)
        finally:
            await sibling.close_all()


async def _check_refused_batch(place: Place, seq: int) -> None:
    store = await place.open()
    accepted = [_make_record("s", 1), _make_record("s", 2, 2), _make_record("stays", 1)]
    await store.append(Batch(records=accepted))
    bad_batch = Batch(
        records=[_make_record("good", 1), _make_record("s", seq)],
        definitions=[("d", b"{}")],
        runs=[_make_row("r")],
        blobs=[("b", b"{}")],
        drops=["stays"],
        requests=[_make_request("k", 1)],
    )
    await _require_failure(store.append(bad_batch), f"record {seq} after 3 was accepted")
    # The journal may differ from what its writer assumes: the store accepts nothing more.
    next_batch = Batch(records=[_make_record("s", 4)])
    await _require_failure(store.append(next_batch), "an append after a failed one was accepted")
    store = await place.reopen(store)
    _require_same(await store.scan_records(), accepted, "a batch was written in part")
    require(await _read_all(store, "good") == [], "a batch was written in part: its stream")
    require(await store.load_definition("d") is None, "a batch was written in part: its definition")
    require(await store.find_run("r") is None, "a batch was written in part: its row")
    require(await store.load_blob("b") is None, "a batch was written in part: its blob")
    require(await store.find_request("k") is None, "a batch was written in part: its request")
    if place.lasting:
        await store.append(next_batch)
        _require_chained(await _read_all(store, "s"))


async def _require_failure(append: Awaitable[None], message: str) -> None:
    try:
        await append
    except StoreFailed:
        return
    raise NotConforming(message)


async def _check_reading(place: Place) -> None:
    """``read`` starts after an event number, ``scan`` after a position; ``limit`` bounds both."""
    store = await place.open()
    records = [_make_record("s", 1, 3), _make_record("s", 4), _make_record("s", 5, 2)]
    await store.append(Batch(records=[*records, _make_record("t", 1)]))
    for after, expected_records in (
        (0, records),
        (3, records[1:]),
        (4, records[2:]),
        (6, []),
        (99, []),
    ):
        _require_same(await _read_all(store, "s", after), expected_records, f"read after {after}")
    for pos, limit, expected in ((0, 2, [1, 4]), (1, 1, [4]), (4, 9, [5, 7]), (7, 9, [])):
        actual = [record.pos for record in await store.scan_records(pos, limit)]
        require(
            actual == expected, f"scan({pos}, {limit}) gives positions {actual}, not {expected}"
        )


async def _check_paging(place: Place) -> None:
    """A long stream is complete and in order, and so is a long journal."""
    store = await place.open()
    records = [_make_record("s", seq) for seq in range(1, MANY_RECORDS + 1)]
    for first in range(0, MANY_RECORDS, 400):
        batch = Batch(records=list(records[first : first + 400]))
        batch.records.append(_make_record("t", first // 400 + 1))
        await store.append(batch)
    _require_same(await _read_all(store, "s"), records, "a long stream")
    _require_same(await _read_all(store, "s", 700), records[700:], "the end of a long stream")
    scanned: list[Record] = []
    while page := await store.scan_records(scanned[-1].pos if scanned else 0, 100):
        require(len(page) <= 100, f"a scan of at most 100 gave {len(page)}")
        scanned += page
    _require_same([record for record in scanned if record.stream == "s"], records, "a long journal")
    require(
        [record.pos for record in scanned] == list(range(1, MANY_RECORDS + 5)),
        "a scan omits records",
    )


async def _check_definitions(place: Place) -> None:
    """A definition is stored under its digest; storing it twice has no effect."""
    store = await place.open()
    await store.append(Batch(definitions=[("d1", ODD_PAYLOAD), ("d2", b"{}")]))
    await store.append(Batch(definitions=[("d1", ODD_PAYLOAD)], records=[_make_record("s", 1)]))
    store = await place.reopen(store)
    actual = [await store.load_definition(name) for name in ("d1", "d2", "d3")]
    require(
        actual == [ODD_PAYLOAD, b"{}", None], "definitions are not returned as they were written"
    )
    require(
        len(await _read_all(store, "s")) == 1, "a record written with a known definition is missing"
    )


async def _check_blobs(place: Place) -> None:
    """A blob is stored under its digest, to the byte; storing it twice has no effect."""
    store = await place.open()
    large = b"[" + b"1," * 500_000 + b"1]"
    await store.append(
        Batch(blobs=[("b1", large), ("b2", ODD_PAYLOAD)], uses=[("s", "b1"), ("s", "b2")])
    )
    await store.append(Batch(blobs=[("b1", large)], uses=[("s", "b1"), ("t", "b1")]))
    store = await place.reopen(store)
    actual = [await store.load_blob(name) for name in ("b1", "b2", "b3")]
    require(actual == [large, ODD_PAYLOAD, None], "blobs are not returned as they were written")


async def _check_accounts(place: Place) -> None:
    """Entries add up, a limit stays, and the accounts of a run are dropped with it."""
    store = await place.open()
    run_entries = [
        LedgerEntry(run="a", scope=scope, captured=5) for scope in ("run a", "run a task t")
    ]
    shared = LedgerEntry(run="a", scope="tenant a", captured=5, held=7)
    other_entry = LedgerEntry(run="ab", scope="run ab", held=1)
    await store.append(Batch(entries=[*run_entries, shared, other_entry]))
    await store.append(
        Batch(
            entries=[LedgerEntry(run="b", scope="tenant a", captured=1, held=-3)],
            standings=[
                AccountState(scope="tenant a", limit=9, frozen=True),
                AccountState(scope="day a", limit=2),
            ],
        )
    )
    store = await place.reopen(store)
    tenant_account = AccountState(scope="tenant a", limit=9, captured=6, held=4, frozen=True)
    run_accounts = [AccountState(scope=account.scope, captured=5) for account in run_entries]
    shared_accounts = [
        AccountState(scope="day a", limit=2),
        AccountState(scope="run ab", held=1),
        tenant_account,
    ]
    actual = sorted(await store.list_account_states(), key=lambda account: account.scope)
    expected = sorted([*run_accounts, *shared_accounts], key=lambda account: account.scope)
    require(actual == expected, f"accounts are {actual}, not {expected}")
    await store.append(Batch(drops=["a"], standings=[AccountState(scope="tenant a")]))
    store = await place.reopen(store)
    remaining = {account.scope: account for account in await store.list_account_states()}
    require(
        sorted(remaining) == ["day a", "run ab", "tenant a"], f"after a drop: {sorted(remaining)}"
    )
    unlimited = AccountState(scope="tenant a", captured=6, held=4)
    require(remaining["tenant a"] == unlimited, "a limit that was removed still applies")


async def _check_marks(place: Place) -> None:
    """The last text under a name is kept."""
    store = await place.open()
    await store.append(Batch(marks=[("a", "1"), ("b", "2"), ("a", "3")]))
    await store.append(Batch(marks=[("b", "4")]))
    store = await place.reopen(store)
    marks = await store.list_marks()
    require(marks == {"a": "3", "b": "4"}, f"marks are {marks}")


async def _check_drops(place: Place) -> None:
    """Dropping a stream removes its row and what no other stream uses, nothing more."""
    store = await place.open()
    await store.append(
        Batch(
            records=[_make_record("old", 1, 2), _make_record("kept", 1)],
            definitions=[("d-old", b"{}"), ("d-both", b"[1]"), ("d-free", b"[2]")],
            blobs=[("b-old", ODD_PAYLOAD), ("b-both", b"[3]")],
            runs=[_make_row("old", 1), _make_row("kept", 2)],
            uses=[("old", name) for name in ("d-old", "b-old", "d-both", "b-both")]
            + [("kept", name) for name in ("d-both", "b-both")],
        )
    )
    hive_record = _make_record("hive", 1, type="hive")
    await store.append(Batch(drops=["old", "never was"], records=[hive_record]))
    store = await place.reopen(store)
    require(await _read_all(store, "old") == [], "a dropped stream has records")
    require(
        [record.stream for record in await store.scan_records()] == ["kept", "hive"],
        "a scan returns a dropped stream",
    )
    require(
        [row.run for row in await store.list_runs()] == ["kept"],
        "the run list contains a dropped run",
    )
    remaining = [await store.load_definition(name) for name in ("d-old", "d-both", "d-free")]
    require(remaining == [None, b"[1]", b"[2]"], "the wrong definitions were dropped")
    remaining = [await store.load_blob(name) for name in ("b-old", "b-both")]
    require(remaining == [None, b"[3]"], "the wrong blobs were dropped")
    await store.append(
        Batch(drops=["kept"], records=[_make_record("old", 1), _make_record("kept", 1)])
    )
    store = await place.reopen(store)
    require(
        await store.load_blob("b-both") is None,
        "a blob without any remaining user was not dropped",
    )
    positions = [(record.pos, record.stream) for record in await store.scan_records()]
    expected = [(4, "hive"), (5, "old"), (6, "kept")]
    require(positions == expected, f"after drops positions are {positions}, not {expected}")
    for stream in ("old", "kept"):
        _require_chained(await _read_all(store, stream))


async def _check_requests(place: Place) -> None:
    """A request is kept with its answer, for its tenant, until it expires or is among too many."""
    store = await place.open()
    require(await store.find_request("k-1") is None, "a request that was never written is there")
    row = _make_request("k-1", 100, answer=ODD_PAYLOAD, rejection="it is late")
    foreign_row = _make_request("k-1", 100, answer=b"2", tenant="acme")
    await store.append(Batch(records=[_make_record("s", 1)], requests=[row, foreign_row]))
    store = await place.reopen(store)
    require(await store.find_request("k-1") == row, "a request does not come back as it was")
    require(
        await store.find_request("k-1", tenant="acme") == foreign_row,
        "a tenant gets the request of another one",
    )
    later_row = _make_request("k-1", 150, answer=b"3")
    await store.append(Batch(requests=[later_row]))
    require(await store.find_request("k-1") == later_row, "a request does not replace the older")
    await store.append(Batch(requests=[_make_request("k-3", 1101)]))
    require(
        await store.find_request("k-1", tenant="acme") is None
        and await store.find_request("k-1") is not None,
        "the requests that have expired, and only those, must go when others are written",
    )
    many = [_make_request(f"m-{number}", 1102) for number in range(MAX_REQUESTS)]
    await store.append(Batch(requests=many))
    require(
        await store.find_request("k-3") is None and await store.find_request("m-0") == many[0],
        f"the oldest requests above {MAX_REQUESTS:,}, and only those, must go",
    )


def _make_request(key: str, at: int, **fields: Any) -> RequestRow:
    values = {"verb": "signal", "fingerprint": "f", "expires": at + 1000, **fields}
    return RequestRow(key=key, at=at, **values)


async def _check_sizes(place: Place) -> None:
    """Sizes are those of the contents; the size of a stream is what dropping it would free."""
    store = await place.open()
    text, body = b'["' + b"x" * 5000 + b'"]', b'"' + b"y" * 9000 + b'"'
    await store.append(
        Batch(
            records=[
                _make_record("a", 1, payload=text),
                _make_record("b", 1),
                _make_record("c", 1, payload=text),
            ],
            definitions=[("d", ODD_PAYLOAD)],
            blobs=[("one", body), ("two", text)],
            uses=[("a", "one"), ("b", "one"), ("b", "two"), ("a", "d")],
        )
    )
    small = len(_make_record("b", 1).payload)
    whole = await store.measure_sizes()
    actual = (whole.records, whole.blobs, whole.definitions)
    expected = (2 * len(text) + small, len(body) + len(text), len(ODD_PAYLOAD))
    require(actual == expected, f"sizes are {actual}, not {expected}")
    require(
        whole.file >= sum(actual) - small or whole.log > 0,
        "the files are smaller than the contents",
    )
    for streams, sums in (
        (["a"], (len(text), 0, len(ODD_PAYLOAD))),
        (["a", "b"], (len(text) + small, expected[1], len(ODD_PAYLOAD))),
        ([], (0, 0, 0)),
    ):
        subset = await store.measure_sizes(streams)
        actual = (subset.records, subset.blobs, subset.definitions)
        require(actual == sums, f"dropping {streams} would free {actual}, not {sums}")
    largest = [
        (entry.stream, entry.records, entry.blobs) for entry in await store.list_largest_streams(2)
    ]
    expected_largest = [("b", small, len(body) + len(text)), ("a", len(text), len(body))]
    require(
        largest == expected_largest, f"the largest streams are {largest}, not {expected_largest}"
    )
    await store.append(Batch(drops=["a", "b", "c"]))
    for _ in range(1000):
        if not await store.reclaim_space():
            break
    whole = await store.measure_sizes()
    empty = (whole.records, whole.blobs, whole.definitions, whole.free)
    require(empty == (0, 0, 0, 0), f"after dropping everything the sizes are {empty}")


async def _check_run_list(place: Place) -> None:
    """The run list is newest first, and a row that is written again replaces the old one."""
    store = await place.open()
    rows = [_make_row("r2", 20), _make_row("r1", 10), _make_row("r3", 20, total_tasks=4)]
    await store.append(Batch(runs=rows))
    finished = _make_row("r3", 20, status="failed", finished=30, total_tasks=4, completed_tasks=1)
    finished = _replace_fields(finished, failed_tasks=2)
    await store.append(Batch(runs=[finished]))
    store = await place.reopen(store)
    listed = list(await store.list_runs())
    require([row.run for row in listed] == ["r3", "r2", "r1"], "the run list is not newest first")
    require(listed == [finished, rows[0], rows[1]], "rows of the run list are not what was written")
    require(
        await store.find_run("r3") == finished, "`run` does not give the row that was written last"
    )
    require(await store.find_run("nope") is None, "`run` gives a row for a run that does not exist")
    open_ones = [row.run for row in await store.list_runs(unfinished=True)]
    require(open_ones == ["r2", "r1"], f"unfinished runs are {open_ones}, not r2 and r1")
    first = [row.run for row in await store.list_runs(limit=1)]
    require(first == ["r3"], f"runs(limit=1) gives {first}")
    last = [row.run for row in await store.list_runs(unfinished=True, limit=1)]
    require(last == ["r2"], f"runs(unfinished=True, limit=1) gives {last}")
    require(not await store.list_runs(limit=0), "runs(limit=0) gives rows")


def _replace_fields(row: RunRow, **fields: Any) -> RunRow:
    return RunRow(**{name: getattr(row, name) for name in row.__struct_fields__} | fields)


async def _check_tenants(place: Place) -> None:
    """Runs of one tenant are not visible to another."""
    store = await place.open()
    await store.append(
        Batch(runs=[_make_row("mine", 1), _make_row("theirs", 2, tenant="acme", owner="ann")])
    )
    for tenant, own_run, foreign_run in (("default", "mine", "theirs"), ("acme", "theirs", "mine")):
        for unfinished in (False, True):
            rows = await store.list_runs(tenant=tenant, unfinished=unfinished)
            require([row.run for row in rows] == [own_run], f"{tenant} sees other runs: {rows}")
        require(
            await store.find_run(foreign_run, tenant=tenant) is None,
            f"{tenant} sees the run {foreign_run}",
        )
        require(
            await store.find_run(own_run, tenant=tenant) is not None, f"{tenant} lacks its own run"
        )
    require(not await store.list_runs(tenant="nobody"), "an unknown tenant has runs")


async def _check_concurrent_appends(place: Place) -> None:
    """Concurrent appends are written in the order they were called."""
    store = await place.open()
    appends = []
    for number in range(1, 101):
        own_record = _make_record(f"own-{number}", 1)
        batch = Batch(
            records=[_make_record("s", number), own_record],
            runs=[_make_row(f"r{number:03}", number)],
        )
        appends.append(asyncio.ensure_future(store.append(batch)))
    read = asyncio.ensure_future(_read_all(store, "s"))
    await asyncio.gather(*appends)
    _require_chained(await read)
    store = await place.reopen(store)
    records = await _read_all(store, "s")
    require([record.seq for record in records] == list(range(1, 101)), "appends are out of order")
    _require_chained(records)
    streams = [entry.stream for entry in await store.scan_records() if entry.stream != "s"]
    require(streams == [f"own-{n}" for n in range(1, 101)], "batches are not in the order of calls")
    require(len(await store.list_runs()) == 100, "a row is missing")


async def _check_empty_batch(place: Place) -> None:
    """A new journal is empty, and an empty batch is written like any other."""
    store = await place.open()
    require(
        not await store.scan_records() and not await store.list_runs(), "a new journal is not empty"
    )
    await store.append(Batch())
    await store.append(Batch(records=[_make_record("s", 1)]))
    require(
        [record.pos for record in await store.scan_records()] == [1],
        "an empty batch takes a position",
    )


async def _check_closing(place: Place) -> None:
    """Closing writes pending batches and may be repeated; a closed store refuses every call."""
    store = await place.open()
    pending = [
        asyncio.ensure_future(store.append(Batch(records=[_make_record("s", seq)])))
        for seq in range(1, 21)
    ]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*pending)
    await store.close()
    if not place.lasting:
        return
    late = Batch(records=[_make_record("s", 21)])
    await _require_closed(lambda: store.append(late), "append")
    await _require_closed(lambda: _read_all(store, "s"), "read")
    await _require_closed(store.scan_records, "scan")
    await _require_closed(store.list_runs, "runs")
    reopened = await place.open()
    require(
        len(await _read_all(reopened, "s")) == 20, "a batch that was pending at close() is missing"
    )


async def _require_closed(operation: Callable[[], Awaitable[Any]], label: str) -> None:
    try:
        await operation()
    except StoreError:
        return
    except Exception as error:
        raise NotConforming(f"{label} after close() raised {error!r}, not a StoreError") from error
    raise NotConforming(f"{label} after close() succeeded")


CHECKS: Final[tuple[Callable[[Place], Awaitable[None]], ...]] = (
    _check_records,
    _check_chains,
    _check_positions,
    _check_sequence,
    _check_reading,
    _check_paging,
    _check_definitions,
    _check_blobs,
    _check_drops,
    _check_accounts,
    _check_marks,
    _check_requests,
    _check_sizes,
    _check_run_list,
    _check_tenants,
    _check_concurrent_appends,
    _check_empty_batch,
    _check_closing,
)
