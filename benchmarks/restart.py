"""How soon a home is there again: `Hive.open(home, recover=True)` in a process of its own.

    python3 x.py bench restart [--rounds 20] [--records 100000]

Two homes with as many records: (a) one open run, (b) 1,000 runs of which 10 are open. Each round
copies the home aside and opens the copy, so that every one finds what a killed process left. One
JSON line a home: milliseconds from the first line of the program, imports aside, until the runs are
taken over. Then what `gc` makes of 10,000 small runs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from _noop import Inside, directory

from agenthive.core.graph.graph import Graph
from agenthive.core.history import snapshots
from agenthive.core.history.retention import older_than
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.hash_chain import RULES
from agenthive.core.journal.records import Batch, Record, RunRow
from agenthive.core.machine.machine import step
from agenthive.core.machine.run_state import RunState
from agenthive.core.model import definition
from agenthive.core.model.calls import Call, Reply
from agenthive.core.model.idempotency import IdempotencyKeys
from agenthive.core.model.workflow import AgentSpec, TaskSpec, WorkflowSpec
from agenthive.hive import Hive
from agenthive.stores.sqlite import SqliteStore

START = 1_700_000_000_000_000
OPENING = """
import asyncio, json, sys, time
sys.path.insert(0, sys.argv[2])
from _noop import directory
from restart import Never
from agenthive.hive import Hive
from agenthive.stores import sqlite

async def main():
    began = time.perf_counter()
    async with Hive.open(sys.argv[1], recover=True, agents=directory(Never)) as hive:
        runs = hive._resources.driver.runs
        print(json.dumps({"s": time.perf_counter() - began, "open": len(runs)}))

