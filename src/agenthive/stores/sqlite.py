"""The journal in a SQLite file: WAL, ``synchronous=FULL``, one writer thread, group commit.

`append` hands a batch to the writer, which puts everything that waits into one transaction and
answers after its COMMIT. Reads have connections of their own. A disk that is full, read-only or
busy refuses (StoreUnavailable: nothing was written); an I/O error leaves the outcome unknown and
poisons the store (StoreFailed from then on). apsw, because the SQLite of the standard library may
carry the WAL-reset bug (fixed in 3.51.3).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from threading import Thread, local
from typing import Any

import apsw

from agenthive.core.journal.hash_chain import GENESIS, digest
from agenthive.core.journal.records import Batch
from agenthive.errors import JournalTooNew, StoreCorrupt, StoreFailed, StoreUnavailable
from agenthive.infra.fsync import make_folder, sync
from agenthive.stores import row_codec as values
from agenthive.stores.commit_waiters import tell
from agenthive.stores.schema_versions import SCHEMA_VERSION, stand_in, upgrade, version_of
from agenthive.stores.sql import queries
from agenthive.stores.sql_reader import Reads, Rows

READERS = 2
"""Connections for reading."""

_REFUSED = (apsw.FullError, apsw.ReadOnlyError, apsw.CantOpenError, apsw.BusyError)
_SHRINK = Batch()
"""Stands for a request to give space back."""
_Waiting = tuple[Batch, "asyncio.Future[None]", asyncio.AbstractEventLoop]


class SqliteStore(Reads):
    """Implements `core.journal.store.Store`. Make one with `SqliteStore.open`."""

    def __init__(self, path: Path, connection: apsw.Connection, *, room: bool) -> None:
        self.path = path
        self._room = room
        self._sql = queries("sqlite")
        self._db = connection
        self._heads: dict[str, tuple[int, bytes]] = {}
        self._pos = _scalar(connection, self._sql["last_pos"])
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._closing = False
        self._poison: StoreFailed | None = None
        self._readers = ThreadPoolExecutor(READERS, "agenthive-read")
        self._local = local()
        self._open_readers: list[apsw.Connection] = []
        self._thread = Thread(target=self._write_forever, name="agenthive-write", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, path: Path, *, room: bool = False) -> SqliteStore:
        """Open or make the file. Raises StoreUnavailable, StoreFailed or JournalTooNew.

        ``room``: make some for what is going to be written, which halves the time of a commit.
        """
        try:
            if not path.exists():
                _create(path)
            with contextlib.suppress(FileNotFoundError):
                # Whoever was killed may have written what is not safe yet; it must not be told.
                sync(path.with_name(f"{path.name}-wal"))
            connection = _connect(path)
            version = version_of(connection)
            if version > SCHEMA_VERSION:
                raise JournalTooNew(
                    f"{path} has schema version {version}, this agenthive knows {SCHEMA_VERSION}",
                    hint="Use the agenthive that wrote it, or a later one.",
                )
            if room:
                upgrade(connection)
            return cls(path, connection, room=room)
        except (OSError, *_REFUSED) as error:
            hint = "Its folder must be writable, also to read it; a copy will do."
            raise StoreUnavailable(f"{path} cannot be opened: {error}", hint=hint) from error
        except apsw.Error as error:
            raise StoreFailed(f"{path} cannot be opened: {error}") from error

    def append(self, batch: Batch) -> asyncio.Future[None]:
        """Write one batch in one transaction, with others that wait."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        if self._poison is not None or self._closing:
            done.set_exception(self._poison or StoreFailed("the store is closed"))
            return done
        self._queue.put((batch, done, loop))
        return done

    # The writer thread.

    def _write_forever(self) -> None:
        closing = False
        if self._room:
            _make_room(self._db)
        while not closing:
            waiting = [self._queue.get()]
            while not self._queue.empty():
                waiting.append(self._queue.get())
            batches = [one for one in waiting if one is not None]
            closing = len(batches) < len(waiting)
            error = self._write(batches) if batches else None
            for _, done, loop in batches:
                tell(loop, done, error)

    def _write(self, waiting: Sequence[_Waiting]) -> Exception | None:
        if self._poison is not None:
            return self._poison
        pos, heads = self._pos, dict[str, tuple[int, bytes]]()
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                for batch, _, _ in waiting:
                    pos = self._insert(batch, pos, heads)
            except BaseException:
                _roll_back(self._db)
                raise
            self._commit()
        except _REFUSED as error:
            return StoreUnavailable(
                f"the journal {self.path} takes no writes now: {error}",
                hint="Free some space or make the file writable; accepted work is safe.",
            )
        except Exception as error:
            self._poison = StoreFailed(
                f"writing to the journal {self.path} failed, outcome unknown: {error}",
                hint="Open the hive again; it goes on from what is on disk.",
            )
            return self._poison
        self._pos = pos
        self._heads.update(heads)
        return None

    def _commit(self) -> None:
        try:
            self._db.execute("COMMIT")
        except (apsw.FullError, apsw.BusyError):
            _roll_back(self._db)
            raise

    def _insert(self, batch: Batch, pos: int, heads: dict[str, tuple[int, bytes]]) -> int:
        if batch is _SHRINK:
            self._db.execute(self._sql["shrink"]).fetchall()
        rows = []
        for stream in batch.drops:
            self._drop(stream, heads)
        for record in batch.records:
            stream = record.stream
            known = heads.get(stream) or self._heads.get(stream)
            # A stream that begins needs no look: its name is UNIQUE with the number of its record.
            expected, prev = known or ((1, GENESIS) if record.seq == 1 else self._head(stream))
            if record.seq != expected:
                raise StoreFailed(f"stream {stream}: record {record.seq}, expected {expected}")
            mark = digest(record, prev)
            heads[stream] = (record.seq + record.count, mark)
            rows.append(values.record_values(record, pos + 1, prev, mark))
            pos += record.count
        self._db.executemany(self._sql["append"], rows)
        if batch.definitions:
            self._db.executemany(self._sql["define"], values.definition_values(batch))
        if batch.blobs:
            self._db.executemany(self._sql["keep"], batch.blobs)
        if batch.uses:
            self._db.executemany(self._sql["use"], batch.uses)
        for one in batch.cached:
            self._db.execute(self._sql["forget_cached"], (one.at,))
            self._db.execute(self._sql["cache"], values.cached_values(one))
        for query, rows in values.beside(batch):
            self._db.executemany(self._sql[query], rows)
        if batch.runs:
            self._db.executemany(
                self._sql["put_run"], [values.run_values(row) for row in batch.runs]
            )
            for run in [row.run for row in batch.runs if row.finished is not None]:
                heads.pop(run, None)
                self._heads.pop(run, None)
        return pos

    def _drop(self, stream: str, heads: dict[str, tuple[int, bytes]]) -> None:
        """A stream with its row, and what nobody else uses."""
        heads.pop(stream, None)
        self._heads.pop(stream, None)
        for what in ("blobs", "definitions", "uses", "records", "accounts", "run"):
            self._db.execute(self._sql[f"drop_{what}"], {"stream": stream})

    def _head(self, stream: str) -> tuple[int, bytes]:
        found = self._db.execute(self._sql["head"], (stream,)).fetchone()
        return (found[0] + found[1], found[2]) if found else (1, GENESIS)

    async def shrink(self) -> int:
        """Give some free space back to the disk; the bytes given, 0 when there is no more."""
        before = (await self._ask("free", ()))[0][0]
        await self.append(_SHRINK)
        return int(before - (await self._ask("free", ()))[0][0])

    # Reading.

    def _log_size(self) -> int:
        log = self.path.with_name(f"{self.path.name}-wal")
        return log.stat().st_size if log.exists() else 0

    async def _ask(self, query: str, values: tuple[Any, ...]) -> Rows:
        if self._closing:
            raise StoreFailed("the store is closed")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self._fetch, query, values)

    def _fetch(self, query: str, values: tuple[Any, ...]) -> Rows:
        """Runs in a reader's thread, on that thread's connection."""
        try:
            connection = getattr(self._local, "connection", None)
            if connection is None:
                connection = self._local.connection = _connect(self.path)
                stand_in(connection)
                self._open_readers.append(connection)
            return list(connection.execute(self._sql[query], values))
        except apsw.Error as error:
            raise StoreUnavailable(f"the journal {self.path} cannot be read: {error}") from error
        except UnicodeDecodeError as error:
            raise StoreCorrupt(
                f"the journal {self.path} holds text that is none: {error}"
            ) from error

    async def close(self) -> None:
        """Write what waits, then close the file. May be called twice."""
        self._closing = True
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)
        self._readers.shutdown()
        for connection in (*self._open_readers, self._db):
            connection.close()
        self._open_readers.clear()


