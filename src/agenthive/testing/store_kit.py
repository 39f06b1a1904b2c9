"""For stores: the kit that says when a new one is done.

    await check_store(lambda name: SqliteStore.open(folder / name))
    await check_store(lambda name: MemoryStore(), lasting=False)

Never measures speed, and never looks behind the port. A new check is a function of a `Place` and a
line in `CHECKS`, with a planted bad store in the tests.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias

from agenthive.core.journal.hash_chain import GENESIS, check
from agenthive.core.journal.records import Batch, Entry, Record, RunRow, Standing
from agenthive.core.journal.store import Store
from agenthive.errors import AgentHiveError, StoreError, StoreFailed
from agenthive.testing.agent_kit import NotConforming, require

Make: TypeAlias = Callable[[str], "Store | Awaitable[Store]"]

MANY: Final = 1203
"""More records than a store is likely to fetch at a time."""
ODD: Final = '[{"a":1.0,  "ü":"\u2028\\u0000 \U0001f41d"},  12345678901234567890]'.encode()
"""A payload that changes when somebody reads and writes it again as JSON."""


class Place:
    """Where one check has its journal. `open` opens it again if that is asked twice."""

    def __init__(self, make: Make, name: str, lasting: bool) -> None:
        self._make, self._name = make, name
        self.lasting = lasting
        self._opened: list[Store] = []

    async def open(self) -> Store:
        """The journal of this place."""
        made = self._make(self._name)
        store = await made if inspect.isawaitable(made) else made
        self._opened.append(store)
        return store

    async def again(self, store: Store) -> Store:
        """The same journal after a restart; the same store where nothing outlives it."""
        if not self.lasting:
            return store
        await store.close()
        return await self.open()

    def beside(self, name: str) -> Place:
        """Another place, for the same check."""
        return Place(self._make, f"{self._name}-{name}", self.lasting)

    async def leave(self) -> None:
        """Close whatever was opened."""
        for store in self._opened:
            await store.close()


async def check_store(make: Make, *, lasting: bool = True) -> None:
    """Check a store against the contract. Raises NotConforming, which is an AssertionError.

    ``make(name)`` opens the journal of that name, or makes it. ``lasting``: what was written is
    there when the same name is opened again after a close.
    """
    for number, one in enumerate(CHECKS):
        place = Place(make, f"{number:02}{one.__name__}", lasting)
        try:
            await one(place)
        except AgentHiveError as error:
            raise NotConforming(f"{one.__doc__} It raised {error!r}") from error
        finally:
            await place.leave()


def _record(stream: str, seq: int, count: int = 1, **fields: Any) -> Record:
    given: dict[str, Any] = {"at": seq, "type": "run", "payload": b'[{"n":%d}]' % seq, **fields}
    return Record(stream=stream, seq=seq, count=count, **given)


def _row(run: str, created: int = 0, **fields: Any) -> RunRow:
    return RunRow(run=run, name="w", created=created, **{"status": "running", **fields})


async def _all(store: Store, stream: str, after: int = 0) -> list[Record]:
    return [record async for record in store.read(stream, after)]


def _plain(record: Record) -> tuple[Any, ...]:
    """A record without what the store adds to it."""
    return (
        record.stream, record.seq, record.count, record.at, record.type, record.payload, record.v,
        record.rules, record.actor, record.cause,
    )  # fmt: skip


def _same(found: Sequence[Record], given: Sequence[Record], what: str) -> None:
    same = [_plain(record) for record in found] == [_plain(record) for record in given]
    require(same, f"{what}: {len(found)} records came back, not the {len(given)} that were written")


def _chained(records: Sequence[Record]) -> None:
    try:
        for _ in check(records):
            pass
    except AgentHiveError as error:
        raise NotConforming(f"the chain does not hold: {error}") from error


async def _keeps_what_it_is_given(place: Place) -> None:
    """Every field of a record comes back as it was written, to the byte."""
    store = await place.open()
    given = [
        _record("s", 1, payload=ODD, actor="ann", cause="c-1", rules=7, at=1 << 52),
        _record("s", 2, 3, payload=b"[" + b"1," * 500_000 + b"1]", type="hive"),
        _record("s", 5),
    ]
    await store.append(Batch(records=given[:2]))
    _same(await _all(store, "s"), given[:2], "right after the append")
    await store.append(Batch(records=given[2:]))
    store = await place.again(store)
    _same(await _all(store, "s"), given, "later")
    _same(await store.scan(), given, "in a scan")
    require(await _all(store, "other") == [], "a stream that does not exist has records")
    last = await store.last("s")
    require(last is not None and last.seq == 5, "`last` does not give a stream's last record")
    marked = await store.marked("s", "c-")
    require(marked is not None and marked.seq == 1, "`marked` does not find a record by its cause")
    require(await store.marked("s", "d-") is None, "`marked` finds what is not there")
    require(await store.last("other") is None, "a stream that does not exist has a last record")


async def _chains_each_stream(place: Place) -> None:
    """Each record is chained to the one before it in its stream, also after a restart."""
    store = await place.open()
    mixed = [_record("a", 1, 2), _record("b", 1), _record("a", 3), _record("b", 2, 4)]
    await store.append(Batch(records=mixed))
    store = await place.again(store)
    await store.append(Batch(records=[_record("b", 6), _record("a", 4)]))
    for stream, count in (("a", 3), ("b", 3)):
        records = await _all(store, stream)
        require(len(records) == count, f"stream {stream} has {len(records)} records, not {count}")
        require(records[0].prev == GENESIS, "a first record is chained to something")
        _chained(records)


async def _numbers_the_commits(place: Place) -> None:
    """``pos`` counts events over all streams in the order they were committed, from 1."""
    store = await place.open()
    await store.append(Batch(records=[_record("a", 1, 3), _record("b", 1)]))
    store = await place.again(store)
    await store.append(Batch(records=[_record("b", 2, 2), _record("a", 4)]))
    found = [(record.pos, record.stream) for record in await store.scan()]
    wanted = [(1, "a"), (4, "b"), (5, "b"), (7, "a")]
    require(found == wanted, f"positions are {found}, not {wanted}")


async def _refuses_disorder(place: Place) -> None:
    """A record that does not follow its stream's last is refused, with its whole batch."""
    wrong = {"gap": 5, "again": 2, "zero": 0, "overlap": 3}
    for name, seq in wrong.items():
        at = place.beside(name)
        try:
            await _refuses(at, seq)
        finally:
            await at.leave()


