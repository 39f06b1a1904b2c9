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

from agenthive import AgentHiveError, Directory, Hive, Workflow, WorkflowSpec
from agenthive.core.model.calls import Call
from agenthive.errors import StoreUnavailable
from agenthive.hive import reading

ABOUT = {"first": 3, "killed": 2, "last": 1, "full": 2, "large": 1, "sick": 3}
"""How many runs each life submits."""
TIMES = 100
"""How often a refused run is submitted again."""


def shape(width: int, depth: int, size: int) -> WorkflowSpec:
    """Layers of tasks, each task after two of the layer before; results of ``size`` bytes."""
    flow = Workflow("lab", max_parallel=4)
    agent = flow.agent("w", type="custom", endpoint="custom://w")
    for layer in range(depth):
        for n in range(width):
            before = {f"t{layer - 1}.{(n + m) % width}" for m in (0, 1)} if layer else ()
            flow.task(
                f"t{layer}.{n}", agent, "work", depends_on=sorted(before),
                parameters={"size": size}, effect=("keyed", "any", "once")[n % 3],
            )  # fmt: skip
    return flow.build()


class Life:
    """One process, from its start to its end."""

    def __init__(self, home: Path, said: Path, life: str) -> None:
        self.home, self.life, self.results = home, life, 0
        self.kind, _, killed_at = life.partition(".")
        self.killed_at = int(killed_at or 0)
        self._said = os.open(said, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def say(self, what: str, **more: Any) -> None:
        """A promise was given: from here on the outside world counts on it."""
        os.write(self._said, (json.dumps({"what": what} | more) + "\n").encode())

    async def work(self, call: Call) -> str:
        """The agent."""
        self.say("called", run=call.run, task=call.task, attempt=call.attempt, key=call.key)
        await asyncio.sleep(0)
        self.results += 1
        if self.results == self.killed_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return f"{call.task} of {call.run}".ljust(int(str(call.parameters["size"])), ".")

    async def live(self) -> None:
        """Open, take over, submit, see through, close."""
        agents = Directory()
        agents.register("w", self.work)
        async with Hive.open(self.home, recover=True, agents=agents) as hive:
            left = [row.run for row in await hive.runs(unfinished=True)]
            old = [self.see_through(hive, run) for run in left]
            new = [self.begin(hive, f"{self.life}-{n}", n) for n in range(ABOUT[self.kind])]
            await asyncio.gather(*old, *new)

    async def look(self) -> None:
        """Only read, as a second process does, and show what there is."""
        async with reading(self.home) as archive:
            for row in await archive.runs():
                async for fact in archive.events(row.run):
                    self.say("told", run=row.run, seq=fact.seq, at=fact.at, type=fact.type)

    async def begin(self, hive: Hive, run: str, n: int) -> None:
        width, depth = (2, 150) if self.life == "full" else (3, 3)
        size = 200 if n else 70_000 if self.life == "large" else 9000
        flow = shape(width, depth, size)
        await self.taken(lambda: hive.submit(flow, run_id=run))
        self.say("accepted", run=run)
        await self.see_through(hive, run)

    async def taken(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Ask until the hive takes it; what a disk that is full for a moment refuses, it may."""
        for _ in range(TIMES if self.kind == "sick" else 0):
            try:
                return await ask()
            except StoreUnavailable as error:
                self.say("waits", message=str(error))
                await asyncio.sleep(0.02)
        return await ask()

    async def see_through(self, hive: Hive, run: str) -> None:
        async for fact in hive.watch(run):
            self.say("told", run=run, seq=fact.seq, at=fact.at, type=fact.type)
        self.say("ended", run=run, status=str((await hive.report(run)).status))


def code_of(life: Life) -> int:
    """0, or the exit code of the error that it ended with, which is said too."""
    try:
        asyncio.run(life.look() if life.kind == "looks" else life.live())
    except AgentHiveError as error:
        life.say("refused", error=type(error).__name__, message=str(error))
        return error.exit_code
    except BaseException as error:
        life.say("broke", error=f"{type(error).__name__}: {error}")
        return 1
    return 0


def main() -> int:
    home, said, *lives = sys.argv[1:]
    code = 0
    for name in lives:
        child = os.fork()
        if not child:
            with contextlib.suppress(BaseException):
                os._exit(code_of(Life(Path(home), Path(said), name)))
            os._exit(1)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if ended and (name[:6], ended) != ("killed", -signal.SIGKILL):
            code = ended
    return abs(code)


if __name__ == "__main__":
    sys.exit(main())
