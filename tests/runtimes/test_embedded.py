"""The embedded runtime on stores that refuse or break, and its waiters.

What it does on a good day is the kit's business (`tests/testing/test_check_runtime.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agenthive.core.engine.driver import Driver
from agenthive.core.graph.graph import Graph
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Batch
from agenthive.core.model import definition
from agenthive.core.model.calls import Call, Reply
from agenthive.core.model.states import RunStatus
from agenthive.core.model.workflow import AgentSpec, TaskSpec, WorkflowSpec
from agenthive.core.ports import Agent
from agenthive.core.values import JSONValue
from agenthive.errors import (
    AgentUnavailable,
    Conflict,
    RunNotFound,
    StoreError,
    StoreFailed,
    StoreUnavailable,
)
from agenthive.infra.clock import SystemClock
from agenthive.runtimes.embedded import EmbeddedRuntime
from agenthive.runtimes.waiters import Waiters
from agenthive.stores.memory import MemoryStore


class Sick(MemoryStore):
    """Fails as it is told, before or after it has written."""

    def __init__(self) -> None:
        super().__init__()
        self.error: Exception | None = None
        self.refused = 0

    async def append(self, batch: Batch) -> None:
        await asyncio.sleep(0)
        if self.error is not None:
            self.refused += 1
            raise self.error
        await super().append(batch)


class World:
    """Every agent there is: answers at once, or when `go` is set."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.calls: list[str] = []
        self.cancelled: list[str] = []
        self.lost: Exception | None = None

    def find_agent(self, spec: AgentSpec) -> Agent:
        if spec.name == "nobody":
            raise AgentUnavailable("nobody is there")
        return self

    async def perform(self, call: Call) -> Reply:
        self.calls.append(call.task)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled.append(call.task)
            raise
        if self.lost is not None:
            raise self.lost
        result: JSONValue = call.task
        return Reply(result=result)

    async def close(self) -> None:
        pass


class House:
    """A runtime with all around it."""

    def __init__(self) -> None:
        self.store, self.world, self.driver = Sick(), World(), Driver()
        clock = SystemClock().now
        self.runtime = EmbeddedRuntime(self.driver, self.store, self.world, clock)

    async def submit(self, run: str, *tasks: str, agent: str = "a") -> None:
        spec = WorkflowSpec(
            name="w",
            agents=(AgentSpec(name=agent, type="custom", endpoint=f"custom://{agent}"),),
            tasks=tuple(
                TaskSpec(name=name, agent=agent, action="go", depends_on=tasks[:n][-1:])
                for n, name in enumerate(tasks)
            ),
        )
        body = definition.encode(spec)
        event = ev.RunSubmitted(at=0, run=run, name="w", definition=definition.compute_digest(body))
        await self.runtime.submit(event, Graph(spec), body)

    def facts(self, run: str) -> list[str]:
        return [
            type(event).__name__
            for record in self.store.records(run)
            for event in ev.decode_run_events(record.payload)
        ]


@asynccontextmanager
async def house() -> AsyncIterator[House]:
    made = House()
    made.runtime.start()
    try:
        yield made
    finally:
        await made.runtime.stop()


async def until(true: Callable[[], Any]) -> None:
    for _ in range(2000):
        if true():
            return
        await asyncio.sleep(0.005)
    raise AssertionError


async def test_store_that_refuses_and_heals() -> None:
    async with house() as at:
        await at.submit("r1", "a", "b")
        ended = at.runtime.ended("r1")
        at.store.error = StoreUnavailable("the disk is full")
        at.world.go.set()
        await until(lambda: at.store.refused >= 2)
        with pytest.raises(StoreUnavailable, match="full"):
            await at.submit("r2", "x")
        with pytest.raises(StoreUnavailable, match="full"):
            await at.runtime.cancel("r1", "me", "")
        assert at.world.calls == ["a"]
        at.store.error = None
        assert await ended == RunStatus.COMPLETED
        await at.submit("r2", "x")
        assert at.store.records("r2")
        assert at.facts("r1").count("TaskStarted") == 2


async def test_submission_that_is_refused_leaves_nothing() -> None:
    async with house() as at:
        at.store.error = StoreUnavailable("busy")
        with pytest.raises(StoreUnavailable, match="busy"):
            await at.submit("r1", "a")
        assert "r1" not in at.driver.runs
        at.store.error = None
        await until(lambda: at.runtime.unavailable_error is None)
        assert at.store.records("r1") == []