async def _refuses(place: Place, seq: int) -> None:
    store = await place.open()
    kept = [_record("s", 1), _record("s", 2, 2), _record("stays", 1)]
    await store.append(Batch(records=kept))
    bad = Batch(
        records=[_record("good", 1), _record("s", seq)],
        definitions=[("d", b"{}")],
        runs=[_row("r")],
        blobs=[("b", b"{}")],
        drops=["stays"],
    )
    await _fails(store.append(bad), f"record {seq} after 3 was taken")
    # The journal may hold something else than its writer believes: nothing more goes in.
    more = Batch(records=[_record("s", 4)])
    await _fails(store.append(more), "an append after a failed one was taken")
    store = await place.again(store)
    _same(await store.scan(), kept, "a batch was written in part")
    require(await _all(store, "good") == [], "a batch was written in part: its stream")
    require(await store.definition("d") is None, "a batch was written in part: its definition")
    require(await store.run("r") is None, "a batch was written in part: its row")
    require(await store.blob("b") is None, "a batch was written in part: its blob")
    if place.lasting:
        await store.append(more)
        _chained(await _all(store, "s"))


async def _fails(append: Awaitable[None], otherwise: str) -> None:
    try:
        await append
    except StoreFailed:
        return
    raise NotConforming(otherwise)


async def _reads_from_anywhere(place: Place) -> None:
    """``read`` begins after an event number, ``scan`` after a position, at most ``limit`` long."""
    store = await place.open()
    given = [_record("s", 1, 3), _record("s", 4), _record("s", 5, 2)]
    await store.append(Batch(records=[*given, _record("t", 1)]))
    for after, rest in ((0, given), (3, given[1:]), (4, given[2:]), (6, []), (99, [])):
        _same(await _all(store, "s", after), rest, f"read after {after}")
    for pos, limit, wanted in ((0, 2, [1, 4]), (1, 1, [4]), (4, 9, [5, 7]), (7, 9, [])):
        found = [record.pos for record in await store.scan(pos, limit)]
        require(found == wanted, f"scan({pos}, {limit}) gives positions {found}, not {wanted}")


