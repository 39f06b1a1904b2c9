"""The process that is killed: a hive on disk, with workflows in which things go wrong.

Reads lines ``FOLDER N,M,...`` from standard input: a first process kills itself at its N-th crash
point, the next at its M-th, and so on; the last one lives. Each is a fork of this one, so it starts
in no time. What the agents do stands in FOLDER/ledger, written through to the disk line by line.
Prints one JSON line for each line read. It judges nothing: `judge.py` does, from outside.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from agenthive.agents.directory import Directory
from agenthive.core.driver import Driver
from agenthive.core.policies.retry import RetryPolicy, RetryStrategy
from agenthive.core.ports import Batch, Call, Fault, Reply
from agenthive.core.spec import AgentSpec, CompensationSpec, Effect, TaskSpec, WorkflowSpec
from agenthive.errors import RunNotFound, StoreUnavailable
from agenthive.hive import Hive
from agenthive.stores.sqlite import SqliteStore

PATIENCE = 6.0
STUCK = 3
WRITING = 0.003
"""Seconds that a write takes at least, so that much can happen meanwhile."""
REFUSED = 6
"""The write of a life that the store refuses at first; and so the one that brings run `last`."""


def soon(most: int, seconds: float = 0.02) -> RetryPolicy:
    return RetryPolicy(
        max_attempts=most,
        strategy=RetryStrategy.CONSTANT_DELAY,
        initial_delay=seconds,
        jitter=False,
    )


def task(name: str, *after: str, do: str = "work", **more: Any) -> TaskSpec:
    more.setdefault("retry", soon(2))
    return TaskSpec(name=name, agent=more.pop("agent", "a"), action=do, depends_on=after, **more)


def flow(*tasks: TaskSpec, **more: Any) -> WorkflowSpec:
    agents = tuple(
        AgentSpec(name=name, type="custom", endpoint="custom://w", max_concurrency=most)
        for name, most in (("a", None), ("narrow", 1))
    )
    more.setdefault("max_parallel", 4)
    return WorkflowSpec(name="kills", agents=agents, tasks=tasks, timeout=None, **more)


UNDO = CompensationSpec(agent="a", action="work", retry=soon(3))
WORKFLOWS = {
    "diamond": flow(
        task("top", effect=Effect.KEYED),
        task("left", "top"),
        task("right", "top", do="slow"),
        task("bottom", "left", "right"),
        task("read", "bottom", effect=Effect.NONE),
    ),
    "flaky": flow(task("fails", do="flaky"), task("then", "fails")),
    "asked": flow(task("limited", do="limited")),
    "never": flow(task("hopeless", do="hopeless")),
    "slots": flow(*(task(f"s{n}", do="slow") for n in range(4)), max_parallel=2),
    "narrow": flow(*(task(f"n{n}", do="slow", agent="narrow") for n in range(3))),
    "saga": flow(
        task("one", compensate=UNDO),
        task("two", "one", compensate=UNDO),
        task("bad", "two", do="refuse"),
    ),
    "stop": flow(
        task("long", do="slow"), task("after", "long"), task("bad", do="refuse"), task("z", "after")
    ),
    "cancel": flow(task("forever", do="forever"), task("after", "forever")),
    "once": flow(task("acts", do="slow", effect=Effect.ONCE), task("then", "acts")),
    "hangs": flow(task("acts", do="forever", effect=Effect.ONCE, timeout=0.05)),
    "last": flow(task("only")),
}
ENDLESS = {"hangs"}
"""Their outcome is never known: they end up waiting for somebody."""


class Life:
    """One process, from its start to its end or its crash."""

    def __init__(self, folder: Path, crash_at: int) -> None:
        self.home = folder / "home"
        self.ledger = folder / "ledger"
        self.crash_at, self.points, self.writes = crash_at, 0, 0
        self.was_last = False
        self.cancelled = asyncio.Event()

    def point(self) -> None:
        """A place where the process may die."""
        self.points += 1
        if self.points == self.crash_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def refuses(self, batch: Batch) -> bool:
        """Whether the disk takes nothing just now."""
        self.writes += 1
        last = not self.was_last and any(row.run == "last" for row in batch.runs)
        self.was_last |= last
        return last or self.writes == REFUSED

    def write(self, what: str, **more: Any) -> None:
        """A line in the ledger, on disk when this returns."""
        line = json.dumps({"what": what} | more) + "\n"
        handle = os.open(self.ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(handle, line.encode())
        os.fsync(handle)
        os.close(handle)

    def written(self, what: str, **more: Any) -> bool:
        wanted = {"what": what} | more
        text = self.ledger.read_text() if self.ledger.exists() else ""
        lines = [json.loads(line) for line in text.splitlines()]
        return any(wanted.items() <= line.items() for line in lines)

    async def work(self, call: Call) -> Any:
        """The agent. Its effect is the line `acted`."""
        about = {"run": call.run, "task": call.task, "attempt": call.attempt, "key": call.key}
        self.point()
        self.write("begin", dependencies=call.dependencies, **about)
        try:
            return await self._do(call, about)
        finally:
            self.write("end", **about)
            self.point()

    async def _do(self, call: Call, about: dict[str, Any]) -> Any:
        if call.action == "forever":
            self.cancelled.set()
            self.write("acted", **about)
            await asyncio.sleep(60)
        if call.action == "slow":
            await asyncio.sleep(0.01)
        if call.action == "refuse":
            return _fault("refused", retriable=False)
        if call.action == "hopeless":
            return _fault("connection")
        if call.action in ("flaky", "limited") and not self.written("failed", task=call.task):
            self.write("failed", **about)
            wait = 0.1 if call.action == "limited" else None
            return _fault("connection", retry_after=wait)
        self.write("acted", **about)
        self.point()
        return f"{call.task} of attempt {call.attempt}"

    async def run(self) -> None:
        agents = Directory()
        agents.register("w", self.work)
        self.write("life")
        async with Hive.open(self.home, recover=True, max_runs=5, agents=agents) as hive:
            known = {row.run for row in await hive.runs()}
            await asyncio.gather(*(self.see_to(hive, run, known) for run in WORKFLOWS))
        self.write("lived", points=self.points)

    async def see_to(self, hive: Hive, run: str, known: set[str]) -> None:
        """Submit it if nobody has; wait for its end."""
        if run not in known and not self.written("accepted", run=run):
            if run == "last":  # comes while the others are being written
                await asyncio.sleep(0.005)
            await insist(lambda: hive.submit(WORKFLOWS[run], run_id=run))
            self.write("accepted", run=run)
            self.point()
        if run == "cancel":
            await self.cancel(hive)
        await hive.wait(run)

    async def cancel(self, hive: Hive) -> None:
        if self.written("cancelled"):
            return
        try:
            if "cancel" in {row.run for row in await hive.runs(unfinished=True)}:
                await asyncio.wait([asyncio.ensure_future(self.cancelled.wait())], timeout=0.2)
                await insist(lambda: hive.cancel("cancel"))
        except RunNotFound:
            pass
        self.write("cancelled", run="cancel")
        self.point()


async def insist(ask: Callable[[], Awaitable[Any]]) -> None:
    """Ask until the store takes it."""
    while True:
        try:
            await ask()
        except StoreUnavailable:
            await asyncio.sleep(0.01)
        else:
            return


def _fault(kind: str, **more: Any) -> Reply:
    return Reply(fault=Fault(kind=kind, message="no", **more))


LIFE: Life | None = None


def place_crash_points() -> None:
    """Around what writes and what is done after it."""
    append, committed = SqliteStore.append, Driver.committed

    async def slow_append(self: SqliteStore, batch: Batch) -> None:
        await asyncio.sleep(WRITING)
        if LIFE is not None and LIFE.refuses(batch):
            raise StoreUnavailable("full, for a moment")
        await append(self, batch)

    def watched_append(self: SqliteStore, batch: Batch) -> Any:
        _point()
        return asyncio.ensure_future(slow_append(self, batch))

    def watched_committed(self: Driver, *args: Any) -> Any:
        _point()
        actions = committed(self, *args)
        _point()
        return actions

    SqliteStore.append = watched_append  # type: ignore[assignment, method-assign]
    Driver.committed = watched_committed  # type: ignore[method-assign]


def _point() -> None:
    if LIFE is not None:
        LIFE.point()


def live(folder: Path, crash_at: int) -> int:
    """A forked process: 0, -9 or STUCK."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        global LIFE
        LIFE = Life(folder, crash_at)
        asyncio.run(asyncio.wait_for(LIFE.run(), PATIENCE))
        code = 0
    except TimeoutError:
        code = STUCK
    except BaseException as error:
        LIFE.write("broke", error=f"{type(error).__name__}: {error}")
    finally:
        os._exit(code)


def main() -> None:
    place_crash_points()
    for line in sys.stdin:
        name, _, points = line.strip().partition(" ")
        codes = [live(Path(name), int(point)) for point in points.split(",")]
        while codes[-1] == -signal.SIGKILL:
            codes.append(live(Path(name), 0))
        sys.stdout.write(json.dumps({"codes": codes, "stuck": codes[-1] == STUCK}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