asyncio.run(main())
"""


class Never(Inside):
    """An agent that does not answer."""

    async def perform(self, call: Call) -> Reply:
        """Wait for good."""
        await asyncio.Event().wait()
        return Reply()


def chain(tasks: int) -> WorkflowSpec:
    """A workflow whose tasks follow each other: each answer is a record of its own."""
    agent = AgentSpec(name="a", type="noop", endpoint="noop://", timeout=None)
    specs = tuple(
        TaskSpec(name=f"t{i}", agent="a", action="go", depends_on=(f"t{i - 1}",) if i else ())
        for i in range(tasks)
    )
    return WorkflowSpec(name="chain", agents=(agent,), tasks=specs, timeout=None)


def history(run: str, spec: WorkflowSpec, records: int) -> list[list[ev.RunEvent]]:
    """The facts of a run that is cut off, or ends, after so many records."""
    key, name = IdempotencyKeys(run), definition.compute_digest(definition.encode(spec))
    found: list[list[ev.RunEvent]] = [
        [
            ev.RunSubmitted(at=START, run=run, name=spec.name, definition=name),
            ev.RunStarted(at=START),
            ev.TaskStarted(at=START, task="t0", attempt=1, agent="a", key=key("t0")),
        ]
    ]
    for i in range(records - 1):
        task, at = f"t{i + 1}", START + i
        answer = ev.TaskSucceeded(
            at=at, task=f"t{i}", attempt=1, result={"task": 1, "ok": True, "value": 2}
        )
        found.append([answer])
        if i + 1 < len(spec.tasks):
            found[-1].append(ev.TaskStarted(at=at, task=task, attempt=1, agent="a", key=key(task)))
    return found


def snapshot(state: RunState | None, facts: list[ev.RunEvent], batch: Batch) -> str:
    """What a hive would have put beside these facts."""
    if state is None:
        return ""
    for fact in facts:
        step(state, fact)
    return (
        snapshots.freeze_state(state, batch)
        if snapshots.is_due(state, snapshots.SNAPSHOT_INTERVAL)
        else ""
    )


async def write(store: SqliteStore, run: str, spec: WorkflowSpec, records: int) -> ev.HiveEvent:
    """Put a run into a journal; the run has ended if it has one record more than tasks."""
    body = definition.encode(spec)
    name, seq, ended = definition.compute_digest(body), 1, records > len(spec.tasks)
    batch = Batch(definitions=[(name, body)], uses=[(run, name)])
    state = (
        RunState(Graph(spec)) if not ended and records > snapshots.SNAPSHOT_INTERVAL / 2 else None
    )
    for facts in history(run, spec, records):
        payload, at = ev.encode(facts), facts[-1].at
        cause = snapshot(state, facts, batch)
        batch.records.append(
            Record(
                stream=run,
                seq=seq,
                count=len(facts),
                at=at,
                type="run",
                payload=payload,
                rules=RULES,
                cause=cause,
            )
        )
        seq += len(facts)
    status, finished = ("completed", START + records) if ended else ("running", None)
    batch.runs.append(
        RunRow(
            run=run,
            name="chain",
            status=status,
            created=START,
            finished=finished,
            total_tasks=len(spec.tasks),
        )
    )
    await store.append(batch)
    return ev.RunClosed(at=START + records, run=run, status=status, events=seq - 1)


async def make(home: Path, runs: int, unfinished: int, records: int) -> None:
    """A home with ``records`` records in ``runs`` runs."""
    store = SqliteStore.open(home / "journal.db", preallocate=True)
    each = records // runs
    going, done = chain(each * 2 if runs == 1 else each + 50), chain(each - 1)
    told: list[ev.HiveEvent] = []
    for number in range(runs):
        run = f"run-{number:06}"
        spec = going if number < unfinished else done
        told.append(ev.RunOpened(at=START, run=run))
        closed = await write(store, run, spec, each)
        if number >= unfinished:
            told.append(closed)
    payload = ev.encode(told)
    hive = Record(
        stream=ev.HIVE, seq=1, count=len(told), at=told[-1].at, type="hive", payload=payload
    )
    await store.append(Batch(records=[hive]))
    await store.close()


def opened(home: Path, scratch: Path, unfinished: int) -> float:
    """Seconds to open a copy of the home."""
    copy = scratch / "copy"
    shutil.copytree(home, copy)
    try:
        command = [sys.executable, "-c", OPENING, str(copy), str(Path(__file__).parent)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    finally:
        shutil.rmtree(copy)
    row = json.loads(done.stdout)
    if row["open"] != unfinished:
        raise SystemExit(f"{row['open']} runs were taken over, not {unfinished}")
    return float(row["s"])


def restart(name: str, runs: int, unfinished: int, options: argparse.Namespace, at: Path) -> None:
    """Measure one home, and print a line."""
    home = at / name
    home.mkdir()
    asyncio.run(make(home, runs, unfinished, options.records))
    times = sorted(opened(home, at, unfinished) for _ in range(options.rounds))
    row: dict[str, Any] = {
        "restart": name,
        "records": options.records,
        "runs": runs,
        "open": unfinished,
        "rounds": options.rounds,
        "p50_ms": round(median(times) * 1000),
        "p99_ms": round(times[min(len(times) - 1, int(len(times) * 0.99))] * 1000),
        "file_mb": round((home / "journal.db").stat().st_size / 2**20, 1),
    }
    print(json.dumps(row), flush=True)


async def collect(runs: int, home: Path) -> dict[str, Any]:
    """Drop ``runs`` small runs from a home."""
    await make(home, runs, 0, runs * 4)
    before = (home / "journal.db").stat().st_size
    began = time.perf_counter()
    async with Hive.open(home, agents=directory(Never)) as hive:
        done = [one async for one in hive.retention.prune(older_than(0))][-1]
        seconds = time.perf_counter() - began
        await hive.journal.verify_chains()
    left = sum(file.stat().st_size for file in os.scandir(home) if "journal.db" in file.name)
    return {"gc": done.runs, "s": round(seconds, 2), "bytes_before": before, "bytes_after": left}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--gc", type=int, default=10_000, metavar="RUNS")
    options = parser.parse_args()
    at = Path(tempfile.mkdtemp(prefix="agenthive_bench_"))
    try:
        restart("one open run", 1, 1, options, at)
        restart("1,000 runs", 1000, 10, options, at)
        if options.gc:
            print(json.dumps(asyncio.run(collect(options.gc, at / "gc"))))
    finally:
        shutil.rmtree(at, ignore_errors=True)


if __name__ == "__main__":
    main()
