"""The SQLite store on disks that fail: what is refused, what poisons it, and what is left."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import platform
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from agenthive import AgentRegistry, Hive, Workflow, WorkflowSpec
from agenthive.core.journal.hash_chain import verify_chain
from agenthive.core.journal.records import Batch, Record, RunRow
from agenthive.errors import StoreFailed, StoreUnavailable
from agenthive.stores.sqlite import SqliteStore
from tests.stores.broken_disk import FAIL_FSYNC, fill, read_only, small_disk, writes_fail

pytestmark = pytest.mark.slow
"""Many of its tests start processes or wait."""

linux = pytest.mark.skipif(sys.platform != "linux", reason="uses what Linux has")


def batch(seq: int, size: int = 10) -> Batch:
    """A record, a definition and a row that belong together."""
    payload = b'["' + b"x" * size + b'"]'
    record = Record(stream="s", seq=seq, count=1, at=seq, type="run", payload=payload)
    row = RunRow(run=f"r{seq}", name="w", status="queued", created=seq)
    return Batch(records=[record], definitions=[(f"d{seq}", payload)], runs=[row])


async def check_whole(path: Path, last: int) -> None:
    """A new process finds batches 1 to ``last``, each whole, nothing else, and goes on."""
    store = SqliteStore.open(path)
    assert [r.seq async for r in store.read("s")] == list(range(1, last + 1))
    assert {row.run for row in await store.list_runs()} == {f"r{seq}" for seq in range(1, last + 1)}
    assert await store.load_definition(f"d{last + 1}") is None
    await store.append(batch(last + 1))
    assert len(list(verify_chain([record async for record in store.read("s")]))) == last + 1
    await store.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 12 MB."""
    try:
        with small_disk(tmp_path / "disk", "12m") as folder:
            yield folder
    except PermissionError as error:
        pytest.skip(f"no right to mount a file system: {error}")


@linux
async def test_full_disk(disk: Path) -> None:
    path = disk / "home" / "journal.db"
    store = SqliteStore.open(path)
    await store.append(batch(1))
    fill(disk / "ballast")
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="takes no writes now") as caught:
            await store.append(batch(2, 100_000))
        assert "Free some space" in caught.value.hint
        assert [r.seq async for r in store.read("s")] == [1], "what was taken can be read"
    (disk / "ballast").unlink()
    await store.append(batch(2, 100_000))
    await store.close()
    await check_whole(path, 2)


@linux
async def test_full_disk_when_opening(disk: Path) -> None:
    fill(disk / "ballast")
    with pytest.raises((StoreUnavailable, StoreFailed)):
        SqliteStore.open(disk / "journal.db")
    assert not (disk / "journal.db").exists()
    (disk / "ballast").unlink()
    await check_whole(disk / "journal.db", 0)


@pytest.mark.parametrize("first", range(1, 90, 2))
async def test_no_write_may_fail_unheard_while_the_file_is_made(tmp_path: Path, first: int) -> None:
    """Whatever fails while the file is made, it is not put into place half made."""
    path = tmp_path / "journal.db"
    refused = contextlib.suppress(StoreUnavailable, StoreFailed)
    with writes_fail(errno.ENOSPC, lambda number: number >= first), refused:
        await SqliteStore.open(path).close()
    await check_whole(path, 0)


@pytest.mark.parametrize("first", range(1, 8))
async def test_no_space_at_any_write(tmp_path: Path, first: int) -> None:
    """ENOSPC at the 1st, 2nd, ... write of a transaction: nothing of it is there."""
    path = tmp_path / "journal.db"
    store = SqliteStore.open(path)
    await store.append(batch(1))
    with writes_fail(errno.ENOSPC, lambda number: number >= first):
        with pytest.raises(StoreUnavailable, match="full"):
            await asyncio.gather(*(store.append(batch(seq, 9000)) for seq in (2, 3)))
        with pytest.raises(StoreUnavailable):
            await store.append(batch(2, 90_000))
    await store.append(batch(2, 9000))
    await store.close()
    await check_whole(path, 2)


@pytest.mark.parametrize("first", range(1, 6))
async def test_write_error_poisons(tmp_path: Path, first: int) -> None:
    path = tmp_path / "journal.db"
    store = SqliteStore.open(path)
    await store.append(batch(1))
    unknown = pytest.raises(StoreFailed, match=r"outcome unknown: .*disk I/O error")
    with writes_fail(errno.EIO, lambda number: number >= first), unknown:
        await store.append(batch(2, 20_000))
    for _ in range(2):
        with pytest.raises(StoreFailed, match="outcome unknown"):
            await store.append(batch(2))
    await store.close()
    await check_whole(path, 1)


