"""The journal in an SQLite file: WAL, ``synchronous=FULL``, one writer thread, group commit.

`SqliteStore.append` puts a batch into a queue. The writer thread takes everything that is queued,
writes it in one transaction, and settles the futures after its COMMIT: the longer a commit takes,
the more batches share the next one. Reads run on connections of their own (`_ReadConnections`), so
that they never wait for a commit.

A disk that is full, read-only or busy refuses a write (StoreUnavailable: nothing was written). Any
other error leaves the outcome unknown and poisons the store (StoreFailed from then on), because
after a failed fsync the operating system may drop pages that it could not write
(https://wiki.postgresql.org/wiki/Fsync_Errors).

Uses apsw, because the SQLite of the standard library may carry the WAL-reset bug (fixed in 3.51.3).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from threading import Thread, local
from typing import Any, Final

import apsw

from agenthive.core.journal.hash_chain import GENESIS, hash_record
from agenthive.core.journal.records import (
    MAX_REQUESTS,
    AccountState,
    Batch,
    CachedResult,
    Record,
    RequestRow,
    RunRow,
    Sizes,
    StreamSize,
)
from agenthive.errors import JournalTooNew, StoreCorrupt, StoreFailed, StoreUnavailable
from agenthive.infra.fsync import make_folder, sync_path
from agenthive.stores import row_codec as values
from agenthive.stores.commit_waiters import notify_waiter
from agenthive.stores.journal_file import (
    ID_MASK,
    RESTORE_HINT,
    check_journal_files,
    is_in_log_mode,
)
from agenthive.stores.schema_versions import (
    SCHEMA_VERSION,
    create_stand_ins,
    upgrade_schema,
    version_of,
)
from agenthive.stores.sql import queries
from agenthive.stores.sql_reader import Rows, SqlReader

READER_CONNECTIONS: Final = 2
"""Connections for reading."""

OWN_TABLES: Final = ("records", "definitions", "runs")
"""Tables that every schema version has."""
_REFUSED_ERRORS = (apsw.FullError, apsw.ReadOnlyError, apsw.CantOpenError, apsw.BusyError)
_SHRINK_REQUEST = Batch()
"""An empty batch that asks the writer to give free space back to the file system."""
_PendingWrite = tuple[Batch, "asyncio.Future[None]", asyncio.AbstractEventLoop]


class SqliteStore:
    """Implements `core.journal.store.Store`. Make one with `SqliteStore.open`."""

    def __init__(self, path: Path, connection: apsw.Connection, *, preallocate: bool) -> None:
        self.path = path
        self._preallocate = preallocate
        self._sql = queries("sqlite")
        #: The connection of the writer thread; no other thread uses it before `close`.
        self._db = connection
        #: The next number and the last hash of streams that are open or were written lately.
        self._heads: dict[str, tuple[int, bytes]] = {}
        #: Position of the last event.
        self._pos = _read_scalar(connection, self._sql["last_pos"])
        #: What the writer thread has to write; None ends the thread.
        self._queue: SimpleQueue[_PendingWrite | None] = SimpleQueue()
        self._closing = False
        #: The error of a write of unknown outcome; every later write fails with it.
        self._poison: StoreFailed | None = None
        self._connections = _ReadConnections(path)
        self._reader = SqlReader(self._connections.run_query, self._connections.measure_log)
        self._thread = Thread(target=self._run_writer, name="agenthive-write", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, path: Path, *, preallocate: bool = False) -> SqliteStore:
        """Open the file, or create it.

        Raises StoreUnavailable, StoreFailed, StoreCorrupt or JournalTooNew.

        With ``preallocate`` the caller owns the home: the file is upgraded to this schema version,
        and its log grows once in advance, which halves the time of a commit.
        """
        try:
            check_journal_files(path)
            if not path.exists():
                _create_file(path)
            with contextlib.suppress(FileNotFoundError):
                # A process that was killed may have written to the log without a sync. What is read
                # from it must not be lost again by a power cut.
                sync_path(path.with_name(f"{path.name}-wal"))
            if not is_in_log_mode(path):
                # Before `_open_connection`, which changes the mode of the file.
                with contextlib.closing(apsw.Connection(str(path))) as other_connection:
                    _check_tables(path, other_connection)
            connection = _open_connection(path)
            _check_tables(path, connection)
            version = version_of(connection)
            if version > SCHEMA_VERSION:
                raise JournalTooNew(
                    f"{path} has schema version {version}, this agenthive knows {SCHEMA_VERSION}",
                    hint="Use the agenthive that wrote it, or a later one.",
                )
            if preallocate:
                upgrade_schema(connection)
                _number_log(connection)
            return cls(path, connection, preallocate=preallocate)
        except (OSError, *_REFUSED_ERRORS) as error:
            hint = "SQLite needs a writable folder even to read: make it writable, or open a copy."
            raise StoreUnavailable(f"{path} cannot be opened: {error}", hint=hint) from error
        except (apsw.NotADBError, apsw.CorruptError) as error:
            raise StoreCorrupt(f"{path} is damaged: {error}", hint=RESTORE_HINT) from error
        except apsw.Error as error:
            raise StoreFailed(f"{path} cannot be opened: {error}") from error

    def append(self, batch: Batch) -> asyncio.Future[None]:
        """Write one batch in one transaction, possibly together with others.

        The future ends after the COMMIT. Cancelling it does not take the batch back.
        """
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
        """Write all in one transaction; the error that their futures get, None if it succeeded."""
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
                hint="Open the hive again: it continues from the records that are on disk.",
            )
            return self._poison
        self._pos = pos
        self._heads.update(heads)
        return None

    def _commit(self) -> None:
        try:
            self._db.execute("COMMIT")
        except (apsw.FullError, apsw.BusyError):
            # SQLite leaves the transaction open; rolled back, nothing of it was written.
            _roll_back(self._db)
            raise

    def _insert_batch(self, batch: Batch, pos: int, heads: dict[str, tuple[int, bytes]]) -> int:
        """Insert a batch after position ``pos``; the position of its last event.

        ``heads`` are the new heads of streams, which count once the transaction is committed.
        """
        if batch is _SHRINK_REQUEST:
            self._db.execute(self._sql["shrink"]).fetchall()
        rows = []
        for stream in batch.drops:
            self._drop_stream(stream, heads)
        for record in batch.records:
            stream = record.stream
            head = heads.get(stream) or self._heads.get(stream)
            # A new stream needs no query: (stream, seq) is UNIQUE, so a second record 1 fails.
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
        if batch.requests:
            self._insert_requests(batch.requests)
        if batch.runs:
            self._db.executemany(
                self._sql["put_run"], [values.run_values(row) for row in batch.runs]
            )
            # An ended run gets no more records, so that its head would only take memory.
            for run in [row.run for row in batch.runs if row.finished is not None]:
                heads.pop(run, None)
                self._heads.pop(run, None)
        return pos

    def _insert_requests(self, rows: Sequence[RequestRow]) -> None:
        """Insert requests, and forget those that have expired or are too many."""
        self._db.execute(self._sql["forget_requests"], (rows[-1].at,))
        self._db.executemany(self._sql["put_request"], [values.request_values(row) for row in rows])
        self._db.execute(self._sql["limit_requests"], (MAX_REQUESTS,))

    def _drop_stream(self, stream: str, heads: dict[str, tuple[int, bytes]]) -> None:
        """Delete a stream, its row, and the content that no other stream uses."""
        heads.pop(stream, None)
        self._heads.pop(stream, None)
        # The order matters: `uses` says which blobs and definitions belong to the stream.
        for table in ("blobs", "definitions", "uses", "records", "accounts", "run"):
            self._db.execute(self._sql[f"drop_{table}"], {"stream": stream})

    def _read_head(self, stream: str) -> tuple[int, bytes]:
        row = self._db.execute(self._sql["head"], (stream,)).fetchone()
        return (row[0] + row[1], row[2]) if row else (1, GENESIS)

    async def reclaim_space(self) -> int:
        """Give some free space back to the disk; the bytes given, 0 when there is no more."""
        before = await self._connections.run_query("free", ())
        await self.append(_SHRINK_REQUEST)
        after = await self._connections.run_query("free", ())
        return int(before[0][0] - after[0][0])

    # Reading. Plain functions: the coroutine that is awaited is the one of the reader.

    def read(self, stream: str, after: int = 0) -> AsyncIterator[Record]:
        """Records of a stream that begin after event number ``after``, a page at a time."""
        return self._reader.read(stream, after)

    def read_last_record(self, stream: str) -> Awaitable[Record | None]:
        """The last record of a stream; None if the stream is empty."""
        return self._reader.read_last_record(stream)

    def read_marked_record(self, stream: str, cause: str) -> Awaitable[Record | None]:
        """The last record of a stream that has a cause beginning with ``cause``."""
        return self._reader.read_marked_record(stream, cause)

    def scan_records(self, after: int = 0, limit: int = 1000) -> Awaitable[Sequence[Record]]:
        """Records of all streams with ``pos`` > ``after``, in the order they were committed."""
        return self._reader.scan_records(after, limit)

    def load_definition(self, digest: str) -> Awaitable[bytes | None]:
        """The definition with that digest."""
        return self._reader.load_definition(digest)

    def load_blob(self, digest: str) -> Awaitable[bytes | None]:
        """The blob with that digest."""
        return self._reader.load_blob(digest)

    def find_cached_result(self, key: str) -> Awaitable[CachedResult | None]:
        """The result that is stored under that key; it may have expired."""
        return self._reader.find_cached_result(key)

    def find_request(self, key: str, *, tenant: str = "default") -> Awaitable[RequestRow | None]:
        """The request of that key; it may have expired."""
        return self._reader.find_request(key, tenant=tenant)

    def list_account_states(self) -> Awaitable[Sequence[AccountState]]:
        """All accounts with their limits and amounts, in order of their scopes."""
        return self._reader.list_account_states()

    def list_marks(self) -> Awaitable[dict[str, str]]:
        """The stored texts by name."""
        return self._reader.list_marks()

    def list_runs(
        self, *, tenant: str = "default", unfinished: bool = False, limit: int | None = None
    ) -> Awaitable[Sequence[RunRow]]:
        """Rows of the run list, newest first."""
        return self._reader.list_runs(tenant=tenant, unfinished=unfinished, limit=limit)

    def find_run(self, run: str, *, tenant: str = "default") -> Awaitable[RunRow | None]:
        """The row of one run; None if that tenant has no such run."""
        return self._reader.find_run(run, tenant=tenant)

    def measure_sizes(self, streams: Sequence[str] | None = None) -> Awaitable[Sizes]:
        """Bytes of the journal; with ``streams``, only what would be deleted with them."""
        return self._reader.measure_sizes(streams)

    def list_largest_streams(self, limit: int = 20) -> Awaitable[Sequence[StreamSize]]:
        """The largest streams, largest first."""
        return self._reader.list_largest_streams(limit)

    async def close(self) -> None:
        """Write what is queued, then close the file. May be called twice."""
        self._closing = True
        self._connections.refuse_queries()
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)
        self._connections.close()
        self._db.close()


class _ReadConnections:
    """Threads that run queries, each with a connection of its own to the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sql = queries("sqlite")
        self._closing = False
        self._executor = ThreadPoolExecutor(READER_CONNECTIONS, "agenthive-read")
        #: ``connection`` is the connection of the current thread.
        self._local = local()
        #: The connections of all threads, to be closed.
        self._connections: list[apsw.Connection] = []

    async def run_query(self, query: str, values: tuple[Any, ...]) -> Rows:
        """Run a query of `sql/sqlite.sql`. Raises StoreUnavailable, StoreCorrupt, StoreFailed."""
        if self._closing:
            raise StoreFailed("the store is closed")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._fetch_rows, query, values)

    def _fetch_rows(self, query: str, values: tuple[Any, ...]) -> Rows:
        """Runs in a thread of the executor, on the connection of that thread."""
        try:
            connection = getattr(self._local, "connection", None)
            if connection is None:
                connection = self._local.connection = _open_connection(self._path)
                create_stand_ins(connection)
                self._connections.append(connection)
            return list(connection.execute(self._sql[query], values))
        except (apsw.NotADBError, apsw.CorruptError) as error:
            raise StoreCorrupt(
                f"the journal {self._path} is damaged: {error}", hint=RESTORE_HINT
            ) from error
        except apsw.Error as error:
            raise StoreUnavailable(f"the journal {self._path} cannot be read: {error}") from error
        except UnicodeDecodeError as error:
            raise StoreCorrupt(
                f"the journal {self._path} has a text field that is not UTF-8: {error}",
                hint="Restore the journal from a backup.",
            ) from error

    def measure_log(self) -> int:
        """Bytes of the write-ahead log, 0 if there is none."""
        log = self._path.with_name(f"{self._path.name}-wal")
        return log.stat().st_size if log.exists() else 0

    def refuse_queries(self) -> None:
        """Fail all queries that begin from now on."""
        self._closing = True

    def close(self) -> None:
        """Wait for the running queries and close the connections. May be called twice."""
        self._executor.shutdown()
        for connection in self._connections:
            connection.close()
        self._connections.clear()


