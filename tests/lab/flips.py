"""Damaged journals, seen from inside: `python -m tests.lab.flips JOURNAL A:B`, one line a fault.

Every number flips one bit of a copy: even ones anywhere in the file, odd ones in a value of a row
through SQL. A flip that changes a record must be found by `verify`; whatever else was hit, reading
gives what it gave before or refuses with an error of ours. A position that leaves the order of the
records as it was is no change: no promise hangs on it. The last line counts what was met.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import msgspec

from agenthive.errors import AgentHiveError
from agenthive.queries.journal_reader import JournalReader
from agenthive.stores.sqlite import SqliteStore
from tests.lab import ranges
from tests.lab.spread import temporary_folder

TABLES = ("records", "records", "records", "definitions", "blobs", "runs")
"""Where a value is changed, records more often."""
Rows = list[tuple[Any, ...]]


class JournalView(NamedTuple):
    """What a journal shows: its records, or None if SQLite itself cannot read them; whether
    `verify` found fault; what reading gave, or None where it refused.
    """

    records: Rows | None
    found: str
    read: dict[str, bytes | None]


def flip_bit(path: Path, unit: int) -> str:
    """Damage the file; what was hit."""
    rng = Random(unit)
    if unit % 2:
        return flip_value(path, rng)
    content = bytearray(path.read_bytes())
    place = rng.randrange(len(content))
    content[place] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return f"byte {place}"


def flip_value(path: Path, rng: Random) -> str:
    """Change one bit of a value where SQLite takes that."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        while True:
            table = rng.choice(TABLES)
            columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
            column = rng.choice(columns)
            key = columns[0]
            rows = db.execute(
                f"SELECT {key}, {column}, typeof({column}), CAST({column} AS BLOB) FROM {table}"
            )
            all_rows = rows.fetchall()
            if not all_rows or column == "pos":
                continue
            name, value, kind, raw = rng.choice(all_rows)
            if kind == "null" or not raw:
                continue
            changed = bytearray(raw)
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
            new = value ^ 1 << rng.randrange(20) if kind == "integer" else bytes(changed)
            placeholder = "CAST(? AS TEXT)" if kind == "text" else "?"
            try:
                db.execute(
                    f"UPDATE {table} SET {column} = {placeholder} WHERE {key} = ?", (new, name)
                )
                return f"{table}.{column} of {name}"
            except sqlite3.Error:
                continue


def read_raw(path: Path) -> Rows | None:
    """The records as SQLite gives them, in their order."""
    try:
        with closing(sqlite3.connect(path)) as db:
            db.text_factory = bytes
            return [tuple(row[1:]) for row in db.execute("SELECT * FROM records ORDER BY pos")]
    except sqlite3.Error:
        return None


async def view_journal(path: Path, runs: list[str]) -> JournalView:
    """Verify it, and read all there is to read."""
    try:
        store = SqliteStore.open(path)
    except AgentHiveError as error:
        return JournalView(None, str(error), dict.fromkeys(("", *runs)))
    try:
        reader = JournalReader(store)
        problem = ""
        try:
            await reader.verify_chains()
        except AgentHiveError as error:
            problem = str(error)
        answers = {run: await read_answer(reader, run) for run in ("", *runs)}
    finally:
        await store.close()
    return JournalView(read_raw(path), problem, answers)


async def read_answer(reader: JournalReader, run: str) -> bytes | None:
    """What is said of a run, or, without a name, which runs there are; None if it is refused."""
    try:
        answer: Any = await reader.read_report(run) if run else await reader.list_runs()
        return msgspec.json.encode(answer)
    except AgentHiveError:
        return None


def judge_flip(before: JournalView, after: JournalView, about: str) -> tuple[str, list[str]]:
    """What kind of damage it was, and what is wrong about how it was met."""
    changed = after.records != before.records
    problems = [f"{about}: verify finds nothing"] if changed and not after.found else []
    silent_runs = [
        run
        for run, content in after.read.items()
        if content is not None and content != before.read[run]
    ]
    if silent_runs and not after.found:
        problems.append(
            f"{about}: of {silent_runs[0] or 'the list of runs'} something else is told"
        )
    refused = any(content is None for content in after.read.values())
    kind = (
        "record" if changed else "found" if after.found else "refused" if refused else "no matter"
    )
    return kind, problems


def copy_fresh(journal: Path, folder: Path) -> Path:
    """A copy as it was, and nothing beside it."""
    for leftover in folder.iterdir():
        leftover.unlink()
    return Path(shutil.copy(journal, folder / "journal.db"))


async def check_flips(journal: Path, units: range) -> None:
    with closing(sqlite3.connect(journal)) as db:
        runs = [str(row[0]) for row in db.execute("SELECT run FROM runs")]
    kinds: Counter[str] = Counter()
    with temporary_folder() as folder:
        path = copy_fresh(journal, folder)
        sound = await view_journal(path, runs)
        if sound.found or None in sound.read.values():
            raise RuntimeError(f"the sound journal is not: {sound.found}")
        for unit in units:
            copy_fresh(journal, folder)
            about = f"{unit}: {flip_bit(path, unit)}"
            try:
                kind, problems = judge_flip(sound, await view_journal(path, runs), about)
            except Exception as error:
                kind, problems = (
                    "crash",
                    [f"{about}: reading broke: {type(error).__name__}: {error}"],
                )
            kinds[kind] += 1
            for line in problems:
                print(line, flush=True)
    print(json.dumps(kinds), flush=True)


def main() -> int:
    asyncio.run(check_flips(Path(sys.argv[1]), ranges.parse_range(sys.argv[2])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
