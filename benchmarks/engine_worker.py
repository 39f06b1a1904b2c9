"""One shape through agenthive in its own process; prints one JSON line. Used by `engine.py`."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "peers"))
import common
from _noop import NOOP, Inside, directory

from agenthive.core.model.calls import Call, Reply
from agenthive.core.model.workflow import Effect, TaskSpec, WorkflowSpec
from agenthive.hive import Hive
from agenthive.runtimes import event_loop


class Noop(Inside):
    """An agent that does nothing, well."""

    async def perform(self, call: Call) -> Reply:
        """The result that every program of this comparison gives."""
        return Reply(result={"task": 1, "ok": True, "value": 2})


def graph(shape: str, tasks: int) -> list[list[int]]:
    """Lists of dependencies by task number."""
    if shape == "chain":
        return [[i - 1] if i else [] for i in range(tasks)]
    if shape == "fanout":
        return [[] for _ in range(tasks)] + [list(range(tasks))]
    return common.layered(tasks)


def workflow(shape: str, tasks: int, effect: str) -> WorkflowSpec:
    """The workflow of one shape, wide open: as many calls at once as there are tasks."""
    specs = tuple(
        TaskSpec(
            name=f"t{i}",
            agent="noop",
            action="work",
            effect=Effect(effect),
            depends_on=tuple(f"t{j}" for j in deps),
        )
        for i, deps in enumerate(graph(shape, tasks))
    )
    return WorkflowSpec(
        name=shape, agents=(NOOP,), tasks=specs, max_parallel=1_000_000, timeout=None
    )


async def measure(options: argparse.Namespace) -> None:
    """Run the shape once and print what it took."""
    many = options.shape == "many"
    tasks = common.CHAIN_LEN if many else options.tasks
    spec = workflow("chain" if many else options.shape, tasks, options.effect)
    runs = options.tasks // common.CHAIN_LEN if many else 1
    home = tempfile.mkdtemp(prefix="bench_", dir=os.environ.get("PEERS"))
    async with Hive.open(
        home, max_runs=100_000, max_calls=options.calls, agents=directory(Noop)
    ) as hive:
        base = common.status_kb("VmRSS")
        cpu, began = time.process_time(), time.perf_counter()
        ids = await asyncio.gather(*(hive.submit(spec) for _ in range(runs)))
        statuses = await asyncio.gather(*(hive.ended(run) for run in ids))
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        done = runs * len(spec.tasks)
        rows = await hive.runs()
        if {str(status) for status in statuses} != {"completed"} or len(rows) != runs:
            raise SystemExit("not every run completed")
        if sum(row.completed_tasks for row in rows) != done:
            raise SystemExit("not every task is in the journal")
    stored = sum(file.stat().st_size for file in os.scandir(home) if "journal.db" in file.name)
    row = {
        "tasks": done,
        "tasks_per_s": round(done / seconds, 1),
        "us_per_task": round(seconds / done * 1e6, 2),
        "cpu_us_per_task": round(cpu / done * 1e6, 2),
        "bytes_per_task": round(stored / done, 1),
        "base_mb": round(base / 1024, 1),
        "peak_mb": round(common.status_kb("VmHWM") / 1024, 1),
    }
    print(json.dumps(row))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=("chain", "fanout", "layered", "many"), required=True)
    parser.add_argument("--tasks", type=int, required=True)
    parser.add_argument("--effect", default="any")
    parser.add_argument("--calls", type=int, default=1000)
    event_loop.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