@linux
@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="other numbers")
def test_fsync_error_poisons(tmp_path: Path) -> None:
    """The commit is written, but not known to be safe: nothing is acknowledged from then on."""
    script = FAIL_FSYNC + textwrap.dedent("""
        import asyncio, json, sys
        from pathlib import Path
        from agenthive.core.journal.records import Batch, Record
        from agenthive.stores.sqlite import SqliteStore

        def batch(seq):
            record = Record(stream="s", seq=seq, count=1, at=seq, type="run", payload=b"[]")
            return Batch(records=[record])

        async def main():
            store = SqliteStore.open(Path(sys.argv[1]))
            for seq in (1, 2):
                await store.append(batch(seq))
            fail_fsync()
            said = await asyncio.gather(
                *(store.append(batch(seq)) for seq in (3, 4)), return_exceptions=True)
            try:
                await store.append(batch(3))
            except Exception as error:
                said.append(error)
            print(json.dumps([[type(e).__name__, str(e)] for e in said]))

        asyncio.run(main())
    """)
    path = tmp_path / "journal.db"
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert [name for name, _ in said] == ["StoreFailed"] * 3
    assert all("outcome unknown" in message for _, message in said)
    store = SqliteStore.open(path)
    kept = asyncio.run(_seqs(store))
    assert kept[:2] == [1, 2]
    assert kept in ([1, 2], [1, 2, 3], [1, 2, 3, 4])


async def _seqs(store: SqliteStore) -> list[int]:
    found = [r.seq async for r in store.read("s")]
    await store.close()
    return found


@linux
async def test_read_only_disk(disk: Path) -> None:
    store = SqliteStore.open(disk / "journal.db")
    await store.append(batch(1))
    await store.close()
    read_only(disk)
    with pytest.raises((StoreUnavailable, StoreFailed), match="cannot be opened"):
        SqliteStore.open(disk / "journal.db")
    with pytest.raises((StoreUnavailable, StoreFailed), match="cannot be opened"):
        SqliteStore.open(disk / "other" / "journal.db")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anything")
async def test_file_that_must_not_be_written(tmp_path: Path) -> None:
    store = SqliteStore.open(tmp_path / "journal.db")
    await store.close()
    store.path.chmod(0o400)
    with pytest.raises(StoreUnavailable):
        SqliteStore.open(store.path)


async def test_somebody_else_writes(tmp_path: Path) -> None:
    """Refused after a while, with nothing written; taken again once the other is done."""
    store = SqliteStore.open(tmp_path / "journal.db")
    await store.append(batch(1))
    other = apsw.Connection(str(store.path))
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match=r"takes no writes now: .*locked"):
        await store.append(batch(2))
    assert 4 < time.monotonic() - began < 20
    other.execute("ROLLBACK")
    other.close()
    await store.append(batch(2))
    await store.close()
    await check_whole(tmp_path / "journal.db", 2)


# A whole hive.


def flow(tasks: int) -> WorkflowSpec:
    made = Workflow("flow")
    agent = made.agent("work", type="custom", endpoint="custom://work")
    last: list[str] = []
    for number in range(tasks):
        name = f"t{number}"
        made.task(name, agent=agent, action="go", depends_on=last)
        last = [name]
    return made.build()


@linux
async def test_hive_on_a_full_disk_heals(disk: Path) -> None:
    """Accepted work waits, new work is refused; with space again it all goes on."""
    ballast, calls = disk / "ballast", list[str]()

    async def work(call: Any) -> str:
        calls.append(call.task)
        if call.task == "t3":
            fill(ballast)
            return "x" * 2_000_000  # more than there is room for in the log
        return "x" * 30_000

    agents = AgentRegistry()
    agents.register("work", work)
    async with Hive.open(disk / "home", agents=agents) as hive:
        run = await hive.submit(flow(8))
        ended = asyncio.ensure_future(hive.wait(run))
        refusals = 0
        for _ in range(200):
            await asyncio.sleep(0.02)
            if not ballast.exists():
                continue
            try:
                await hive.submit(flow(1), run_id="refused")
            except StoreUnavailable:
                refusals += 1
                if refusals >= 3:
                    break
        assert refusals == 3
        assert calls == ["t0", "t1", "t2", "t3"], "nothing goes on whose cause is not on disk"
        assert not ended.done()
        ballast.unlink()
        report = await asyncio.wait_for(ended, 30)
        assert report.status == "completed"
        assert len(calls) == 8, "no call was made twice"
        assert [row.run for row in await hive.runs()] == [run], "what was refused left no trace"
        assert (await hive.run(flow(1))).status == "completed"
    async with Hive.open(disk / "home", agents=agents) as hive:
        assert await hive.journal.verify_chains() > 10
        assert await hive.resume() == []
