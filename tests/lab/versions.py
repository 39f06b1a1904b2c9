"""Old and new journals, seen from inside: `python -m tests.lab.versions A:B`, one line a fault.

Even numbers read a golden run up to some record and compare where everything stands with what was
written down then. Odd ones make a journal newer than this agenthive, in a record or in its schema,
which must be refused and left as it was; or older, which must be read. A process of its own, so
that it can be given sources with a planted bug.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import msgspec

from agenthive.core.journal.hash_chain import GENESIS, VERSION, seal_record, verify_chain
from agenthive.core.journal.records import Record
from agenthive.errors import AgentHiveError, JournalTooNew, RunUnusable
from agenthive.queries.journal_reader import JournalReader
from agenthive.stores.sqlite import SCHEMA_VERSION, SqliteStore
from tests.core.golden import FOLDER, loaded, standings
from tests.lab import ranges

FILES = sorted(FOLDER.glob("*.json"))
COLUMNS = (
    "pos",
    "stream",
    "seq",
    "count",
    "at",
    "type",
    "v",
    "rules",
    "actor",
    "cause",
    "payload",
    "prev",
    "hash",
)


def find_faults(number: int) -> Iterator[str]:
    """What is wrong with this one."""
    rng = Random(number)
    file = FILES[number // 2 % len(FILES)]
    if number % 2 == 0:
        yield from check_golden(file, rng)
    else:
        version_check = rng.choice((check_newer_record, check_newer_schema, check_older_schema))
        with tempfile.TemporaryDirectory() as folder:
            yield from version_check(Path(folder), file, rng)


def check_golden(file: Path, rng: Random) -> Iterator[str]:
    """The chain holds, and every record leads where it led."""
    body, records, expected = loaded(file)
    cut = rng.randint(1, len(records))
    try:
        if list(verify_chain(records[:cut])) != records[:cut]:
            yield f"{file.stem}: the chain of {cut} records is read otherwise"
        if standings(body, records[:cut]) != expected[:cut]:
            yield f"{file.stem}: {cut} records lead elsewhere than they did"
    except AgentHiveError as error:
        yield f"{file.stem}: {cut} records cannot be read: {error}"


def check_newer_record(folder: Path, file: Path, rng: Random) -> Iterator[str]:
    """One record of a later version, its chain sound, somewhere in a stream."""
    body, records, _ = loaded(file)
    position = rng.randrange(len(records))
    newer = VERSION + rng.randint(1, 1000)
    records[position] = msgspec.structs.replace(records[position], v=newer)
    path = write_journal(folder, body, chain_records(records))
    refusal = asyncio.run(read_refusal(path, records[0].stream))
    if not refusal:
        yield (
            f"{file.stem}: record {position} has version {newer}, and the run is read all the same"
        )


def check_newer_schema(folder: Path, file: Path, rng: Random) -> Iterator[str]:
    """A whole file of a later version."""
    body, records, _ = loaded(file)
    path = write_journal(folder, body, records)
    newer = SCHEMA_VERSION + rng.randint(1, 1000)
    set_version(path, newer)
    before = path.read_bytes()
    refusal = asyncio.run(read_refusal(path, records[0].stream))
    if not refusal:
        yield f"{file.stem}: schema {newer}, and it is read all the same"
    elif path.read_bytes() != before:
        yield f"{file.stem}: schema {newer}, refused, and yet changed"


def check_older_schema(folder: Path, file: Path, rng: Random) -> Iterator[str]:
    """A file whose number was never set, or is an earlier one."""
    body, records, expected = loaded(file)
    path = write_journal(folder, body, records)
    set_version(path, rng.randrange(SCHEMA_VERSION + 1))
    try:
        status = asyncio.run(read_status(path, records[0].stream))
    except AgentHiveError as error:
        status = f"{type(error).__name__}: {error}"
    if status != expected[-1]["status"]:
        yield f"{file.stem}: an older file is read as {status}"


def chain_records(records: list[Record]) -> list[Record]:
    """The records with hashes that hold."""
    chained_records: list[Record] = []
    for record in records:
        prev = chained_records[-1].hash if chained_records else GENESIS
        chained_records.append(seal_record(record, prev, record.pos))
    return chained_records


def write_journal(folder: Path, body: bytes, records: list[Record]) -> Path:
    """A journal with this one run, written past the store that will read it."""
    path = folder / "journal.db"

    async def create_store() -> None:
        await SqliteStore.open(path).close()

    asyncio.run(create_store())
    run, name = records[0].stream, msgspec.json.decode(records[0].payload)[0]["definition"]
    with closing(sqlite3.connect(path)) as connection, connection:
        marks = ", ".join("?" * len(COLUMNS))
        connection.executemany(
            f"INSERT INTO records ({', '.join(COLUMNS)}) VALUES ({marks})", map(_row, records)
        )
        connection.execute("INSERT INTO definitions VALUES (?, ?)", (name, body.decode()))
        connection.execute(
            "INSERT INTO runs (run, tenant, owner, name, status, created, total_tasks, "
            "completed_tasks, failed_tasks) VALUES (?, 'default', 'local', '', '', 0, 0, 0, 0)",
            (run,),
        )
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


def _row(record: Record) -> tuple[object, ...]:
    return tuple(
        value.decode() if name == "payload" else value
        for name, value in ((name, getattr(record, name)) for name in COLUMNS)
    )


def set_version(path: Path, number: int) -> None:
    """Say which version of the schema a file has."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


async def read_status(path: Path, run: str) -> str:
    """How a run stands."""
    store = SqliteStore.open(path)
    try:
        return str((await JournalReader(store).read_report(run)).status)
    finally:
        await store.close()


async def read_refusal(path: Path, run: str) -> str:
    """What opening the file and reading the run is refused with, as too new; else nothing."""
    try:
        await read_status(path, run)
    except JournalTooNew as error:
        return str(error)
    except RunUnusable as error:
        # A record of one run: the others are not affected.
        return str(error) if "this version of agenthive reads up to" in error.message else ""
    except AgentHiveError:
        return ""
    return ""


def main() -> int:
    for number in ranges.parse_range(sys.argv[1]):
        for fault in find_faults(number):
            print(f"{number}: {fault}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
