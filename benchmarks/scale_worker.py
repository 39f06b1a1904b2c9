"""One process of `scale.py`: opens a home, begins or goes on, tells how far it is.

Prints one JSON line for each thing that it has to tell; may be killed at any time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "peers"))
import common
from _noop import NOOP, Inside, directory

from agenthive.core.model.calls import Call, Reply
from agenthive.core.model.control_flow import ApprovalSpec, EachSpec
from agenthive.core.model.states import TaskState
from agenthive.core.model.workflow import InputSpec, TaskSpec, WorkflowSpec
from agenthive.core.values import SECOND
from agenthive.hive import Hive
from agenthive.infra.clock import SystemClock
from agenthive.runtimes import event_loop

LOOK = 0.02
"""Seconds between two looks at how far a run is."""
AT_ONCE = 1000
"""Runs that are submitted or answered at once."""


class Echo(Inside):
    """An agent that gives back its parameters, and counts how many calls are under way."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__(NOOP)
        self.calls = self.most = self._now = 0
        self._seconds = seconds

    async def perform(self, call: Call) -> Reply:
        """What was asked."""
        self.calls += 1
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            if self._seconds:
                await asyncio.sleep(self._seconds)
        finally:
            self._now -= 1
        return Reply(result=call.parameters.get("give", 1))


def tell(**row: Any) -> None:
    """One line for `scale.py`, with the memory that is held."""
    rss, peak = common.status_kb("VmRSS"), common.status_kb("VmHWM")
    print(json.dumps(row | {"rss_kb": rss, "peak_kb": peak}), flush=True)


def items(size: int) -> WorkflowSpec:
    """One task for each of many items, 50 at a time."""
    each = EachSpec(items=list(range(size)), max_items=size, max_parallel=50)
    task = TaskSpec(
        name="each", agent="noop", action="echo", parameters={"give": "{{ item }}"}, for_each=each
    )
    return WorkflowSpec(
        name="items", agents=(NOOP,), tasks=(task,), max_parallel=1_000_000, timeout=None
    )


def layers(size: int) -> WorkflowSpec:
    """A layered run: ten layers, each task reads three of the layer before."""
    tasks = tuple(
        TaskSpec(name=f"t{i}", agent="noop", action="echo", depends_on=tuple(f"t{j}" for j in deps))
        for i, deps in enumerate(common.layered(size))
    )
    return WorkflowSpec(name="layers", agents=(NOOP,), tasks=tasks, max_parallel=1000, timeout=None)


def timer() -> WorkflowSpec:
    """Waits until the time that it is given (microseconds), then ends."""
    task = TaskSpec(name="wait", until="{{ inputs.at }}")
    wanted = {"at": InputSpec(type="string", required=True)}
    return WorkflowSpec(name="timer", tasks=(task,), inputs=wanted, timeout=None)


def asking() -> WorkflowSpec:
    """Waits for somebody to agree."""
    task = TaskSpec(name="ask", approval=ApprovalSpec(message="May it go on?"))
    return WorkflowSpec(name="ask", tasks=(task,), timeout=None)


async def one_run(hive: Hive, options: argparse.Namespace, echo: Echo) -> None:
    """The one large run, from its beginning or from where it is."""
    began = time.perf_counter()
    if options.resume:
        run = (await hive.runs(unfinished=True))[0].run
    else:
        spec = items(options.size) if options.shape == "items" else layers(options.size)
        tell(loaded=time.perf_counter() - began)
        run = await hive.submit(spec)
    tell(begun=time.perf_counter() - began)
    live = hive._resources.driver.runs[run]
    state, working = live.state, time.perf_counter()
    ended = asyncio.ensure_future(hive.wait_for_end(run))
    while not ended.done():
        tell(done=state.counts[TaskState.SUCCEEDED])
        await asyncio.wait([ended], timeout=LOOK if options.shape == "items" else LOOK * 10)
    tell(
        ended=str(ended.result()),
        run=run,
        seconds=time.perf_counter() - working,
        calls=echo.calls,
        most=echo.most,
    )


async def in_parts(todo: list[Any]) -> None:
    """Await these, some at a time."""
    for first in range(0, len(todo), AT_ONCE):
        await asyncio.gather(*(one() for one in todo[first : first + AT_ONCE]))


async def park(hive: Hive, options: argparse.Namespace) -> None:
    """Submit half timers, half approvals, and wait until they stand."""
    half, clock = options.size // 2, SystemClock()
    first, step = clock.now() + options.margin * SECOND, options.spread * SECOND // half
    began, waiting, asks = time.perf_counter(), timer(), asking()

    def timed(i: int) -> Any:
        at = datetime.fromtimestamp((first + i * step) / SECOND, UTC).isoformat()
        return lambda: hive.submit(waiting, {"at": at}, run_id=f"timer-{i:06}")

    def asked(i: int) -> Any:
        return lambda: hive.submit(asks, run_id=f"ask-{i:06}")

    await in_parts([one(i) for i in range(half) for one in (timed, asked)])
    while any(live.state.parked is None for live in hive._resources.driver.runs.values()):
        await hive._resources.runtime.next_commit.wait()
    tell(
        parked=len(hive._resources.driver.runs),
        seconds=time.perf_counter() - began,
        first=first,
        step=step,
    )
    await asyncio.Event().wait()


async def unpark(hive: Hive, options: argparse.Namespace) -> None:
    """Let every timer come, and agree to everything that is asked."""
    asked = await hive.approvals.list()
    began = time.perf_counter()
    await in_parts(
        [
            lambda one=one: hive.approvals.approve(one.run, one.task, digest=one.digest)
            for one in asked
        ]
    )
    tell(answered=len(asked), seconds=time.perf_counter() - began)
    while left := len(hive._resources.driver.runs):
        tell(left=left)
        await asyncio.sleep(0.5)
    tell(ended="completed")


async def work(options: argparse.Namespace) -> None:
    """Open the home and do what this process is for."""
    echo = Echo(options.call_seconds)
    base, began = common.status_kb("VmRSS"), time.perf_counter()
    hive = Hive.open(
        options.home,
        recover=options.resume,
        agents=directory(lambda spec: echo),
        max_runs=1_000_000,
        max_calls=1000,
    )
    async with hive:
        seconds = time.perf_counter() - began
        tell(opened=seconds, runs=len(hive._resources.driver.runs), base_kb=base)
        if options.shape == "parked":
            await (unpark if options.resume else park)(hive, options)
        else:
            await one_run(hive, options, echo)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home")
    parser.add_argument("--shape", choices=("items", "layers", "parked"), required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--call-seconds", type=float, default=0.0)
    parser.add_argument("--margin", type=int, default=0)
    parser.add_argument("--spread", type=int, default=1)
    parser.add_argument("--resume", action="store_true")
    event_loop.run(work(parser.parse_args()))


if __name__ == "__main__":
    main()
