"""The process that writes: a real hive in a real home, which says aloud what it was promised.

    python tests/lab/lives.py HOME SAID LIFE ...

Each LIFE is a fork of this process: `first` submits runs and sees them through, `killed.N` submits
more and kills itself with SIGKILL after N results, `looks` reads what is there and shows it,
`last` takes over what is left and ends it, `full` is a long one, `large` has results of many
bytes, `sick` has a disk that may refuse for a while, and asks again. Every promise is a JSON line
in SAID, written when it is given: a run is accepted, an agent is called (so the intent must be on
disk), a fact is told to whoever watches, a run has ended.
Judges nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from agenthive import AgentHiveError, AgentRegistry, Hive, Workflow, WorkflowSpec
from agenthive.core.model.calls import Call
from agenthive.errors import StoreUnavailable
from agenthive.hive import open_journal

RUNS_PER_LIFE = {"first": 3, "killed": 2, "last": 1, "full": 2, "large": 1, "sick": 3}
"""How many runs each life submits."""
MAX_ATTEMPTS = 100
"""How often a refused run is submitted again."""


def build_workflow(width: int, depth: int, size: int) -> WorkflowSpec:
    """Layers of tasks, each task after two of the layer before; results of ``size`` bytes."""
    flow = Workflow("lab", max_parallel=4)
    agent = flow.agent("w", type="custom", endpoint="custom://w")
    for layer in range(depth):
        for n in range(width):
            dependencies = {f"t{layer - 1}.{(n + m) % width}" for m in (0, 1)} if layer else ()
            flow.task(
                f"t{layer}.{n}",
                agent,
                "work",
                depends_on=sorted(dependencies),
                parameters={"size": size},
                effect=("keyed", "any", "once")[n % 3],
            )
    return flow.build()


class Life:
    """One process, from its start to its end."""

    def __init__(self, home: Path, promise_file: Path, life: str) -> None:
        self.home, self.life, self.results = home, life, 0
        self.kind, _, killed_at = life.partition(".")
        self.killed_at = int(killed_at or 0)
        self._handle = os.open(promise_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def record_promise(self, kind: str, **fields: Any) -> None:
        """A promise was given: from here on the outside world counts on it."""
        os.write(self._handle, (json.dumps({"what": kind} | fields) + "\n").encode())

    async def work(self, call: Call) -> str:
        """The agent."""
        self.record_promise(
            "called", run=call.run, task=call.task, attempt=call.attempt, key=call.key
        )
        await asyncio.sleep(0)
        self.results += 1
        if self.results == self.killed_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return f"{call.task} of {call.run}".ljust(int(str(call.parameters["size"])), ".")

    async def run(self) -> None:
        """Open, take over, submit, see through, close."""
        agents = AgentRegistry()
        agents.register("w", self.work)
        async with Hive.open(self.home, recover=True, agents=agents) as hive:
            unfinished = [row.run for row in await hive.runs(unfinished=True)]
            resumed = [self.watch_run(hive, run) for run in unfinished]
            submitted = [
                self.submit_run(hive, f"{self.life}-{n}", n)
                for n in range(RUNS_PER_LIFE[self.kind])
            ]
            await asyncio.gather(*resumed, *submitted)

    async def inspect_home(self) -> None:
        """Only read, as a second process does, and show what there is."""
        async with open_journal(self.home) as reader:
            for row in await reader.list_runs():
                async for event in reader.read_events(row.run):
                    self.record_promise(
                        "told", run=row.run, seq=event.seq, at=event.at, type=event.type
                    )

    async def submit_run(self, hive: Hive, run: str, n: int) -> None:
        width, depth = (2, 150) if self.life == "full" else (3, 3)
        size = 200 if n else 70_000 if self.life == "large" else 9000
        flow = build_workflow(width, depth, size)
        await self.retry_refused(lambda: hive.submit(flow, run_id=run))
        self.record_promise("accepted", run=run)
        await self.watch_run(hive, run)

    async def retry_refused(self, operation: Callable[[], Awaitable[Any]]) -> Any:
        """Ask until the hive takes it; what a disk that is full for a moment refuses, it may."""
        for _ in range(MAX_ATTEMPTS if self.kind == "sick" else 0):
            try:
                return await operation()
            except StoreUnavailable as error:
                self.record_promise("waits", message=str(error))
                await asyncio.sleep(0.02)
        return await operation()

    async def watch_run(self, hive: Hive, run: str) -> None:
        async for event in hive.watch(run):
            self.record_promise("told", run=run, seq=event.seq, at=event.at, type=event.type)
        self.record_promise("ended", run=run, status=str((await hive.report(run)).status))


def run_life(life: Life) -> int:
    """0, or the exit code of the error that it ended with, which is said too."""
    try:
        asyncio.run(life.inspect_home() if life.kind == "looks" else life.run())
    except AgentHiveError as error:
        life.record_promise("refused", error=type(error).__name__, message=str(error))
        return error.exit_code
    except BaseException as error:
        life.record_promise("broke", error=f"{type(error).__name__}: {error}")
        return 1
    return 0


def main() -> int:
    home, promise_file, *lives = sys.argv[1:]
    code = 0
    for name in lives:
        child = os.fork()
        if not child:
            with contextlib.suppress(BaseException):
                os._exit(run_life(Life(Path(home), Path(promise_file), name)))
            os._exit(1)
        exit_code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if exit_code and (name[:6], exit_code) != ("killed", -signal.SIGKILL):
            code = exit_code
    return abs(code)


if __name__ == "__main__":
    sys.exit(main())