async def _turns_pages(place: Place) -> None:
    """A long stream comes whole and in order, and so does a long journal."""
    store = await place.open()
    given = [_record("s", seq) for seq in range(1, MANY + 1)]
    for first in range(0, MANY, 400):
        batch = Batch(records=list(given[first : first + 400]))
        batch.records.append(_record("t", first // 400 + 1))
        await store.append(batch)
    _same(await _all(store, "s"), given, "a long stream")
    _same(await _all(store, "s", 700), given[700:], "the end of a long stream")
    found: list[Record] = []
    while page := await store.scan(found[-1].pos if found else 0, 100):
        require(len(page) <= 100, f"a scan of at most 100 gave {len(page)}")
        found += page
    _same([one for one in found if one.stream == "s"], given, "a long journal")
    require([one.pos for one in found] == list(range(1, MANY + 5)), "a scan leaves something out")


async def _keeps_definitions(place: Place) -> None:
    """A definition is kept under its digest; the same one twice does no harm."""
    store = await place.open()
    await store.append(Batch(definitions=[("d1", ODD), ("d2", b"{}")]))
    await store.append(Batch(definitions=[("d1", ODD)], records=[_record("s", 1)]))
    store = await place.again(store)
    found = [await store.definition(name) for name in ("d1", "d2", "d3")]
    require(found == [ODD, b"{}", None], "definitions do not come back as they were given")
    require(len(await _all(store, "s")) == 1, "a record beside a known definition is gone")


async def _keeps_blobs(place: Place) -> None:
    """A blob is kept under its digest, to the byte; the same one twice does no harm."""
    store = await place.open()
    large = b"[" + b"1," * 500_000 + b"1]"
    await store.append(Batch(blobs=[("b1", large), ("b2", ODD)], uses=[("s", "b1"), ("s", "b2")]))
    await store.append(Batch(blobs=[("b1", large)], uses=[("s", "b1"), ("t", "b1")]))
    store = await place.again(store)
    found = [await store.blob(name) for name in ("b1", "b2", "b3")]
    require(found == [large, ODD, None], "blobs do not come back as they were given")


async def _keeps_accounts(place: Place) -> None:
    """Entries add up, a limit that is set stays, and what is a run's own goes with it."""
    store = await place.open()
    of_run = [Entry(run="a", scope=scope, captured=5) for scope in ("run a", "run a task t")]
    shared = Entry(run="a", scope="tenant a", captured=5, held=7)
    other = Entry(run="ab", scope="run ab", held=1)
    await store.append(Batch(entries=[*of_run, shared, other]))
    await store.append(
        Batch(
            entries=[Entry(run="b", scope="tenant a", captured=1, held=-3)],
            standings=[
                Standing(scope="tenant a", limit=9, frozen=True),
                Standing(scope="day a", limit=2),
            ],
        )
    )
    store = await place.again(store)
    stood = Standing(scope="tenant a", limit=9, captured=6, held=4, frozen=True)
    own = [Standing(scope=one.scope, captured=5) for one in of_run]
    kept = [Standing(scope="day a", limit=2), Standing(scope="run ab", held=1), stood]
    found = sorted(await store.standings(), key=lambda one: one.scope)
    wanted = sorted([*own, *kept], key=lambda one: one.scope)
    require(found == wanted, f"accounts are {found}, not {wanted}")
    await store.append(Batch(drops=["a"], standings=[Standing(scope="tenant a")]))
    store = await place.again(store)
    left = {one.scope: one for one in await store.standings()}
    require(sorted(left) == ["day a", "run ab", "tenant a"], f"after a drop: {sorted(left)}")
    free = Standing(scope="tenant a", captured=6, held=4)
    require(left["tenant a"] == free, "a limit that was taken back still stands")


async def _keeps_marks(place: Place) -> None:
    """The last text under a name is kept."""
    store = await place.open()
    await store.append(Batch(marks=[("a", "1"), ("b", "2"), ("a", "3")]))
    await store.append(Batch(marks=[("b", "4")]))
    store = await place.again(store)
    found = await store.marks()
    require(found == {"a": "3", "b": "4"}, f"marks are {found}")


async def _drops_streams(place: Place) -> None:
    """A stream that is dropped takes its row and what nobody else uses with it, nothing more."""
    store = await place.open()
    await store.append(
        Batch(
            records=[_record("old", 1, 2), _record("kept", 1)],
            definitions=[("d-old", b"{}"), ("d-both", b"[1]"), ("d-free", b"[2]")],
            blobs=[("b-old", ODD), ("b-both", b"[3]")],
            runs=[_row("old", 1), _row("kept", 2)],
            uses=[("old", name) for name in ("d-old", "b-old", "d-both", "b-both")]
            + [("kept", name) for name in ("d-both", "b-both")],
        )
    )
    told = _record("hive", 1, type="hive")
    await store.append(Batch(drops=["old", "never was"], records=[told]))
    store = await place.again(store)
    require(await _all(store, "old") == [], "a dropped stream has records")
    require([one.stream for one in await store.scan()] == ["kept", "hive"], "a scan shows it")
    require([row.run for row in await store.runs()] == ["kept"], "the run list shows it")
    left = [await store.definition(name) for name in ("d-old", "d-both", "d-free")]
    require(left == [None, b"[1]", b"[2]"], "definitions that stay or go are the wrong ones")
    left = [await store.blob(name) for name in ("b-old", "b-both")]
    require(left == [None, b"[3]"], "blobs that stay or go are the wrong ones")
    await store.append(Batch(drops=["kept"], records=[_record("old", 1), _record("kept", 1)]))
    store = await place.again(store)
    require(
        await store.blob("b-both") is None, "what the last of several users used is still there"
    )
    positions = [(one.pos, one.stream) for one in await store.scan()]
    wanted = [(4, "hive"), (5, "old"), (6, "kept")]
    require(positions == wanted, f"after drops positions are {positions}, not {wanted}")
    for stream in ("old", "kept"):
        _chained(await _all(store, stream))


async def _tells_sizes(place: Place) -> None:
    """Sizes are of contents, and those of streams are of what would go with them."""
    store = await place.open()
    text, body = b'["' + b"x" * 5000 + b'"]', b'"' + b"y" * 9000 + b'"'
    await store.append(
        Batch(
            records=[_record("a", 1, payload=text), _record("b", 1), _record("c", 1, payload=text)],
            definitions=[("d", ODD)],
            blobs=[("one", body), ("two", text)],
            uses=[("a", "one"), ("b", "one"), ("b", "two"), ("a", "d")],
        )
    )
    small = len(_record("b", 1).payload)
    whole = await store.sizes()
    found = (whole.records, whole.blobs, whole.definitions)
    wanted = (2 * len(text) + small, len(body) + len(text), len(ODD))
    require(found == wanted, f"sizes are {found}, not {wanted}")
    require(whole.file >= sum(found) - small or whole.log > 0, "the files are too small for it")
    for streams, sums in (
        (["a"], (len(text), 0, len(ODD))),
        (["a", "b"], (len(text) + small, wanted[1], len(ODD))),
        ([], (0, 0, 0)),
    ):
        part = await store.sizes(streams)
        found = (part.records, part.blobs, part.definitions)
        require(found == sums, f"with {streams} would go {found}, not {sums}")
    largest = [(one.stream, one.records, one.blobs) for one in await store.largest(2)]
    both = [("b", small, len(body) + len(text)), ("a", len(text), len(body))]
    require(largest == both, f"the largest streams are {largest}, not {both}")
    await store.append(Batch(drops=["a", "b", "c"]))
    for _ in range(1000):
        if not await store.shrink():
            break
    whole = await store.sizes()
    empty = (whole.records, whole.blobs, whole.definitions, whole.free)
    require(empty == (0, 0, 0, 0), f"after all was dropped there is {empty}")


async def _lists_runs(place: Place) -> None:
    """The run list is newest first, and a row that is written again takes the place of the old."""
    store = await place.open()
    rows = [_row("r2", 20), _row("r1", 10), _row("r3", 20, total_tasks=4)]
    await store.append(Batch(runs=rows))
    done = _row("r3", 20, status="failed", finished=30, total_tasks=4, completed_tasks=1)
    done = _replaced(done, failed_tasks=2)
    await store.append(Batch(runs=[done]))
    store = await place.again(store)
    found = list(await store.runs())
    require([row.run for row in found] == ["r3", "r2", "r1"], "the run list is not newest first")
    require(found == [done, rows[0], rows[1]], "rows of the run list are not what was written")
    require(await store.run("r3") == done, "`run` does not give the row that was written last")
    require(await store.run("nope") is None, "`run` gives a row for a run that does not exist")
    open_ones = [row.run for row in await store.runs(unfinished=True)]
    require(open_ones == ["r2", "r1"], f"unfinished runs are {open_ones}, not r2 and r1")
    first = [row.run for row in await store.runs(limit=1)]
    require(first == ["r3"], f"runs(limit=1) gives {first}")
    last = [row.run for row in await store.runs(unfinished=True, limit=1)]
    require(last == ["r2"], f"runs(unfinished=True, limit=1) gives {last}")
    require(not await store.runs(limit=0), "runs(limit=0) gives something")


def _replaced(row: RunRow, **fields: Any) -> RunRow:
    return RunRow(**{name: getattr(row, name) for name in row.__struct_fields__} | fields)


async def _parts_tenants(place: Place) -> None:
    """What belongs to one tenant is not shown to another."""
    store = await place.open()
    await store.append(Batch(runs=[_row("mine", 1), _row("theirs", 2, tenant="acme", owner="ann")]))
    for tenant, wanted, other in (("default", "mine", "theirs"), ("acme", "theirs", "mine")):
        for unfinished in (False, True):
            rows = await store.runs(tenant=tenant, unfinished=unfinished)
            require([row.run for row in rows] == [wanted], f"{tenant} sees other runs: {rows}")
        require(await store.run(other, tenant=tenant) is None, f"{tenant} sees the run {other}")
        require(await store.run(wanted, tenant=tenant) is not None, f"{tenant} lacks its own run")
    require(not await store.runs(tenant="nobody"), "an unknown tenant has runs")


async def _takes_many_at_once(place: Place) -> None:
    """Appends that wait together are written in the order they were called."""
    store = await place.open()
    appends = []
    for number in range(1, 101):
        own = _record(f"own-{number}", 1)
        batch = Batch(records=[_record("s", number), own], runs=[_row(f"r{number:03}", number)])
        appends.append(asyncio.ensure_future(store.append(batch)))
    read = asyncio.ensure_future(_all(store, "s"))
    await asyncio.gather(*appends)
    _chained(await read)
    store = await place.again(store)
    records = await _all(store, "s")
    require([record.seq for record in records] == list(range(1, 101)), "appends are out of order")
    _chained(records)
    streams = [one.stream for one in await store.scan() if one.stream != "s"]
    require(streams == [f"own-{n}" for n in range(1, 101)], "batches are not in the order of calls")
    require(len(await store.runs()) == 100, "a row is missing")


async def _takes_nothing_well(place: Place) -> None:
    """A new journal is empty, and an empty batch is written like any other."""
    store = await place.open()
    require(not await store.scan() and not await store.runs(), "a new journal is not empty")
    await store.append(Batch())
    await store.append(Batch(records=[_record("s", 1)]))
    require([one.pos for one in await store.scan()] == [1], "an empty batch takes a position")


async def _closes(place: Place) -> None:
    """Closing writes what is pending and may be repeated; after it nothing is taken."""
    store = await place.open()
    pending = [
        asyncio.ensure_future(store.append(Batch(records=[_record("s", seq)])))
        for seq in range(1, 21)
    ]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*pending)
    await store.close()
    if not place.lasting:
        return
    late = Batch(records=[_record("s", 21)])
    await _is_closed(lambda: store.append(late), "append")
    await _is_closed(lambda: _all(store, "s"), "read")
    await _is_closed(store.scan, "scan")
    await _is_closed(store.runs, "runs")
    again = await place.open()
    require(len(await _all(again, "s")) == 20, "what was pending at close() is not there")


async def _is_closed(ask: Callable[[], Awaitable[Any]], what: str) -> None:
    try:
        await ask()
    except StoreError:
        return
    except Exception as error:
        raise NotConforming(f"{what} after close() raised {error!r}, no StoreError") from error
    raise NotConforming(f"{what} after close() is answered as if nothing were wrong")


CHECKS: Final[tuple[Callable[[Place], Awaitable[None]], ...]] = (
    _keeps_what_it_is_given,
    _chains_each_stream,
    _numbers_the_commits,
    _refuses_disorder,
    _reads_from_anywhere,
    _turns_pages,
    _keeps_definitions,
    _keeps_blobs,
    _drops_streams,
    _keeps_accounts,
    _keeps_marks,
    _tells_sizes,
    _lists_runs,
    _parts_tenants,
    _takes_many_at_once,
    _takes_nothing_well,
    _closes,
)
