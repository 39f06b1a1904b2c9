"""Run ids that a caller chooses: never one that is taken, never the hive's own stream."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agenthive.core.model.workflow import AgentSpec, TaskSpec, WorkflowSpec
from agenthive.errors import AgentHiveError, Conflict
from agenthive.hive import Hive

SPEC = WorkflowSpec(
    name="w",
    agents=(AgentSpec(name="a", type="custom", endpoint="custom://a"),),
    tasks=(TaskSpec(name="t", agent="a", action="do"),),
)


async def test_an_id_is_used_once(tmp_path: Path) -> None:
    for _ in range(2):
        async with Hive.open(tmp_path) as hive:
            hive.agents.register("a", lambda: 1)
            if not await hive.runs():
                await hive.submit(SPEC, run_id="mine")
                await hive.wait("mine")
            with pytest.raises(Conflict):
                await hive.submit(SPEC, run_id="mine")
            assert (await hive.run(SPEC)).status == "completed"


@pytest.mark.parametrize("run", ["hive", "", ".a", "a/b", "a b", "x" * 200])
async def test_an_id_is_a_plain_name(run: str) -> None:
    async with Hive.open() as hive:
        hive.agents.register("a", lambda: 1)
        with pytest.raises(AgentHiveError):
            await hive.submit(SPEC, run_id=run)
        assert (await hive.run(SPEC)).status == "completed"


async def test_waiting_for_a_run_that_waits_for_somebody(tmp_path: Path) -> None:
    async with Hive.open(tmp_path) as hive:
        called = asyncio.Event()

        async def hang() -> None:
            called.set()
            await asyncio.Event().wait()

        hive.agents.register("a", hang)
        await hive.submit(SPEC, run_id="r")
        await called.wait()
    async with Hive.open(tmp_path) as hive:
        for _ in range(2):
            await hive.resume()
            assert (await hive.wait("r")).status == "waiting"