@pytest.mark.parametrize(
    "error", [StoreFailed("fsync failed"), OSError("gone"), asyncio.CancelledError()]
)
async def test_store_that_breaks_poisons(error: Exception) -> None:
    async with house() as at:
        await at.submit("r1", "a", "b")
        ended = at.runtime.ended("r1")
        draining = asyncio.ensure_future(at.runtime.drain())
        commit = at.runtime.next_commit
        at.store.error = error
        at.world.go.set()
        with pytest.raises(StoreFailed):
            await ended
        await draining
        await commit.wait()
        with pytest.raises(StoreFailed):
            await at.submit("r2", "x")
        with pytest.raises(StoreFailed):
            await at.runtime.cancel("r1", "me", "")
        with pytest.raises(StoreFailed):
            await at.runtime.ended("r1")
        assert isinstance(at.runtime.fatal_error, StoreFailed)
        assert at.world.calls == ["a"], "nothing goes on"


async def test_poison_stops_calls_under_way() -> None:
    async with house() as at:
        await at.submit("r1", "a")
        await until(lambda: at.world.calls)
        at.store.error = StoreFailed("fsync failed")
        with pytest.raises(StoreFailed):
            await at.submit("r2", "b")
        await until(lambda: at.world.cancelled == ["a"])


async def test_agent_that_breaks_its_word() -> None:
    """It raises though it must not: a fault like any other, retried by policy."""
    async with house() as at:
        at.world.lost = RuntimeError("boom")
        at.world.go.set()
        await at.submit("r1", "a")
        await until(lambda: "TaskFailed" in at.facts("r1"))
        (failed,) = [
            e
            for r in at.store.records("r1")
            for e in ev.decode_run_events(r.payload)
            if isinstance(e, ev.TaskFailed)
        ]
        assert (failed.fault.kind, failed.fault.message) == ("agent_error", "RuntimeError: boom")


async def test_agent_that_went_away_after_the_run_was_accepted() -> None:
    async with house() as at:
        await at.submit("r1", "a", agent="nobody")
        await until(lambda: "TaskFailed" in at.facts("r1"))
        payload = b"".join(record.payload for record in at.store.records("r1"))
        assert b'"kind":"unregistered"' in payload


async def test_wrong_requests() -> None:
    async with house() as at:
        await at.submit("r1", "a")
        with pytest.raises(Conflict):
            await at.submit("r1", "a")
        with pytest.raises(RunNotFound):
            await at.runtime.cancel("r2", "me", "")
        assert not at.runtime._waiters._requests, "nobody is waited for any more"


async def test_drain_waits_for_calls_and_starts_nothing() -> None:
    async with house() as at:
        await at.submit("r1", "a", "b")
        await until(lambda: at.world.calls)
        draining = asyncio.ensure_future(at.runtime.drain())
        await asyncio.sleep(0.05)
        assert not draining.done()
        at.world.go.set()
        await draining
        assert at.world.calls == ["a"]
        assert "TaskSucceeded" in at.facts("r1")


async def test_nothing_moves_before_start_and_after_stop() -> None:
    at = House()
    given = asyncio.ensure_future(at.submit("r1", "a"))
    await asyncio.sleep(0.02)
    assert not given.done()
    at.runtime.start()
    await given
    await until(lambda: at.world.calls)
    await at.runtime.stop()
    await at.runtime.stop()
    assert at.world.cancelled == ["a"]
    assert "TaskFailed" not in at.facts("r1"), "a call that was cut off is lost, not failed"


async def test_many_agents_are_forgotten() -> None:
    async with house() as at:
        at.world.go.set()
        for number in range(1100):
            ended = at.runtime.ended(f"r{number}")
            await at.submit(f"r{number}", "t", agent=f"a{number}")
            assert await ended == RunStatus.COMPLETED


async def test_waiters() -> None:
    waiters = Waiters(asyncio.get_running_loop())
    token, done = waiters.add_request()
    waiters.settle_request(token)
    assert await done is None
    waiters.settle_request(token)
    waiters.settle_request(99)
    token, done = waiters.add_request()
    done.cancel()
    waiters.settle_request(token, StoreError("late"))
    first, second = waiters.watch_run("r"), waiters.watch_run("r")
    first.cancel()
    waiters.notify_run("r", RunStatus.COMPLETED)
    assert await second == RunStatus.COMPLETED
    token, done = waiters.add_request()
    third, fourth = waiters.watch_run("r"), waiters.watch_run("r")
    fourth.cancel()
    waiters.fail_all(StoreFailed("over"))
    for waiting in (done, third):
        with pytest.raises(StoreFailed, match="over"):
            await waiting
