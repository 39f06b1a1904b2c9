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

from agenthive.core.journal.hash_chain import GENESIS, hash_record
from agenthive.core.journal.records import Batch
from agenthive.errors import JournalTooNew, StoreCorrupt, StoreFailed, StoreUnavailable
from agenthive.infra.fsync import make_folder, sync_path
from agenthive.stores import row_codec as values
from agenthive.stores.commit_waiters import notify_waiter
from agenthive.stores.schema_versions import (
    SCHEMA_VERSION,
    create_stand_ins,
    upgrade_schema,
    version_of,
)
from agenthive.stores.sql import queries
from agenthive.stores.sql_reader import Rows, SqlReader

READER_CONNECTIONS = 2
"""Connections for reading."""

_REFUSED_ERRORS = (apsw.FullError, apsw.ReadOnlyError, apsw.CantOpenError, apsw.BusyError)
_SHRINK_REQUEST = Batch()
"""Stands for a request to give space back."""
_PendingWrite = tuple[Batch, "asyncio.Future[None]", asyncio.AbstractEventLoop]


class SqliteStore(SqlReader):
    """Implements `core.journal.store.Store`. Make one with `SqliteStore.open`."""

    def __init__(self, path: Path, connection: apsw.Connection, *, preallocate: bool) -> None:
        self.path = path
        self._preallocate = preallocate
        self._sql = queries("sqlite")
        self._db = connection
        self._heads: dict[str, tuple[int, bytes]] = {}
        self._pos = _read_scalar(connection, self._sql["last_pos"])
        self._queue: SimpleQueue[_PendingWrite | None] = SimpleQueue()
        self._closing = False
        self._poison: StoreFailed | None = None
        self._readers = ThreadPoolExecutor(READER_CONNECTIONS, "agenthive-read")
        self._local = local()
        self._open_readers: list[apsw.Connection] = []
        self._thread = Thread(target=self._run_writer, name="agenthive-write", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, path: Path, *, preallocate: bool = False) -> SqliteStore:
        """Open or make the file. Raises StoreUnavailable, StoreFailed or JournalTooNew.

        ``room``: make some for what is going to be written, which halves the time of a commit.
        """
        try:
            if not path.exists():
                _create_file(path)
            with contextlib.suppress(FileNotFoundError):
                # Whoever was killed may have written what is not safe yet; it must not be told.
                sync_path(path.with_name(f"{path.name}-wal"))
            connection = _open_connection(path)
            version = version_of(connection)
            if version > SCHEMA_VERSION:
                raise JournalTooNew(
                    f"{path} has schema version {version}, this agenthive knows {SCHEMA_VERSION}",
                    hint="Use the agenthive that wrote it, or a later one.",
                )
            if preallocate:
                upgrade_schema(connection)
            return cls(path, connection, preallocate=preallocate)
        except (OSError, *_REFUSED_ERRORS) as error:
            hint = "Its folder must be writable, also to read it; a copy will do."
            raise StoreUnavailable(f"{path} cannot be opened: {error}", hint=hint) from error
        except apsw.Error as error:
            raise StoreFailed(f"{path} cannot be opened: {error}") from error

    def append(self, batch: Batch) -> asyncio.Future[None]:
        """Write one batch in one transaction, with others that wait."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        if self._poison is not None or self._closing:
            future.set_exception(self._poison or StoreFailed("the store is closed"))
            return future
        self._queue.put((batch, future, loop))
        return future

    # The writer thread.

    def _run_writer(self) -> None:
        closing = False
        if self._preallocate:
            _preallocate_log(self._db)
        while not closing:
            requests = [self._queue.get()]
            while not self._queue.empty():
                requests.append(self._queue.get())
            writes = [request for request in requests if request is not None]
            closing = len(writes) < len(requests)
            error = self._write_batches(writes) if writes else None
            for _, future, loop in writes:
                notify_waiter(loop, future, error)

    def _write_batches(self, writes: Sequence[_PendingWrite]) -> Exception | None:
        if self._poison is not None:
            return self._poison
        pos, heads = self._pos, dict[str, tuple[int, bytes]]()
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                for batch, _, _ in writes:
                    pos = self._insert_batch(batch, pos, heads)
            except BaseException:
                _roll_back(self._db)
                raise
            self._commit()
        except _REFUSED_ERRORS as error:
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

    def _insert_batch(self, batch: Batch, pos: int, heads: dict[str, tuple[int, bytes]]) -> int:
        if batch is _SHRINK_REQUEST:
            self._db.execute(self._sql["shrink"]).fetchall()
        rows = []
        for stream in batch.drops:
            self._drop_stream(stream, heads)
        for record in batch.records:
            stream = record.stream
            head = heads.get(stream) or self._heads.get(stream)
            # A stream that begins needs no look: its name is UNIQUE with the number of its record.
            expected, prev = head or ((1, GENESIS) if record.seq == 1 else self._read_head(stream))
            if record.seq != expected:
                raise StoreFailed(f"stream {stream}: record {record.seq}, expected {expected}")
            chain_hash = hash_record(record, prev)
            heads[stream] = (record.seq + record.count, chain_hash)
            rows.append(values.record_values(record, pos + 1, prev, chain_hash))
            pos += record.count
        self._db.executemany(self._sql["append"], rows)
        if batch.definitions:
            self._db.executemany(self._sql["define"], values.definition_values(batch))
        if batch.blobs:
            self._db.executemany(self._sql["keep"], batch.blobs)
        if batch.uses:
            self._db.executemany(self._sql["use"], batch.uses)
        for cached in batch.cached:
            self._db.execute(self._sql["forget_cached"], (cached.at,))
            self._db.execute(self._sql["cache"], values.cached_values(cached))
        for query, rows in values.account_writes(batch):
            self._db.executemany(self._sql[query], rows)
        if batch.runs:
            self._db.executemany(
                self._sql["put_run"], [values.run_values(row) for row in batch.runs]
            )
            for run in [row.run for row in batch.runs if row.finished is not None]:
                heads.pop(run, None)
                self._heads.pop(run, None)
        return pos

    def _drop_stream(self, stream: str, heads: dict[str, tuple[int, bytes]]) -> None:
        """A stream with its row, and what nobody else uses."""
        heads.pop(stream, None)
        self._heads.pop(stream, None)
        for table in ("blobs", "definitions", "uses", "records", "accounts", "run"):
            self._db.execute(self._sql[f"drop_{table}"], {"stream": stream})

    def _read_head(self, stream: str) -> tuple[int, bytes]:
        row = self._db.execute(self._sql["head"], (stream,)).fetchone()
        return (row[0] + row[1], row[2]) if row else (1, GENESIS)

    async def reclaim_space(self) -> int:
        """Give some free space back to the disk; the bytes given, 0 when there is no more."""
        before = (await self._run_query("free", ()))[0][0]
        await self.append(_SHRINK_REQUEST)
        return int(before - (await self._run_query("free", ()))[0][0])

    # Reading.

    def _log_size(self) -> int:
        log = self.path.with_name(f"{self.path.name}-wal")
        return log.stat().st_size if log.exists() else 0

    async def _run_query(self, query: str, values: tuple[Any, ...]) -> Rows:
        if self._closing:
            raise StoreFailed("the store is closed")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self._fetch_rows, query, values)

    def _fetch_rows(self, query: str, values: tuple[Any, ...]) -> Rows:
        """Runs in a reader's thread, on that thread's connection."""
        try:
            connection = getattr(self._local, "connection", None)
            if connection is None:
                connection = self._local.connection = _open_connection(self.path)
                create_stand_ins(connection)
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


def _create_file(path: Path) -> None:
    """Make the file elsewhere and move it into place, so that no reader sees it half made."""
    make_folder(path.parent)
    partial = path.with_name(f"{path.name}.new")
    for name in (partial.name, f"{partial.name}-wal", f"{partial.name}-shm"):
        path.with_name(name).unlink(missing_ok=True)
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    connection = _open_connection(partial, "new_file")
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
        sync_path(folder)


def _open_connection(path: Path, *first: str) -> apsw.Connection:
    connection = apsw.Connection(str(path), apsw.SQLITE_OPEN_READWRITE)
    # Some of these answer with a row, and what follows an answer is run only once it is taken.
    for query in (*first, "pragmas"):
        connection.execute(queries("sqlite")[query]).fetchall()
    return connection


def _preallocate_log(connection: apsw.Connection) -> None:
    """Let the log grow once by what is then taken back. A commit into a file that need not grow
    has no size to record, and takes half the time. If there is no room, a write will say so.
    """
    sql = queries("sqlite")
    with contextlib.suppress(apsw.Error):
        connection.execute(sql["make_room"])
    with contextlib.suppress(apsw.Error):
        _roll_back(connection)
        connection.execute(sql["room_made"])


def _read_scalar(connection: apsw.Connection, query: str) -> int:
    return next(connection.execute(query), (0,))[0]


def _roll_back(connection: apsw.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")
