"""Dropping runs: what goes, what stays, what remains of it, and that nobody can be fooled."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import apsw
import pytest

from agenthive import AgentRegistry, Hive
from agenthive.core.history import blobs
from agenthive.core.history.retention import Retention, older_than
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Batch
from agenthive.core.journal.store import Store
from agenthive.core.model.states import RunStatus
from agenthive.errors import ConfigurationError, RunNotFound, StoreCorrupt
from agenthive.hive import open_journal
from agenthive.queries import retention
from agenthive.queries.journal_reader import JournalReader
from agenthive.queries.retention import PruneProgress
from agenthive.stores.sqlite import SqliteStore
from tests.core.rig import NO_RETRY, flow, task

LARGE = "x" * (2 * blobs.LARGE_BYTES)
ALL = older_than(0)


async def large() -> str:
    return LARGE


async def broken() -> None:
    raise ValueError("no")


def agents() -> AgentRegistry:
    known = AgentRegistry()
    known.register("a", large)
    known.register("b", broken)
    return known


def opened(tmp_path: Path) -> Hive:
    return Hive.open(tmp_path / "home", agents=agents())


async def collected(hive: Hive, policy: Retention = ALL) -> PruneProgress:
    return [done async for done in hive.retention.prune(policy)][-1]


async def dropped(hive: Hive, run: str) -> PruneProgress:
    rows = [row for row in await hive.runs() if row.run == run]
    resources = hive._resources

    async def write(events: Sequence[ev.HiveEvent], batch: Batch, _: PruneProgress) -> None:
        await resources.runtime.record_hive_events(events, batch)

    dropping = retention.drop_runs(resources.store, rows, write, PruneProgress(due=0))
    return [done async for done in dropping][-1]


async def hive_facts(store: Store) -> list[ev.HiveEvent]:
    return [e async for r in store.read(ev.HIVE) for e in ev.decode_hive_events(r.payload)]


async def test_what_goes_and_what_stays(tmp_path: Path) -> None:
    async with opened(tmp_path) as hive:
        old = await hive.run(flow(task("t"), task("u", "t")), {})
        failed = await hive.run(flow(task("t", agent="b", retry=NO_RETRY)))
        stuck = await hive.submit(flow(task("t", agent="a"), max_parallel=1))
        await hive.wait_for_end(stuck)
        before = await hive.journal.read_records(old.run_id)
        done = await collected(hive, older_than(0, [RunStatus.COMPLETED]))
        assert (done.due, done.runs) == (2, 2)
        assert done.blobs == len(LARGE) + 2, "kept once, freed once"
        assert done.returned >= len(LARGE)
        assert [row.run for row in await hive.runs()] == [failed.run_id]
        with pytest.raises(RunNotFound):
            await hive.report(old.run_id)
        (stone,) = [
            fact
            for fact in await hive_facts(hive._resources.store)
            if isinstance(fact, ev.RunDropped) and fact.run == old.run_id
        ]
        assert stone.head == before[-1].hash.hex()
        assert stone.events == before[-1].seq + before[-1].count - 1
        assert (stone.status, stone.at >= stone.closed) == ("completed", True)
        await hive.journal.verify_chains()
        assert (await collected(hive, older_than(0, [RunStatus.COMPLETED]))).runs == 0
    async with opened(tmp_path) as hive:
        again = await hive.submit(flow(task("t")), run_id=old.run_id)
        assert (await hive.wait(again)).results == {"t": LARGE}
        await hive.journal.verify_chains()


async def test_shared_values_stay(tmp_path: Path) -> None:
    async with opened(tmp_path) as hive:
        spec = flow(task("t"))
        first = await hive.run(spec)
        asked = await hive.submit(spec)
        await hive.wait_for_end(asked)
        done = await dropped(hive, first.run_id)
        assert (done.runs, done.blobs, done.definitions) == (1, 0, 0)
        assert (await hive.report(asked)).results == {"t": LARGE}
        await hive.journal.verify_chains()


async def test_an_open_run_is_never_dropped(tmp_path: Path) -> None:
    gate = asyncio.Event()
    known = agents()
    known.register("w", gate.wait)
    async with Hive.open(tmp_path / "home", agents=known) as hive:
        run = await hive.submit(flow(task("t", agent="w")))
        assert (await collected(hive)).due == 0
        gate.set()
        await hive.wait(run)
        assert (await collected(hive)).runs == 1
    with pytest.raises(ConfigurationError, match="not open"):
        await collected(hive)


async def test_a_hundred_a_transaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "CHUNK", 10)
    sizes: list[int] = []
    async with Hive.open(tmp_path / "home", agents=agents()) as hive:
        spec = flow(task("t", agent="b", retry=NO_RETRY))
        await asyncio.gather(*(hive.run(spec) for _ in range(25)))
        store = hive._resources.store
        append = store.append

        def noted(batch: Batch) -> object:
            sizes.append(len(batch.drops))
            return append(batch)

        monkeypatch.setattr(store, "append", noted)
        told = [(one.runs, one.due) async for one in hive.retention.prune(ALL)]
        assert told[:4] == [(0, 25), (10, 25), (20, 25), (25, 25)]
        assert [size for size in sizes if size] == [10, 10, 5]


async def test_two_at_once_drop_each_run_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as hive:
        spec = flow(task("t", agent="b", retry=NO_RETRY))
        await asyncio.gather(*(hive.run(spec) for _ in range(150)))
        both = await asyncio.gather(collected(hive), collected(hive))
        assert sorted(one.runs for one in both) == [0, 150]
        stones = [
            f for f in await hive_facts(hive._resources.store) if isinstance(f, ev.RunDropped)
        ]
        assert len(stones) == len({stone.run for stone in stones}) == 150


async def test_space_is_given_back(tmp_path: Path) -> None:
    path = tmp_path / "home" / "journal.db"
    async with opened(tmp_path) as hive:
        await hive.wait(await hive.submit(flow(task("t")), run_id="x"))
        store = hive._resources.store
        body = os.urandom(10_000_000)
        await store.append(Batch(blobs=[("big", body)], uses=[("x", "big")]))
        assert (await store.measure_sizes()).blobs > len(body)
        done = await collected(hive)
        assert done.returned > len(body)
        assert (await store.measure_sizes()).free == 0
    assert path.stat().st_size < 1_000_000


@pytest.mark.parametrize("what", ["without a tombstone", "a blob", "a blob's bytes", "tombstone"])
async def test_damage_is_found(tmp_path: Path, what: str) -> None:
    async with opened(tmp_path) as hive:
        gone, kept = await hive.run(flow(task("t"))), await hive.run(flow(task("u")))
        await dropped(hive, gone.run_id)
        await hive.journal.verify_chains()
    outside = apsw.Connection(str(tmp_path / "home" / "journal.db"))
    if what == "without a tombstone":
        outside.execute("DELETE FROM records WHERE stream = ?", (kept.run_id,))
    elif what == "a blob":
        outside.execute("DELETE FROM blobs")
    elif what == "a blob's bytes":
        outside.execute("UPDATE blobs SET body = zeroblob(?)", (len(LARGE) + 2,))
    else:
        outside.execute(
            "UPDATE records SET payload = replace(payload, 'run_dropped', 'run_dripped')"
        )
    outside.close()
    async with open_journal(tmp_path / "home") as archive:
        with pytest.raises(StoreCorrupt):
            await archive.verify_chains()


async def test_reading_shows_a_missing_blob(tmp_path: Path) -> None:
    async with opened(tmp_path) as hive:
        run = (await hive.run(flow(task("t")))).run_id
    outside = apsw.Connection(str(tmp_path / "home" / "journal.db"))
    outside.execute("DELETE FROM blobs")
    outside.close()
    async with open_journal(tmp_path / "home") as archive:
        for read in (archive.read_report, archive.load_state):
            with pytest.raises(StoreCorrupt, match="is missing"):
                await read(run)


async def test_journal_of_the_first_schema(tmp_path: Path) -> None:
    """One from before there were blobs: others read it as it is, its owner brings it up."""
    path = tmp_path / "home" / "journal.db"
    async with opened(tmp_path) as hive:
        first = await hive.run(flow(task("t", agent="b", retry=NO_RETRY)))
        second = await hive.run(flow(task("u", agent="b", retry=NO_RETRY)))
    outside = apsw.Connection(str(path))
    outside.execute("DROP TABLE blobs; DROP TABLE uses; PRAGMA user_version = 1")
    outside.close()
    async with open_journal(tmp_path / "home") as archive:
        assert (await archive.read_report(first.run_id)).status == "failed"
        assert (await archive.storage.measure_sizes()).blobs == 0
        await archive.verify_chains()
    store = SqliteStore.open(path)
    assert store._db.pragma("user_version") == 1, "who only reads changes nothing"
    await store.close()
    async with opened(tmp_path) as hive:
        done = await dropped(hive, first.run_id)
        assert done.definitions > 0
        assert (await hive.report(second.run_id)).status == "failed", "its definition is there"
        assert hive._resources.store._db.pragma("user_version") == 4  # type: ignore[attr-defined]
        await JournalReader(hive._resources.store).verify_chains()
