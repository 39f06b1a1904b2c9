"""Files that are no journal, and logs that belong to another state of it, are refused unchanged."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import apsw
import pytest

from agenthive.core.journal.records import Batch, Record
from agenthive.errors import StoreCorrupt
from agenthive.hive import open_journal
from agenthive.stores import sqlite as sqlite_store
from agenthive.stores.sqlite import SqliteStore


def event(seq: int, size: int = 10) -> Batch:
    payload = b'["' + b"x" * size + b'"]'
    return Batch(
        records=[Record(stream="s", seq=seq, count=1, at=seq, type="run", payload=payload)]
    )


async def count(path: Path) -> int:
    store = SqliteStore.open(path, preallocate=True)
    try:
        return len(await store.scan_records())
    finally:
        await store.close()


async def write(path: Path, *numbers: int, copy_to: Path | None = None, size: int = 10) -> None:
    """Append records as an owner; ``copy_to`` gets what a kill would have left."""
    store = SqliteStore.open(path, preallocate=True)
    for number in numbers:
        await store.append(event(number, size))
    if copy_to is not None:
        copy_files(path, copy_to)
    await store.close()


def copy_files(path: Path, folder: Path) -> None:
    folder.mkdir()
    for file in path.parent.glob("journal.db*"):
        shutil.copy(file, folder / file.name)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "journal.db"


def remove_log(path: Path) -> None:
    for end in ("-wal", "-shm"):
        path.with_name(f"{path.name}{end}").unlink(missing_ok=True)


@pytest.mark.parametrize("sessions", [1, 2, 3])
async def test_a_log_that_was_left_beside_a_restored_file(
    path: Path, tmp_path: Path, sessions: int
) -> None:
    await write(path, 1)
    backup = tmp_path / "backup.db"
    shutil.copy(path, backup)
    for number in range(2, sessions + 1):
        await write(path, number)
    killed = tmp_path / "killed"
    await write(path, sessions + 1, copy_to=killed)
    journal = killed / "journal.db"
    assert (killed / "journal.db-wal").stat().st_size > 0
    shutil.copy(journal, tmp_path / "newest.db")
    shutil.copy(backup, journal)
    before = {file.name: file.read_bytes() for file in killed.iterdir()}
    for owner in (True, False):
        with pytest.raises(StoreCorrupt, match="belongs to another state") as refused:
            SqliteStore.open(journal, preallocate=owner)
        assert "remove journal.db-wal and journal.db-shm" in refused.value.hint
    assert {file.name: file.read_bytes() for file in killed.iterdir()} == before

    shutil.copytree(killed, tmp_path / "other")
    remove_log(journal)
    assert await count(journal) == 1  # what the backup has
    shutil.copy(tmp_path / "newest.db", tmp_path / "other" / "journal.db")
    assert await count(tmp_path / "other" / "journal.db") == sessions + 1


async def test_a_log_of_another_home(path: Path, tmp_path: Path) -> None:
    await write(path, 1, copy_to=tmp_path / "killed")
    other = tmp_path / "killed" / "journal.db"
    other.unlink()
    await write(tmp_path / "made" / "journal.db", 1, 2)
    shutil.copy(tmp_path / "made" / "journal.db", other)
    with pytest.raises(StoreCorrupt, match="belongs to another state"):
        SqliteStore.open(other)


@pytest.mark.parametrize("size", [10, 100_000])
async def test_what_a_kill_leaves_is_opened(path: Path, tmp_path: Path, size: int) -> None:
    """Also after checkpoints: the log begins again every 1,000 pages."""
    last = 0
    for session in range(3):
        numbers = range(last + 1, last + 81)
        store = SqliteStore.open(path, preallocate=True)
        for number in numbers:
            await store.append(event(number, size))
            if number % 9 == 0:
                copy_files(path, tmp_path / f"{session}-{number}")
                assert await count(tmp_path / f"{session}-{number}" / "journal.db") == number
                shutil.rmtree(tmp_path / f"{session}-{number}")
        await store.close()
        last = numbers[-1]


async def test_a_kill_at_each_step_of_opening(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write(path, 1, copy_to=tmp_path / "killed")
    killed = tmp_path / "killed" / "journal.db"
    steps: list[Path] = []

    class Watched:
        """The connection, which copies the files before each step."""

        def __init__(self, connection: apsw.Connection) -> None:
            self._connection = connection

        def _copy(self) -> None:
            steps.append(tmp_path / f"step-{len(steps)}")
            copy_files(killed, steps[-1])

        def execute(self, *words: str) -> object:
            self._copy()
            return self._connection.execute(*words)

        def wal_checkpoint(self, **how: int) -> object:
            self._copy()
            return self._connection.wal_checkpoint(**how)

    number_log = sqlite_store._number_log

    def number_and_copy(connection: apsw.Connection) -> None:
        watched = Watched(connection)
        number_log(watched)  # type: ignore[arg-type]
        watched._copy()

    with monkeypatch.context() as patch:
        patch.setattr(sqlite_store, "_number_log", number_and_copy)
        assert await count(killed) == 1
    assert len(steps) == 6
    for step in steps:
        assert await count(step / "journal.db") == 1


def test_a_file_without_content(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    for owner in (True, False):
        with pytest.raises(StoreCorrupt, match=r"has no content \(0 bytes\)") as refused:
            SqliteStore.open(path, preallocate=owner)
    assert "backup" in refused.value.hint
    assert path.stat().st_size == 0


def test_a_database_of_another_program(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE bees (name TEXT)")
    db.close()
    before = path.read_bytes()
    for owner in (True, False):
        with pytest.raises(StoreCorrupt, match="it has no table 'records'"):
            SqliteStore.open(path, preallocate=owner)
    assert path.read_bytes() == before


@pytest.mark.parametrize("what", ["VIEW v AS SELECT 1", "TRIGGER t AFTER INSERT ON runs {}"])
async def test_a_journal_with_foreign_code(path: Path, what: str) -> None:
    await write(path, 1)
    with sqlite3.connect(path) as db:
        db.execute(f"CREATE {what.format('BEGIN DELETE FROM records; END')}")
    db.close()
    with pytest.raises(StoreCorrupt, match=f"it has a {what.split()[0].lower()}"):
        SqliteStore.open(path, preallocate=True)


async def test_a_log_without_its_file(path: Path, tmp_path: Path) -> None:
    await write(path, 1, copy_to=tmp_path / "killed")
    (tmp_path / "killed" / "journal.db").unlink()
    with pytest.raises(StoreCorrupt, match="is missing, and its write-ahead log"):
        SqliteStore.open(tmp_path / "killed" / "journal.db", preallocate=True)
    with pytest.raises(StoreCorrupt, match="is missing, and its write-ahead log"):
        async with open_journal(tmp_path / "killed"):
            pass
    assert not (tmp_path / "killed" / "journal.db").exists()
