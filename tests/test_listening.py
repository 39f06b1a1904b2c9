"""Answers as they come in: who listens hears all of a run from then on, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from agenthive import Hive
from agenthive.core.model.calls import Call
from agenthive.core.model.workflow import AgentSpec, TaskSpec, WorkflowSpec
from agenthive.infra.heartbeat import emit_text
from agenthive.runtimes.stream_listeners import MAX_PIECES, Piece, StreamListeners


def flow(*tasks: TaskSpec) -> WorkflowSpec:
    agent = AgentSpec(name="a", type="custom", endpoint="custom://a")
    return WorkflowSpec(name="w", agents=(agent,), tasks=tasks)


def speaks(name: str = "t", stream: bool = True, **more: object) -> TaskSpec:
    return TaskSpec(name=name, agent="a", action="go", parameters={"stream": stream}, **more)  # type: ignore[arg-type]


@pytest.fixture
async def hive() -> AsyncIterator[Hive]:
    async def agent(call: Call) -> str:
        for piece in ("a", "", "b"):
            emit_text(f"{call.task}{piece}" if piece else "")
        return "ab"

    async with Hive.open("memory:") as one:
        one.agents.register("a", agent)
        yield one


async def heard(hive: Hive, run: str) -> list[Piece]:
    return [piece async for piece in hive.stream(run)]


async def test_from_before_it_begins(hive: Hive) -> None:
    listens = [asyncio.ensure_future(heard(hive, "r")) for _ in range(2)]
    await asyncio.sleep(0)
    await hive.submit(flow(speaks(), speaks("silent", False)), run_id="r")
    pieces = [Piece("t", 1, "ta"), Piece("t", 1, "tb")]
    assert await asyncio.gather(*listens) == [pieces, pieces]
    assert not hive._resources.runtime.listeners._queues


async def test_after_it_has_ended(hive: Hive) -> None:
    report = await hive.run(flow(speaks()))
    assert await asyncio.wait_for(heard(hive, report.run_id), 5) == []


async def test_what_needs_somebody_is_not_waited_for(hive: Hive) -> None:
    from agenthive.core.model.control_flow import ApprovalSpec

    run = await hive.submit(flow(speaks(approval=ApprovalSpec())))
    assert await asyncio.wait_for(heard(hive, run), 5) == []
    await hive.wait_for_end(run)
    assert await asyncio.wait_for(heard(hive, run), 5) == []


async def test_who_is_slow_misses_the_oldest() -> None:
    listeners = StreamListeners()
    pieces = listeners.add_listener("r")
    for number in range(MAX_PIECES + 5):
        listeners.publish_piece("r", Piece("t", 1, str(number)))
    listeners.publish_piece("other", Piece("t", 1, "x"))
    pieces.close()
    found = [piece.text async for piece in pieces]
    assert (found[0], len(found)) == ("5", MAX_PIECES)
