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
from _counting import CallCounter, Calls
from _noop import NOOP, Inside, directory

from agenthive.core.model.calls import Call, Reply, Usage
from agenthive.core.model.workflow import AgentSpec, BudgetSpec, Effect, TaskSpec, WorkflowSpec
from agenthive.hive import Hive
from agenthive.runtimes import event_loop

BUDGETS = ("off", "loose", "tight", "narrow")
HOLD, COST = 2_000_000, 1_000_000
"""What a call costs at most, and what it does cost, in nano-dollars."""
NARROW_HOLD, NARROW_ROOM = 10**13, 50
"""A hold beside which all costs are nothing, in nano-dollars, and how many of them fit."""
START = "core/engine/admission.py:Admission._start_task"
"""The function that attempts to start a task."""
AMPLE = 10**15
"""A limit that is never reached, in nano-dollars."""


class Noop(Inside):
    """An agent that does nothing, well; with a price, it says what it has cost."""

    def __init__(self, config: AgentSpec) -> None:
        super().__init__(config)
        self._usage = None if config.max_cost is None else Usage(model="noop", cost=COST)

    async def perform(self, call: Call) -> Reply:
        """The result that every program of this comparison gives."""
        return Reply(result={"task": 1, "ok": True, "value": 2}, usage=self._usage)


def build_graph(shape: str, tasks: int) -> list[list[int]]:
    """Lists of dependencies by task number."""
    if shape == "chain":
        return [[i - 1] if i else [] for i in range(tasks)]
    if shape == "fanout":
        return [[] for _ in range(tasks)] + [list(range(tasks))]
    return common.layered(tasks)


def make_agents(count: int, budget: str) -> tuple[AgentSpec, ...]:
    """The agents of a workflow; with a budget they have a price and a limit of their own."""
    hold = NARROW_HOLD if budget == "narrow" else HOLD
    money = {} if budget == "off" else {"max_cost": hold, "cost_limit": AMPLE}
    return tuple(
        AgentSpec(
            name=f"{NOOP.name}{i or ''}",
            type=NOOP.type,
            endpoint=NOOP.endpoint,
            timeout=NOOP.timeout,
            **money,
        )
        for i in range(count)
    )


def make_budget(budget: str, tasks: int) -> BudgetSpec | None:
    """A loose budget takes every call at once.

    A tight one is what all calls will have cost, and one hold: towards the end, calls wait for
    those under way. A narrow one has room for 50 holds from the first call to the last.
    """
    if budget == "off":
        return None
    if budget == "narrow":
        return BudgetSpec(limit=tasks * COST + NARROW_ROOM * NARROW_HOLD)
    return BudgetSpec(limit=AMPLE if budget == "loose" else tasks * COST + HOLD)


def build_workflow(shape: str, tasks: int, options: argparse.Namespace) -> WorkflowSpec:
    """The workflow of one shape, wide open: as many calls at once as there are tasks.

    The tasks are dealt over the agents.
    """
    agents = make_agents(options.agents, options.budget)
    specs = tuple(
        TaskSpec(
            name=f"t{i}",
            agent=agents[i % len(agents)].name,
            action="work",
            effect=Effect(options.effect),
            depends_on=tuple(f"t{j}" for j in deps),
        )
        for i, deps in enumerate(build_graph(shape, tasks))
    )
    return WorkflowSpec(
        name=shape,
        agents=agents,
        tasks=specs,
        max_parallel=1_000_000,
        timeout=None,
        budget=make_budget(options.budget, len(specs)),
    )


async def check_work(hive: Hive, runs: int, tasks: int, budget: str) -> None:
    """That every task is in the journal and, with a budget, paid for. Raises SystemExit."""
    rows = await hive.runs()
    if {row.status for row in rows} != {"completed"} or len(rows) != runs:
        raise SystemExit("not every run completed")
    if sum(row.completed_tasks for row in rows) != tasks:
        raise SystemExit("not every task is in the journal")
    scopes = {f"run {row.run}" for row in rows}
    standings = await hive.journal.list_accounts()
    accounts = [account for account in standings if account.scope in scopes]
    spent = sum(account.captured for account in accounts)
    held = sum(account.held for account in accounts)
    if held or spent != (0 if budget == "off" else tasks * COST):
        raise SystemExit(f"{tasks} tasks: {spent} nano-dollars were captured, {held} are held")


async def measure(options: argparse.Namespace, counter: CallCounter | None) -> None:
    """Run the shape once and print what it took."""
    many = options.shape == "many"
    tasks = common.CHAIN_LEN if many else options.tasks
    spec = build_workflow("chain" if many else options.shape, tasks, options)
    runs = max(1, options.tasks // common.CHAIN_LEN) if many else 1
    home = tempfile.mkdtemp(prefix="bench_", dir=os.environ.get("PEERS"))
    async with Hive.open(
        home, max_runs=100_000, max_calls=options.calls, agents=directory(Noop)
    ) as hive:
        base = common.status_kb("VmRSS")
        before = counter.read() if counter else Calls(0, 0)
        cpu, began = time.process_time(), time.perf_counter()
        ids = await asyncio.gather(*(hive.submit(spec) for _ in range(runs)))
        await asyncio.gather(*(hive.wait_for_end(run) for run in ids))
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        calls = counter.read() - before if counter else Calls(0, 0)
        done = runs * len(spec.tasks)
        starts = counter.count_function(START) if counter else 0
        await check_work(hive, runs, done, options.budget)
    stored = sum(file.stat().st_size for file in os.scandir(home) if "journal.db" in file.name)
    count = {
        "calls_per_task": round(calls.all / done, 3),
        "own_per_task": round(calls.own / done, 3),
        "starts_per_task": round(starts / done, 3),
    }
    cost = {
        "tasks_per_s": round(done / seconds, 1),
        "us_per_task": round(seconds / done * 1e6, 2),
        "cpu_us_per_task": round(cpu / done * 1e6, 2),
        "bytes_per_task": round(stored / done, 1),
        "base_mb": round(base / 1024, 1),
        "peak_mb": round(common.status_kb("VmHWM") / 1024, 1),
    }
    # A run that is counted is too slow for its times to mean anything.
    print(json.dumps({"tasks": done} | (count if counter else cost)))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=("chain", "fanout", "layered", "many"), required=True)
    parser.add_argument("--tasks", type=int, required=True)
    parser.add_argument("--effect", default="any")
    parser.add_argument("--budget", choices=BUDGETS, default="off")
    parser.add_argument("--agents", type=int, default=1)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--count-calls", action="store_true", help="count instead of timing")
    parser.add_argument("--functions", type=int, default=0, metavar="N")
    options = parser.parse_args()
    counter = CallCounter() if options.count_calls else None
    if counter is not None:
        counter.start()
    event_loop.run(measure(options, counter))
    if counter is not None:
        counter.stop()
        for name, calls in list(counter.sum_by_function().items())[: options.functions]:
            print(f"{calls:9} {name}", file=sys.stderr)


if __name__ == "__main__":
    main()
