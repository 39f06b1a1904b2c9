"""How well real workflows are scheduled: makespan against its lower bound, on virtual time.

    python3 x.py bench dags [--slots 8]

For each graph of tests/data/dags: the makespan of the shipped core in the simulated runtime with
durations declared and not declared, divided by max(critical path, work / slots); beside it the same
ratio of a first-come-first-served list scheduler. One JSON line a graph, then the means.
"""

from __future__ import annotations

import argparse
import json
from heapq import heappop, heappush
from pathlib import Path

from agenthive.core.engine.driver import Driver
from agenthive.core.model.calls import Call, Reply
from agenthive.core.model.workflow import AgentSpec, TaskSpec, WorkflowSpec
from agenthive.core.values import SECOND, JSONObject
from agenthive.simulation.ports import Faults, SimulatedReply
from agenthive.simulation.runtime import SimulatedRuntime
from agenthive.stores.memory import MemoryStore

DAGS = Path(__file__).parent.parent / "tests" / "data" / "dags"


class Measured:
    """A world in which every task takes the time that was measured."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds = seconds

    def answer(self, call: Call, agent: AgentSpec, now: int) -> SimulatedReply:
        """Success after the measured time."""
        took = round(self.seconds[call.task] * SECOND)
        return SimulatedReply(reply=Reply(result=None), acts_after=took, replies_after=(took,))


class Ending:
    """Notes when the run ended."""

    def __init__(self) -> None:
        self.first = self.last = 0

    def observe(self, now: int, kind: str, data: JSONObject) -> None:
        """Keep the times of the first call and of the last answer."""
        if kind == "called" and not self.first:
            self.first = now
        if kind == "replied":
            self.last = now


def makespan(tasks: list[dict], slots: int, *, declared: bool) -> float:
    """Seconds that the shipped core takes."""
    agent = AgentSpec(name="a", type="custom", endpoint="custom://a", timeout=None)
    specs = tuple(
        TaskSpec(
            name=task["id"],
            agent="a",
            action=task["id"].rsplit("_", 1)[0],
            depends_on=tuple(task["needs"]),
            estimated_duration=task["seconds"] if declared else None,
        )
        for task in tasks
    )
    spec = WorkflowSpec(name="dag", agents=(agent,), tasks=specs, max_parallel=slots, timeout=None)
    ending = Ending()
    world = Measured({task["id"]: task["seconds"] for task in tasks})
    runtime = SimulatedRuntime(1, MemoryStore(), world, ending, Faults(), Driver)
    runtime.submit(0, "run", spec, {})
    if not runtime.run() or runtime.driver.runs:
        raise RuntimeError("the run did not end")
    return (ending.last - ending.first) / SECOND


def first_come(tasks: list[dict], slots: int) -> float:
    """Seconds that first-come-first-served list scheduling takes."""
    seconds = {task["id"]: task["seconds"] for task in tasks}
    after: dict[str, list[str]] = {task["id"]: [] for task in tasks}
    pending = {task["id"]: len(task["needs"]) for task in tasks}
    for task in tasks:
        for need in task["needs"]:
            after[need].append(task["id"])
    ready = [task["id"] for task in tasks if not task["needs"]]
    running: list[tuple[float, int, str]] = []
    now, number = 0.0, 0
    while ready or running:
        while ready and len(running) < slots:
            name = ready.pop(0)
            number += 1
            heappush(running, (now + seconds[name], number, name))
        now, _, name = heappop(running)
        for other in after[name]:
            pending[other] -= 1
            if not pending[other]:
                ready.append(other)
    return now


def bound(tasks: list[dict], slots: int) -> float:
    """max(critical path, work / slots): no schedule is shorter."""
    longest: dict[str, float] = {}
    by_name = {task["id"]: task for task in tasks}

    def path(name: str) -> float:
        if name not in longest:
            needs = by_name[name]["needs"]
            longest[name] = by_name[name]["seconds"] + max(map(path, needs), default=0.0)
        return longest[name]

    return max(max(map(path, by_name)), sum(task["seconds"] for task in tasks) / slots)


def main() -> None:
    """Print one line a graph and the means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slots", type=int, default=8)
    slots = parser.parse_args().slots
    rows = []
    for file in sorted(DAGS.glob("*.json")):
        tasks = json.loads(file.read_text())["tasks"]
        least = bound(tasks, slots)
        row = {
            "graph": file.stem,
            "tasks": len(tasks),
            "declared": makespan(tasks, slots, declared=True) / least,
            "undeclared": makespan(tasks, slots, declared=False) / least,
            "first_come": first_come(tasks, slots) / least,
        }
        rows.append(row)
        print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}))
    kinds = ("declared", "undeclared", "first_come")
    means = {kind: round(sum(row[kind] for row in rows) / len(rows), 4) for kind in kinds}
    worst = {
        f"{kind}_worst_vs_first_come": round(max(r[kind] / r["first_come"] for r in rows), 4)
        for kind in ("declared", "undeclared")
    }
    print(json.dumps({"graph": "mean", "graphs": len(rows), "slots": slots} | means | worst))


if __name__ == "__main__":
    main()