def engine_version() -> str:
    """The version of SQLite that is used here."""
    return apsw.sqlite_lib_version()


def _create(path: Path) -> None:
    """Make the file elsewhere and move it into place, so that no reader sees it half made."""
    make_folder(path.parent)
    partial = path.with_name(f"{path.name}.new")
    for name in (partial.name, f"{partial.name}-wal", f"{partial.name}-shm"):
        path.with_name(name).unlink(missing_ok=True)
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    connection = _connect(partial, "new_file")
    try:
        with connection:
            connection.execute(queries("sqlite")["schema"])
            connection.pragma("user_version", SCHEMA_VERSION)
        # Closing does this too, but says nothing when it fails; only the file itself is moved.
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    finally:
        connection.close()
    partial.replace(path)
    # The folder's own name too: whoever made it may have ended before that was safe.
    for folder in (path.parent, path.parent.parent):
        sync(folder)


def _connect(path: Path, *first: str) -> apsw.Connection:
    connection = apsw.Connection(str(path), apsw.SQLITE_OPEN_READWRITE)
    # Some of these answer with a row, and what follows an answer is run only once it is taken.
    for query in (*first, "pragmas"):
        connection.execute(queries("sqlite")[query]).fetchall()
    return connection


def _make_room(connection: apsw.Connection) -> None:
    """Let the log grow once by what is then taken back. A commit into a file that need not grow
    has no size to record, and takes half the time. If there is no room, a write will say so.
    """
    sql = queries("sqlite")
    with contextlib.suppress(apsw.Error):
        connection.execute(sql["make_room"])
    with contextlib.suppress(apsw.Error):
        _roll_back(connection)
        connection.execute(sql["room_made"])


def _scalar(connection: apsw.Connection, query: str) -> int:
    return next(connection.execute(query), (0,))[0]


def _roll_back(connection: apsw.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")
