"""The schedules of a hive: what its methods return and record."""

from __future__ import annotations

import asyncio

import pytest

from agenthive import AgentRegistry, Hive, Workflow, WorkflowSpec
from agenthive.errors import Conflict, DefinitionError, NotFound
from agenthive.testing import ScriptedAgent


def build_flow() -> WorkflowSpec:
    made = Workflow("flow")
    agent = made.agent("work", type="custom", endpoint="custom://work")
    made.task("t", agent=agent, action="go")
    return made.build()


def open_hive(*answers: str) -> Hive:
    agents = AgentRegistry()
    agents.register("work", ScriptedAgent(*answers))
    return Hive.open(agents=agents)


async def test_trigger_returns_the_id_of_the_run_it_starts() -> None:
    async with open_hive("one", "two") as hive:
        await hive.schedules.set("nightly", build_flow(), every="1d")
        await hive.schedules.start()
        run = await hive.schedules.trigger("nightly")
        assert run.startswith("schedule:nightly:")
        assert [row.run for row in await hive.runs()] == [run]
        report = await hive.wait(run)
        assert (report.run_id, report.results) == (run, {"t": "one"})
        other = await hive.schedules.trigger("nightly")
        assert {row.run for row in await hive.runs()} == {run, other}
        assert (await hive.wait(other)).results == {"t": "two"}


async def test_planned_times_start_runs_after_start() -> None:
    async with open_hive() as hive:
        await hive.schedules.set("often", build_flow(), every="1s")
        await hive.schedules.start()
        async with asyncio.timeout(10):
            while not await hive.runs():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await hive.schedules.remove("often")
        for row in await hive.runs():
            assert (await hive.wait(row.run)).status == "completed"


async def test_a_schedule_without_its_agent_starts_no_run() -> None:
    async with Hive.open(agents=AgentRegistry()) as hive:
        await hive.schedules.start()
        await hive.schedules.set("often", build_flow(), every="1s")
        async with asyncio.timeout(10):
            while (reason := (await hive.schedules.list())[0].last_reason) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert "work" in reason
        with pytest.raises(Conflict, match=r"cannot start a run: .*work"):
            await hive.schedules.trigger("often")
        assert list(await hive.runs()) == []


async def test_a_paused_schedule_is_listed_until_it_is_removed() -> None:
    async with open_hive() as hive:
        await hive.schedules.set("nightly", build_flow(), cron="0 3 * * *", zone="Europe/Berlin")
        await hive.schedules.pause("nightly", reason="holidays")
        (row,) = await hive.schedules.list()
        assert (row.name, row.cron, row.zone) == ("nightly", "0 3 * * *", "Europe/Berlin")
        assert (row.paused, row.catch_up, row.overlap) == (True, "one", "queue")
        await hive.schedules.resume("nightly")
        assert not (await hive.schedules.list())[0].paused
        await hive.schedules.set("nightly", build_flow(), every="1h", paused=True)
        assert [row.paused for row in await hive.schedules.list()] == [True]
        await hive.schedules.remove("nightly")
        assert await hive.schedules.list() == []
        with pytest.raises(NotFound):
            await hive.schedules.trigger("nightly")


@pytest.mark.parametrize(
    "rule",
    [{"every": "1.5s"}, {"cron": "99 * * * *"}, {"cron": "0 0 30 2 *"}],
)
async def test_a_rule_that_never_fires_is_refused(rule: dict[str, str]) -> None:
    async with open_hive() as hive:
        with pytest.raises(DefinitionError):
            await hive.schedules.set("nightly", build_flow(), **rule)  # type: ignore[arg-type]
        assert await hive.schedules.list() == []
