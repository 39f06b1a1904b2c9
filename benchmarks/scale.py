"""What large things cost, and that they hold: killed on the way, gone on with, counted at the end.

    python3 x.py bench scale [--only items,layers,parked] [--items 10000] [--tasks 1000000]
                             [--parked 100000] [--margin SECONDS] [--spread SECONDS]

items: `for_each` with 50 at a time, its process killed twice. layers: one layered run, killed in
the middle. parked: half timers, half approvals, killed while all of them stand; each timer must
come, each approval must take its answer. Kills are SIGKILL of a real process on a real home. One
JSON line each; exit code 1 if anything is not as it must be.
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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from agenthive.hive import open_journal
from agenthive.queries.journal_reader import JournalReader

HERE = Path(__file__).parent
MB = 1024
Row = dict[str, Any]


class Wrong(Exception):
    """Something is not as it must be."""


def must(true: bool, what: str) -> None:
    """Raise Wrong unless so."""
    if not true:
        raise Wrong(what)


class Process:
    """One `scale_worker.py`: what it told, until it ended or was killed."""

    def __init__(self, home: Path, shape: str, *arguments: Any) -> None:
        command = [sys.executable, str(HERE / "scale_worker.py"), str(home), "--shape", shape]
        self.began = time.perf_counter()
        self._process = subprocess.Popen(
            command + [str(one) for one in arguments], stdout=subprocess.PIPE, text=True
        )
        self.told: Row = {}

    def until(self, enough: Callable[[Row], bool]) -> bool:
        """Listen until that is so; False if the process ended before."""
        for row in self._lines():
            self.told |= row
            if enough(self.told):
                return True
        must(self._process.wait() == 0, f"a process ended with {self._process.returncode}")
        return False

    def _lines(self) -> Iterator[Row]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            yield json.loads(line)

    def kill(self) -> Row:
        """SIGKILL; what it had told."""
        self._process.kill()
        self._process.wait()
        return self.told


def stored(home: Path) -> int:
    """Bytes of the journal, with its log."""
    return sum(file.stat().st_size for file in os.scandir(home) if "journal.db" in file.name)


def killed(home: Path, shape: str, size: int, fractions: list[float], *more: Any) -> list[Row]:
    """A run of that shape to its end, killed when so much was done; what each process told."""
    rows: list[Row] = []
    for number, fraction in enumerate([*fractions, 2.0]):
        again = ["--resume"] if number else []
        process = Process(home, shape, "--size", size, *more, *again)
        on_the_way = process.until(lambda told: told.get("done", 0) >= size * fraction)  # noqa: B023
        must(on_the_way is (fraction < 1), f"it ended before it was killed at {fraction:.0%}")
        rows.append(process.kill() | {"s": time.perf_counter() - process.began})
    must(rows[-1]["ended"] == "completed", f"the run ended {rows[-1]['ended']}")
    return rows


async def looked_at(home: Path, look: Callable[[JournalReader], Any]) -> Any:
    """What ``look`` finds in a home, once all its chains are good."""
    async with open_journal(home) as archive:
        await archive.verify_chains()
        return await look(archive)


def memory(rows: list[Row], size: int) -> Row:
    """The most memory that any of these processes held."""
    peak, base = max(row["peak_kb"] for row in rows), min(row["base_kb"] for row in rows)
    return {
        "peak_mb": round(peak / MB),
        "memory_bytes_each": round((peak - base) * 1024 / size),
    }


def items(home: Path, options: argparse.Namespace) -> Row:
    """`for_each`, killed twice."""
    size = options.items
    rows = killed(home, "items", size, [0.3, 0.6], "--call-seconds", 0.005)
    report = asyncio.run(looked_at(home, lambda archive: archive.read_report(rows[-1]["run"])))
    must(report.results["each"] == list(range(size)), "not every item has its result")
    must(rows[-1]["most"] <= 50, f"{rows[-1]['most']} calls were under way at once")
    return {
        "items": size,
        "results": len(report.results["each"]),
        "kills": len(rows) - 1,
        "killed_at": [row["done"] for row in rows[:-1]],
        "most_at_once": rows[-1]["most"],
        "resume_ms": [round(row["opened"] * 1000) for row in rows[1:]],
        "s": round(sum(row["s"] for row in rows), 1),
    } | memory(rows, size)


def layers(home: Path, options: argparse.Namespace) -> Row:
    """A layered run, killed in the middle."""
    size = options.tasks
    rows = killed(home, "layers", size, [0.5])
    row = asyncio.run(looked_at(home, lambda archive: archive.read_row(rows[-1]["run"])))
    must(row.completed_tasks == row.total_tasks == size, f"{row.completed_tasks} tasks are done")
    first, second = rows
    seconds = first["s"] - first["begun"] - first["opened"] + second["seconds"]
    return {
        "tasks": size,
        "tasks_per_s": round((first["done"] + second["calls"]) / seconds),
        "killed_at": first["done"],
        "made_again": second["calls"] + first["done"] - size,
        "to_begin_s": round(first["begun"], 1),
        "to_resume_s": round(second["opened"], 1),
        "s": round(sum(row["s"] for row in rows), 1),
    } | memory(rows, size)


def parked(home: Path, options: argparse.Namespace) -> Row:
    """Timers and approvals, killed while they stand."""
    size, half = options.parked, options.parked // 2
    margin = options.margin if options.margin is not None else 20 + size // 400
    arguments = ["--size", size, "--margin", margin, "--spread", options.spread]
    before = Process(home, "parked", *arguments)
    must(before.until(lambda told: "parked" in told), "the first process ended")
    first = before.kill()
    must(first["parked"] == size, f"{first['parked']} runs are parked")
    bytes_each = round(stored(home) / size)
    after = Process(home, "parked", "--size", size, "--resume")
    after.until(lambda told: "opened" in told)
    taken_over = dict(after.told)
    must(taken_over["runs"] == size, f"{taken_over['runs']} runs were taken over")
    after.until(lambda told: "answered" in told)
    answered = dict(after.told)
    after.until(lambda told: False)
    late = asyncio.run(looked_at(home, lambda archive: lateness(archive, first)))
    must(len(late) == half, f"{len(late)} timers came")
    must(late[0] >= 0, "a timer came early")
    must(answered["answered"] == size - half, f"{answered['answered']} approvals were asked")
    return {
        "parked": size,
        "park_s": round(first["seconds"], 1),
        "rss_parked_mb": round(first["rss_kb"] / MB),
        "restart_s": round(taken_over["opened"], 1),
        "rss_restarted_mb": round(taken_over["rss_kb"] / MB),
        "answers_per_s": round(answered["answered"] / answered["seconds"]),
        "late_ms": {
            name: round(late[min(half - 1, int(half * part))] / 1000)
            for name, part in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
        },
        "bytes_each_parked": bytes_each,
    } | memory([first, after.told | {"base_kb": first["base_kb"]}], size)


async def lateness(archive: JournalReader, first: Row) -> list[int]:
    """How many microseconds after its time each timer's run ended, sorted."""
    rows = await archive.list_runs()
    must(all(row.status == "completed" for row in rows), "not every run completed")
    timers = [row for row in rows if row.run.startswith("timer-")]
    planned = {row.run: first["first"] + int(row.run[6:]) * first["step"] for row in timers}
    return sorted((row.finished or 0) - planned[row.run] for row in timers)


SHAPES = {"items": items, "layers": layers, "parked": parked}


def measure(name: str, options: argparse.Namespace, scratch: Path) -> bool:
    """One shape, and its line; whether all was as it must be."""
    home = scratch / name
    try:
        row = SHAPES[name](home, options)
        each = round(stored(home) / getattr(options, "tasks" if name == "layers" else name))
        row |= {"bytes_each": each}
    except Wrong as error:
        row = {"wrong": str(error)}
    print(json.dumps({"scale": name} | row | {"load": os.getloadavg()[0]}), flush=True)
    return "wrong" not in row


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(SHAPES))
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--parked", type=int, default=100_000)
    parser.add_argument("--margin", type=int, help="seconds until the first timer is due")
    parser.add_argument("--spread", type=int, default=10, help="from the first timer to the last")
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="agenthive_bench_"))
    try:
        good = [measure(name, options, scratch) for name in options.only.split(",")]
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
