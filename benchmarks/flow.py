"""What flow costs: an item, a round and a sub-workflow against a plain task of a fan-out.

    python3 x.py bench flow [--size 2000] [--rounds 5]

All shapes in one process, in turn, each on a home of its own; medians, and their ratios to the
plain tasks of the same process. No-op calls, everything on. ``bytes_each`` is what the journal
holds of the definition and the records. One JSON line a shape; exit code 1 if a run did not
complete or not every call was made.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from _noop import NOOP, directory
from scale_worker import Echo

from agenthive.core.model.control_flow import EachSpec, RepeatSpec
from agenthive.core.model.states import RunStatus
from agenthive.core.model.workflow import TaskSpec, WorkflowSpec
from agenthive.hive import Hive
from agenthive.runtimes import event_loop

ROUNDS = 10
"""Rounds of a task: many such tasks go on at once, or there would be nothing to do but wait."""


def wide(name: str, *tasks: TaskSpec) -> WorkflowSpec:
    """A workflow without bounds."""
    return WorkflowSpec(
        name=name, agents=(NOOP,), tasks=tasks, max_parallel=1_000_000, timeout=None
    )


def plain(size: int) -> WorkflowSpec:
    """So many tasks that depend on nothing."""
    return wide(
        "plain", *(TaskSpec(name=f"t{i}", agent="noop", action="echo") for i in range(size))
    )


def items(size: int) -> WorkflowSpec:
    """One task for each of so many items."""
    each = EachSpec(items=list(range(size)), max_items=size)
    return wide("items", TaskSpec(name="each", agent="noop", action="echo", for_each=each))


def rounds(size: int) -> WorkflowSpec:
    """Tasks that are done ten times each."""
    again = RepeatSpec(until=f"round >= {ROUNDS}", max_rounds=ROUNDS)
    tasks = (
        TaskSpec(name=f"t{i}", agent="noop", action="echo", repeat_until=again)
        for i in range(size // ROUNDS)
    )
    return wide("rounds", *tasks)


def children(size: int) -> WorkflowSpec:
    """Tasks that are each a workflow of one task."""
    inner = wide("inner", TaskSpec(name="only", agent="noop", action="echo"))
    return wide("children", *(TaskSpec(name=f"t{i}", workflow=inner) for i in range(size)))


SHAPES: dict[str, Callable[[int], WorkflowSpec]] = {
    "plain": plain,
    "items": items,
    "rounds": rounds,
    "children": children,
}


async def once(make: Callable[[int], WorkflowSpec], size: int) -> dict[str, float]:
    """One run on a home of its own: microseconds and bytes for each call."""
    spec, echo = make(size), Echo()
    home = Path(tempfile.mkdtemp(prefix="agenthive_bench_"))
    try:
        async with Hive.open(home, agents=directory(lambda spec: echo)) as hive:
            before = (await hive.journal.storage.measure_sizes()).records
            began, cpu = time.perf_counter(), time.process_time()
            status = await hive.wait_for_end(await hive.submit(spec))
            seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
            sizes = await hive.journal.storage.measure_sizes()
    finally:
        shutil.rmtree(home)
    if status is not RunStatus.COMPLETED or echo.calls != size:
        raise SystemExit(f"{spec.name}: {status} after {echo.calls} calls, not {size}")
    held = sizes.records - before + sizes.definitions
    return {
        "us_each": seconds / size * 1e6,
        "cpu_us_each": cpu / size * 1e6,
        "bytes_each": held / size,
    }


async def measure(options: argparse.Namespace) -> None:
    """All shapes in turn, then a line for each."""
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in SHAPES}
    for _ in range(options.rounds):
        for name, make in SHAPES.items():
            taken[name].append(await once(make, options.size))
    middle = {
        name: {key: median(row[key] for row in rows) for key in rows[0]}
        for name, rows in taken.items()
    }
    for name, row in middle.items():
        line = {"flow": name, "size": options.size} | {k: round(v, 1) for k, v in row.items()}
        for key in row:
            line[f"{key.removesuffix('_each')}_ratio"] = round(row[key] / middle["plain"][key], 2)
        print(json.dumps(line), flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if options.size % ROUNDS:
        sys.exit(f"--size must be a multiple of {ROUNDS}")
    event_loop.run(measure(options))


if __name__ == "__main__":
    main()
