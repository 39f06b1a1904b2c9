"""The process that is killed: a hive on disk, with workflows in which things go wrong.

Reads lines ``{"folder", "scenario", "points" or "after"}`` from standard input: a first process
kills itself at its N-th crash point (at the -Nth while it opens the home; or is killed after so
many seconds), the next at the next number, and so on; the last one lives. Each is a fork of this
one, so it starts in no time. What the agents do stands in FOLDER/ledger, written through to the
disk line by line; what was acknowledged goes to the standard output of each process, which is
FOLDER/told. Answers one JSON line for each line read. It judges nothing: `oracle.py` does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

sys.path.insert(1, str(Path(__file__).resolve().parents[3]))
import apsw

from agenthive.agents.registry import AgentRegistry
from agenthive.core.engine.driver import Driver
from agenthive.core.journal.records import Batch
from agenthive.core.model.calls import Call, Fault, Reply
from agenthive.core.model.control_flow import ApprovalSpec, EachSpec, WaitSpec
from agenthive.core.model.workflow import (
    AgentSpec,
    CompensationSpec,
    Effect,
    FailureStrategy,
    TaskSpec,
    WorkflowSpec,
)
from agenthive.core.policies.circuit_breaker import BreakerPolicy
from agenthive.core.policies.retry import RetryPolicy, RetryStrategy
from agenthive.errors import NotFound, RunNotFound, StoreUnavailable
from agenthive.hive import Hive
from agenthive.stores.sqlite import SqliteStore
from tests.lab.kills.flows import (
    AGENTS,
    ASK,
    EACH,
    ITEMS,
    NAP,
    SCENARIOS,
    SIGNAL,
    Flow,
    Task,
    find_flow,
)

STUCK = 3
FILES = {"open", "os.mkdir", "os.rename", "os.remove", "os.truncate", "os.chmod", "socket.bind"}
"""What is done to files while a home is opened, as Python tells it; SQLite tells its statements."""
PAUSE = 0.3
"""Seconds for which a breaker stays open: the flows fail often enough to open one now and then."""
WRITING = 0.003
"""Seconds that a write to a rough disk takes at least, so that much can happen meanwhile."""
REFUSED = 6
"""The write of a life that a rough disk refuses at first; and so the one that brings run `last`."""


def quick_retry(max_attempts: int) -> RetryPolicy:
    return RetryPolicy(
        max_attempts=max_attempts,
        strategy=RetryStrategy.CONSTANT_DELAY,
        initial_delay=0.02,
        jitter=False,
    )


COMPENSATION = CompensationSpec(agent="a", action="work", retry=quick_retry(3))


def spec_of(flow: Flow) -> WorkflowSpec:
    """The plain description as the core takes it."""
    agents = tuple(
        AgentSpec(
            name=name,
            type="custom",
            endpoint="custom://w",
            max_concurrency=slots,
            circuit_breaker=BreakerPolicy(recovery_timeout=PAUSE),
        )
        for name, slots in AGENTS.items()
    )
    return WorkflowSpec(
        name="kills",
        agents=agents,
        tasks=tuple(map(_build_task, flow.tasks)),
        max_parallel=flow.max_parallel,
        failure_strategy=FailureStrategy(flow.strategy),
        timeout=None,
    )


def _build_task(task: Task) -> TaskSpec:
    if task.wrapper == SIGNAL:
        return TaskSpec(
            name=task.name, depends_on=task.depends_on, wait_for=WaitSpec(signal=task.name)
        )
    if task.wrapper == NAP:
        return TaskSpec(name=task.name, depends_on=task.depends_on, delay=0.02)
    return TaskSpec(
        name=task.name,
        agent=task.agent,
        action=task.action,
        depends_on=task.depends_on,
        effect=Effect(task.effect),
        retry=quick_retry(task.max_attempts),
        timeout=task.timeout,
        compensate=COMPENSATION if task.has_compensation else None,
        parameters={"for": task.name} if task.wrapper == ASK else {},
        approval=ApprovalSpec(message="May it?") if task.wrapper == ASK else None,
        for_each=EachSpec(items=list(range(ITEMS))) if task.wrapper == EACH else None,
    )


def read_lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


class Life:
    """One process, from its start to its end or its crash."""

    def __init__(self, folder: Path, scenario: str, crash_point: int, number: int) -> None:
        self.home = folder / "home"
        self.ledger = folder / "ledger"
        self.scenario = SCENARIOS[scenario]
        self.crash_point, self.points, self.openings, self.writes = crash_point, 0, 0, 0
        self.number, self.opened = number, True
        self.was_last = False
        self.recorded = [*read_lines(self.ledger), *read_lines(folder / "told")]
        self.working: dict[str, asyncio.Event] = {}

    def reach_point(self) -> None:
        """A place where the process may die."""
        self.points += 1
        if self.points == self.crash_point:
            os.kill(os.getpid(), signal.SIGKILL)

    def reach_opening(self) -> None:
        """A place where it may die while it makes or opens the home: a file or a statement."""
        if not self.opened:
            self.openings += 1
            if self.openings == -self.crash_point:
                os.kill(os.getpid(), signal.SIGKILL)

    def refuses_batch(self, batch: Batch) -> bool:
        """Whether a rough disk takes nothing just now."""
        self.writes += 1
        last = not self.was_last and any(row.run == "last" for row in batch.runs)
        self.was_last |= last
        return last or self.writes == REFUSED

    def write_ledger(self, kind: str, **fields: Any) -> None:
        """A line in the ledger, on disk when this returns."""
        handle = os.open(self.ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._put_line(handle, {"what": kind} | fields)
        os.fsync(handle)
        os.close(handle)

    def acknowledge(self, kind: str, **fields: Any) -> None:
        """A line on standard output: whoever sees it relies on it."""
        self._put_line(1, {"what": kind} | fields)

    def _put_line(self, handle: int, line: dict[str, Any]) -> None:
        os.write(handle, (json.dumps(line) + "\n").encode())
        self.recorded.append(line)

    def was_recorded(self, kind: str, **fields: Any) -> bool:
        """Whether such a line was written, in this life or an earlier one."""
        expected = {"what": kind} | fields
        return any(expected.items() <= line.items() for line in self.recorded)

    async def work(self, call: Call) -> Any:
        """The agent. Its effect is the line `acted`."""
        about = {"run": call.run, "task": call.task, "attempt": call.attempt, "key": call.key}
        self.reach_point()
        self.write_ledger("begin", dependencies=call.dependencies, given=call.parameters, **about)
        try:
            return await self._perform(call, about)
        finally:
            self.write_ledger("end", **about)
            self.reach_point()

    async def _perform(self, call: Call, about: dict[str, Any]) -> Any:
        if call.action == "forever":
            self.working.setdefault(call.run, asyncio.Event()).set()
            self.write_ledger("acted", **about)
            await asyncio.sleep(60)
        if call.action == "slow":
            await asyncio.sleep(0.01)
        if call.action == "refuse":
            return _failure_reply("refused", retriable=False)
        if call.action == "hopeless":
            return _failure_reply("connection")
        if call.action in ("flaky", "limited") and not self.was_recorded(
            "failed", run=call.run, task=call.task
        ):
            self.write_ledger("failed", **about)
            wait = 0.1 if call.action == "limited" else None
            return _failure_reply("connection", retry_after=wait)
        self.write_ledger("acted", **about)
        self.reach_point()
        return f"{call.task} of attempt {call.attempt}"

    async def run(self) -> None:
        start = time.monotonic()
        agents = AgentRegistry()
        agents.register("w", self.work)
        self.write_ledger("life", number=self.number)
        self.acknowledge("life", number=self.number)
        self.opened = False
        max_runs = self.scenario.max_runs
        async with Hive.open(self.home, recover=True, max_runs=max_runs, agents=agents) as hive:
            self.opened = True
            seconds = round(time.monotonic() - start, 4)
            self.write_ledger("ready", seconds=seconds, openings=self.openings)
            known_runs = {row.run for row in await hive.runs()}
            await asyncio.gather(
                *(self.complete_run(hive, run, known_runs) for run in self.scenario.runs)
            )
            for row in await hive.runs(unfinished=True):
                reasons = [[reason.task, str(reason.kind)] for reason in await hive.why(row.run)]
                self.acknowledge("waits", run=row.run, why=reasons)
        self.write_ledger("lived", points=self.points)

    async def complete_run(self, hive: Hive, run: str, known_runs: set[str]) -> None:
        """Submit it if nobody has; wait for its end."""
        if run not in known_runs and not self.was_recorded("accepted", run=run):
            if run == "last":  # comes while the others are being written
                await asyncio.sleep(0.005)
            await retry_until_stored(lambda: hive.submit(spec_of(find_flow(run)), run_id=run))
            self.acknowledge("accepted", run=run)
            self.reach_point()
        if find_flow(run).final_status == "cancelled":
            await self.cancel(hive, run)
        if any(task.wrapper in (ASK, SIGNAL) for task in find_flow(run).tasks):
            await self.answer_people(hive, run)
        await hive.wait(run)

    async def answer_people(self, hive: Hive, run: str) -> None:
        """Send the signals that are waited for, and agree to all that is asked."""
        for task in find_flow(run).tasks:
            if task.wrapper == SIGNAL and not self.was_recorded(
                "signalled", run=run, task=task.name
            ):
                with contextlib.suppress(NotFound):  # the run ended before this was told
                    await hive.signals.send(run, task.name, f"for {task.name}", id=task.name)
                self.acknowledge("signalled", run=run, task=task.name)
                self.reach_point()
        while str(await hive.wait_for_end(run)) == "waiting" and (
            approvals := await hive.approvals.list(run)
        ):
            for approval in approvals:
                await hive.approvals.approve(run, approval.task, digest=approval.digest)
                self.acknowledge("agreed", run=run, task=approval.task, digest=approval.digest)
                self.reach_point()

    async def cancel(self, hive: Hive, run: str) -> None:
        if self.was_recorded("cancelled", run=run):
            return
        working = self.working.setdefault(run, asyncio.Event())
        try:
            if run in {row.run for row in await hive.runs(unfinished=True)}:
                await asyncio.wait([asyncio.ensure_future(working.wait())], timeout=0.2)
                await retry_until_stored(lambda: hive.cancel(run))
        except RunNotFound:
            pass
        self.acknowledge("cancelled", run=run)
        self.reach_point()


async def retry_until_stored(operation: Callable[[], Awaitable[Any]]) -> None:
    """Ask until the store takes it."""
    while True:
        try:
            await operation()
        except StoreUnavailable:
            await asyncio.sleep(0.01)
        else:
            return


def _failure_reply(kind: str, **fields: Any) -> Reply:
    return Reply(fault=Fault(kind=kind, message="no", **fields))


LIFE: Life | None = None


def place_crash_points() -> None:
    """Around what writes and what is done after it."""
    append, committed = SqliteStore.append, Driver.confirm_commit

    async def slow_append(self: SqliteStore, batch: Batch) -> None:
        await asyncio.sleep(WRITING)
        if LIFE is not None and LIFE.refuses_batch(batch):
            raise StoreUnavailable("full, for a moment")
        await append(self, batch)

    def watched_append(self: SqliteStore, batch: Batch) -> Any:
        _reach_point()
        if LIFE is None or not LIFE.scenario.rough:
            return append(self, batch)
        return asyncio.ensure_future(slow_append(self, batch))

    def watched_committed(self: Driver, *args: Any) -> Any:
        _reach_point()
        actions = committed(self, *args)
        _reach_point()
        return actions

    def watched_statement(*_: object) -> bool:
        _reach_opening()
        return True

    def watched_call(name: str, _: object) -> None:
        if name in FILES:
            _reach_opening()

    sys.addaudithook(watched_call)
    apsw.connection_hooks.append(lambda db: db.set_exec_trace(watched_statement))
    SqliteStore.append = watched_append  # type: ignore[method-assign]
    Driver.confirm_commit = watched_committed  # type: ignore[assignment, method-assign]


def _reach_point() -> None:
    if LIFE is not None:
        LIFE.reach_point()


def _reach_opening() -> None:
    if LIFE is not None:
        LIFE.reach_opening()


def fork_life(folder: Path, scenario: str, crash_at: int, after: float, number: int) -> int:
    """A forked process: 0, -9 or STUCK. ``number``: how many died here before it."""
    child = os.fork()
    if child:
        return wait_for_exit(child, after)
    code = 1
    try:
        global LIFE
        os.dup2(os.open(folder / "told", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), 1)
        LIFE = Life(folder, scenario, crash_at, number)
        asyncio.run(asyncio.wait_for(LIFE.run(), SCENARIOS[scenario].patience))
        code = 0
    except TimeoutError:
        code = STUCK
    except BaseException as error:
        if LIFE is not None:
            LIFE.write_ledger("broke", error=f"{type(error).__name__}: {error}")
    finally:
        os._exit(code)


def wait_for_exit(child: int, after: float) -> int:
    """Wait for the child's end; with ``after``, see to it that it comes by then."""
    if after:
        handle = os.pidfd_open(child)
        if not select.select([handle], [], [], after)[0]:
            os.kill(child, signal.SIGKILL)
        os.close(handle)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def keep_journal(folder: Path, kills: int) -> None:
    """The journal with its log, as the dead process left them, for whoever judges it."""
    target = folder / f"kill{kills}"
    target.mkdir()
    for part in (folder / "home").glob("journal.db*"):
        shutil.copy(part, target / part.name)


def run_lives(folder: Path, scenario: str, points: list[int], after: list[float]) -> dict[str, Any]:
    """One process after the other, until one is not killed any more."""
    kills = earlier = len([*folder.glob("kill*")])
    code = -signal.SIGKILL
    plan = [*((point, 0.0) for point in points), *((0, seconds) for seconds in after)]
    while code == -signal.SIGKILL:
        crash_at, seconds = plan.pop(0) if plan else (0, 0.0)
        code = fork_life(folder, scenario, crash_at, seconds, kills)
        if code == -signal.SIGKILL:
            kills += 1
            keep_journal(folder, kills)
    return {"kills": kills - earlier, "code": code}


def main() -> None:
    place_crash_points()
    for line in sys.stdin:
        request = json.loads(line)
        response = run_lives(
            Path(request["folder"]),
            request["scenario"],
            request.get("points", []),
            request.get("after", []),
        )
        sys.stdout.write(json.dumps(response) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