def engine_version() -> str:
    """The version of the SQLite library that apsw brings."""
    return apsw.sqlite_lib_version()


def _create_file(path: Path) -> None:
    """Create the file under another name and rename it, so that no reader sees half of it."""
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
            connection.pragma("application_id", secrets.randbelow(ID_MASK))
        # All must be in the file, as its log is not renamed with it. Closing would checkpoint as
        # well, but reports no failure.
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    finally:
        connection.close()
    partial.replace(path)
    # The entry of the folder in its parent too: a process may have created the folder and ended
    # before the parent was synced.
    for folder in (path.parent, path.parent.parent):
        sync_path(folder)


def _open_connection(path: Path, *first: str) -> apsw.Connection:
    """Open a connection, run the queries ``first`` on it, then ``pragmas``."""
    connection = apsw.Connection(str(path), apsw.SQLITE_OPEN_READWRITE)
    # Some statements return a row; apsw runs the next statement only after that row was fetched.
    for query in (*first, "pragmas"):
        connection.execute(queries("sqlite")[query]).fetchall()
    return connection


def _check_tables(path: Path, connection: apsw.Connection) -> None:
    """Raises StoreCorrupt if the file is a database of another program."""
    objects = dict(connection.execute("SELECT name, type FROM sqlite_schema"))
    missing = [table for table in OWN_TABLES if objects.get(table) != "table"]
    foreign = [name for name, kind in objects.items() if kind in ("trigger", "view")]
    if missing or foreign:
        what = f"it has no table '{missing[0]}'" if missing else f"it has a {objects[foreign[0]]}"
        raise StoreCorrupt(
            f"{path} is not a journal of agenthive: {what}; nothing in it was changed",
            hint="Put the journal back that belongs here, or choose another home with --home.",
        )


def _number_log(connection: apsw.Connection) -> None:
    """Give the log of this owner a number of its own: see `journal_file`.

    A file that takes no writes now keeps the number that it has; its log is then recognised less
    well, and nothing else.
    """
    with contextlib.suppress(*_REFUSED_ERRORS):
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        number = _read_scalar(connection, "PRAGMA application_id")
        connection.execute(f"PRAGMA application_id = {(number + 1) & ID_MASK}")
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        connection.execute(f"PRAGMA application_id = {(number + 2) & ID_MASK}")


def _preallocate_log(connection: apsw.Connection) -> None:
    """Let the log file grow once, by a transaction that is rolled back.

    A commit into a file that keeps its size has no new size to sync, and takes half the time. A
    full disk is no error here: the next write reports it.
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
