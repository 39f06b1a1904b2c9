"""The process that spends: calls that are paid for, and a process that is killed about them.

    python tests/lab/bills/subject.py FOLDER SEED LIFE ...

Each LIFE is a fork of this process. `first.N.WHERE` submits a run and kills itself at the N-th
charge: in the `call` that was charged, before its answer is written (`answer`), or once it is
(`written`). `again.N.WHERE` takes over and is killed likewise. `goes` takes over until the run
waits for a person. `costs` and `budget` are the commands, whose output goes to FOLDER/LIFE.json.
`settles` says of every call in doubt what the other side charged, and lets the run end.

Whoever charges keeps FOLDER/charged, written through line by line. Judges nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(1, str(Path(__file__).resolve().parents[3]))

from agenthive import AgentRegistry, Hive
from agenthive.core.journal.records import Batch
from agenthive.core.model.calls import Call, Fault, Reply, Usage
from agenthive.core.model.control_flow import WaitSpec
from agenthive.core.model.workflow import AgentSpec, BudgetSpec, Effect, TaskSpec, WorkflowSpec
from agenthive.core.policies.fault_classes import FaultClass
from agenthive.core.policies.retry import RetryPolicy, RetryStrategy
from agenthive.stores.sqlite import SqliteStore

RUN = "spends"
MOST = 1_000_000
"""Nano-dollars that one call costs at most."""
TASKS = 8
LIMIT = 3 * TASKS * MOST
END = "end"
"""The task that waits for a person, and their signal: until then the run is open."""


def make_workflow(seed: int) -> WorkflowSpec:
    """A few paid calls of every effect, and a last task that waits."""
    rng = Random(seed)
    agent = AgentSpec(
        name="paid", type="custom", endpoint="custom://paid", max_cost=MOST, circuit_breaker=None
    )
    retry = RetryPolicy(
        max_attempts=20, strategy=RetryStrategy.CONSTANT_DELAY, initial_delay=0.01, jitter=False
    )
    names = [f"t{number}" for number in range(TASKS)]
    tasks = [
        TaskSpec(
            name=name,
            agent="paid",
            action="work",
            retry=retry,
            depends_on=tuple(earlier for earlier in names[:number] if rng.random() < 0.3),
            effect=rng.choice(list(Effect)),
        )
        for number, name in enumerate(names)
    ]
    last = TaskSpec(name=END, depends_on=tuple(names), wait_for=WaitSpec(signal=END))
    return WorkflowSpec(
        name="bills",
        agents=(agent,),
        tasks=(*tasks, last),
        max_parallel=rng.choice((1, 3, 8)),
        budget=BudgetSpec(limit=LIMIT),
        timeout=None,
    )


class Life:
    """One process, from its start to its end or its kill."""

    def __init__(self, folder: Path, seed: int, life: str) -> None:
        self.folder, self.seed, self.life = folder, seed, life
        self.kind, *parts = life.split(".")
        self.kill_at = int(parts[0]) if parts else 0
        self.kill_place = parts[1] if parts else ""
        self.count = 0
        self.armed = False
        self.charged = folder / "charged"

    def read_bills(self) -> list[dict[str, Any]]:
        if not self.charged.exists():
            return []
        return [json.loads(line) for line in self.charged.read_text().splitlines()]

    def charge_call(self, call: Call) -> int:
        """Who is asked under a key that was charged already charges nothing more, if it heeds it.

        A pure read has no effect but its price.
        """
        heeds = make_workflow(self.seed).tasks[int(call.task[1:])].effect is Effect.KEYED
        prior = [bill for bill in self.read_bills() if bill["key"] == call.key]
        if heeds and prior:
            return int(prior[0]["amount"])
        amount = Random(f"{self.seed} {call.task} {call.attempt}").randint(1, MOST)
        bill = {"task": call.task, "attempt": call.attempt, "key": call.key, "amount": amount}
        with self.charged.open("a") as file:
            file.write(json.dumps(bill) + "\n")
            file.flush()
            os.fsync(file.fileno())
        return amount

    async def work(self, call: Call) -> Reply:
        """The agent: it charges, and the process may be killed about it."""
        rng = Random(f"{self.seed} {call.task} {call.attempt} {self.life}")
        await asyncio.sleep(rng.choice((0, 0, 0.002)))
        if rng.random() < 0.15:
            fault = Fault(
                kind="unavailable", message="not now", counts=False, class_=FaultClass.NOT_SENT
            )
            return Reply(fault=fault)
        amount = self.charge_call(call)
        self.count += 1
        if self.count == self.kill_at:
            if self.kill_place == "call":
                os.kill(os.getpid(), signal.SIGKILL)
            self.armed = True
        if rng.random() < 0.1:
            return Reply(fault=Fault(kind="connection", message="the answer was lost"))
        return Reply(result=call.task, usage=Usage(model="paid", cost=amount))

    def arm_kill(self) -> None:
        """Die about the write that has the answer of the call that was charged."""
        append = SqliteStore.append

        async def append_and_die(store: SqliteStore, batch: Batch) -> None:
            if self.armed and self.kill_place == "answer":
                os.kill(os.getpid(), signal.SIGKILL)
            armed = self.armed
            await append(store, batch)
            if armed:
                os.kill(os.getpid(), signal.SIGKILL)

        SqliteStore.append = append_and_die  # type: ignore[method-assign]

    async def run(self) -> None:
        """Open, go on, and what this life is for."""
        agents = AgentRegistry()
        agents.register("paid", self.work)
        async with Hive.open(self.folder / "home", recover=True, agents=agents) as hive:
            if self.kind == "first":
                await hive.submit(make_workflow(self.seed), run_id=RUN)
            elif self.kind == "settles":
                await self.settle_doubts(hive)
                await hive.signals.send(RUN, END, "go", actor="ann")
            if self.kind != "settles":
                await hive.wait_for_end(RUN)
                return
            await hive.wait(RUN)

    async def settle_doubts(self, hive: Hive) -> None:
        """Say what came of each call in doubt, and what it cost by the bills."""
        for _ in range(10 * TASKS):
            await hive.wait_for_end(RUN)
            report = await hive.report(RUN)
            unknown = [n for n, task in report.tasks.items() if task.status == "unknown_outcome"]
            if not unknown:
                break
            await hive.resolve_outcome(
                RUN, unknown[0], "succeeded", result="found out", actor="ann"
            )
        for task, attempt in await self.list_doubts(hive):
            paid = [b for b in self.read_bills() if (b["task"], b["attempt"]) == (task, attempt)]
            cost = sum(int(bill["amount"]) for bill in paid)
            await hive.budgets.settle(
                RUN, task, cost, attempt=attempt, actor="ann", reason="the bill"
            )

    async def list_doubts(self, hive: Hive) -> list[tuple[str, int]]:
        state = await hive.journal.load_state(RUN)
        return [(state.graph.keys[index], attempt) for index, attempt in state.holds]


def run_command(life: Life) -> int:
    """The output of a command, in a file."""
    from agenthive.cli.root import main as command

    arguments = {"costs": ["costs", RUN, "--json"], "budget": ["budget", "show", RUN, "--json"]}
    kind = life.kind.rstrip("0123456789")
    with (life.folder / f"{life.life}.json").open("w") as file:
        os.dup2(file.fileno(), 1)
        sys.argv = ["agenthive", *arguments[kind], "--home", str(life.folder / "home")]
        try:
            return int(command() or 0)
        except SystemExit as exit_error:
            return int(exit_error.code or 0)


def run_life(life: Life) -> int:
    if life.kind.startswith(("costs", "budget")):
        return run_command(life)
    if life.kill_at:
        life.arm_kill()
    asyncio.run(life.run())
    return 0


def main() -> int:
    folder, seed, *lives = sys.argv[1:]
    for name in lives:
        child = os.fork()
        if not child:
            code = 1
            with contextlib.suppress(Exception):
                code = run_life(Life(Path(folder), int(seed), name))
            os._exit(code)
        exit_code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps({"life": name, "ended": exit_code}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
